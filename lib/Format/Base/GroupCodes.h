//===- GroupCodes.h - Small codes with parameters for each group *- C++ -*-===//
//
// What Grouped and LUT share: codes of 1 to 8 bits along k, and parameters
// (scales, zero points) for each group of consecutive features of a row.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_FORMAT_BASE_GROUPCODES_H
#define QC_LIB_FORMAT_BASE_GROUPCODES_H

#include "qc/Format/Format.h"

#include <functional>

namespace qc {

struct GroupCodes {
  int bits = 4;
  int64_t group = 64; ///< features of a group, 0 = the whole row

  /// ceil(k / group); the last group may be shorter.
  int64_t numGroups(int64_t k) const {
    return group == 0 ? 1 : (k + group - 1) / group;
  }
  int64_t groupOf(int64_t feature) const {
    return group == 0 ? 0 : feature / group;
  }
  int64_t rowBytes(int64_t k) const { return (k * bits + 7) / 8; }

  /// "codes" u8 [n, ceil(k * bits / 8)]: each row starts on a byte.
  TensorSpec codesSpec(int64_t n, int64_t k) const;

  /// A K block is a group, or 128 features of a group that is longer than 256
  /// and can be cut so, which bounds what a kernel keeps in registers and the
  /// span of one activation scale. `paramBytes`: parameters of a row.
  PackedLayout layout(int64_t n, int64_t k, int64_t rows,
                      int64_t paramBytes) const;

  /// Writes the parameters of rows [row, row + count), count <= layout.rows, of
  /// a group to `out`; the parameters of the other rows are zero already.
  using WriteParams = std::function<void(int64_t row, int64_t count,
                                         int64_t group, uint8_t *out)>;
  void packRowBlock(const TensorView &codes, const PackedLayout &layout,
                    int64_t block, const WriteParams &writeParams,
                    uint8_t *out) const;
};

} // namespace qc

#endif // QC_LIB_FORMAT_BASE_GROUPCODES_H
