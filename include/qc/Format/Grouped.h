//===- Grouped.h - Integers with a scale for each group ---------*- C++ -*-===//
#ifndef QC_FORMAT_GROUPED_H
#define QC_FORMAT_GROUPED_H

#include "qc/Format/Format.h"

namespace qc {

/// grouped<bits = b, group = g, scale = f16|bf16|f32 [, zero = int|f16|f32]>
///
///   w = scale * (q - zero),  q an integer in [0, 2^b), b in [1, 8]
///
/// Without `zero` the format is symmetric: zero = 2^(b-1); with one bit the
/// levels would be -scale and 0, so there w = scale * (2q - 1) instead. A group
/// is g consecutive features of a row (the last may be shorter); g = `channel`
/// (or 0) is the whole row.
///
/// Components, with G = ceil(k/g):
///   codes  u8 [n, ceil(k*b/8)]   LSB-first bit stream, each row on a byte
///   scales [n, G]
///   zeros  u8 or float [n, G]    if there is `zero`; an integer zero point may
///                                lie outside of [0, 2^b): GPTQ has 2^b
///
/// Packed: block parameters are the scales of the rows, then the zero points,
/// padded to 4 bytes; chunks as packCodes() writes them.
class GroupedFormat final : public Format {
public:
  enum class Zero { None, Int, F16, F32 };

  const int bits;
  const int64_t group; ///< 0 = per channel
  const DType scale;
  const Zero zero;

  GroupedFormat(int bits, int64_t group, DType scale, Zero zero = Zero::None)
      : bits(bits), group(group), scale(scale), zero(zero) {}

  int64_t numGroups(int64_t k) const;
  /// U8, F16 or F32; U8 if there are no zero points.
  DType zeroType() const;

  std::string spelling() const override;
  std::optional<std::string> check(int64_t n, int64_t k) const override;
  std::vector<TensorSpec> components(int64_t n, int64_t k) const override;
  void decodeRow(const Components &c, int64_t n, int64_t k, int64_t row,
                 double *out) const override;
  std::optional<std::string> checkValues(const Components &c, int64_t n,
                                         int64_t k) const override;
  PackedLayout packedLayout(int64_t n, int64_t k, int64_t rows) const override;
  void packRowBlock(const Components &c, const PackedLayout &layout,
                    int64_t block, uint8_t *out) const override;
  /// A row holds all codes under one (scale, zero point), k = 2^bits. Rows: all
  /// 256 integer or all finite f16 zero points, then all scales. With more than
  /// 16 groups a row (tiny groups) both are thinned out to bound memory.
  HostWeight exhaustiveWeight(bool quick) const override;
};

} // namespace qc

#endif // QC_FORMAT_GROUPED_H
