//===- LUT.h - Codes into a table, scaled group by group --------*- C++ -*-===//
#ifndef QC_FORMAT_LUT_H
#define QC_FORMAT_LUT_H

#include "qc/Format/Format.h"

#include <array>

namespace qc {

/// lut<nf4 | fp4 | bits = b, group = g, scale = f16|bf16|f32
///     [, double_quant = s]>
///
///   w = scale * table[q]
///
/// `nf4` and `fp4` are fixed tables of 16 entries; `bits = b`, b in [1, 8], has
/// a table of its own. A group is g consecutive features of a row (the last may
/// be shorter); g = `channel` (or 0) is the whole row.
///
/// `double_quant = s` (needs scale = f32): scales are 8-bit codes themselves,
///   scale = scale_map[code] * scale_absmax[i / s] + scale_offset
/// for scale i = row * G + group, in f32 with a rounding after each operation.
///
/// Components, with G = ceil(k/g):
///   codes        u8 [n, ceil(k*b/8)]    LSB-first bit stream, each row on a
///   byte scales       [n, G]                 u8 with double_quant
///   scale_map    f32 [256]              with double_quant only
///   scale_absmax f32 [ceil(n*G/s)]      with double_quant only
///   scale_offset f32 [1]                with double_quant only
///   table        f32 [2^b]              without a named table only
///
/// Packed: the header is the table in f32, the table in steps of max |table| /
/// 127 plus 128 as u8 (repeated to 64 bytes), and the step in f32; block
/// parameters are the scales of the rows (f32 with double_quant), padded to 4
/// bytes; chunks as packCodes() writes them.
class LUTFormat final : public Format {
public:
  enum class Table { User, NF4, FP4 };

  const Table table;
  const int bits;      ///< 4 for a named table
  const int64_t group; ///< 0 = per channel
  const DType scale;
  const int64_t doubleQuant; ///< scales with one absmax, 0 = plain scales

  LUTFormat(Table table, int bits, int64_t group, DType scale,
            int64_t doubleQuant = 0)
      : table(table), bits(bits), group(group), scale(scale),
        doubleQuant(doubleQuant) {}

  int64_t numGroups(int64_t k) const;

  std::string spelling() const override;
  std::optional<std::string> check(int64_t n, int64_t k) const override;
  std::vector<TensorSpec> components(int64_t n, int64_t k) const override;
  void decodeRow(const Components &c, int64_t n, int64_t k, int64_t row,
                 double *out) const override;
  std::optional<std::string> checkValues(const Components &c, int64_t n,
                                         int64_t k) const override;
  /// With the entries rounded as in the packed u8 table.
  void decodeRowInt8(const Components &c, int64_t n, int64_t k, int64_t row,
                     double *out) const override;
  int int8Roundings() const override { return 1; }
  PackedLayout packedLayout(int64_t n, int64_t k, int64_t rows) const override;
  void packHeader(const Components &c, const PackedLayout &layout,
                  uint8_t *out) const override;
  void packRowBlock(const Components &c, const PackedLayout &layout,
                    int64_t block, uint8_t *out) const override;
  /// A row holds all codes under one scale, k = 2^bits. Rows: all scales; with
  /// double_quant all 256 scale codes under several absmax.
  HostWeight exhaustiveWeight(bool quick) const override;

  /// Scale of a group as kernels see it.
  float scaleAt(const Components &c, int64_t k, int64_t row,
                int64_t group) const;
  /// Entry `code` of the table.
  float entry(const Components &c, int64_t code) const;
  /// Byte offsets in the packed header.
  int64_t byteTableOffset() const;
  int64_t stepOffset() const;

private:
  template <typename Entry>
  void decodeWith(const Components &c, int64_t k, int64_t row, double *out,
                  Entry entry) const;
};

/// NF4: quantiles of the normal distribution (Dettmers et al., arXiv
/// 2305.14314, appendix E). Ascending, entry 7 is 0.
extern const std::array<float, 16> nf4Table;

/// FP4 as bitsandbytes has it: sign and a 3-bit magnitude whose order is not
/// that of the values; scaled so that the largest is 1. Code 8 is 0 too.
extern const std::array<float, 16> fp4Table;

/// The signed 8-bit "dynamic map" of bitsandbytes that double quantization
/// uses, ascending: 2^i midpoints of equal parts of [0.1, 1] times 10^(i-6) for
/// i = 0..6, with both signs, and 0 and 1.
std::array<float, 256> dynamicMap();

} // namespace qc

#endif // QC_FORMAT_LUT_H
