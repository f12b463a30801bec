//===- Codebook.h - Additive vector codebooks -------------------*- C++ -*-===//
#ifndef QC_FORMAT_CODEBOOK_H
#define QC_FORMAT_CODEBOOK_H

#include "qc/Format/Format.h"

namespace qc {

/// codebook<books = M, bits = B, vector = g, scale = f16|bf16|f32,
///          entry = f16|bf16|f32>
///
///   w[row, i*g + j] = scale[row] * sum_m codebooks[m][codes[row, i, m]][j]
///
/// as in AQLM (Egiazarian et al., arXiv 2401.06118). M in [1, 8], B in [1, 16],
/// g in [1, 64], need not divide k: the end of a row's last vector is unused.
/// Kernels widen the entries to f32 and sum in the order m = 0, 1, ...;
/// decodeRow sums in double.
///
/// Components:
///   codes     u8 (B <= 8) or u16 [n, ceil(k/g), M]
///   codebooks entry [M, 2^B, g]
///   scales    scale [n]
///
/// Packed: the header is all codebooks in f32, then, if g is a multiple of 4,
/// all codebooks in steps of max |entry| / 127 plus 128 as u8, then that step
/// in f32; the row header is the scales of the rows in f32; K blocks of about
/// 128 inputs have no parameters. A chunk is one vector of inputs: for each
/// book the codes of the rows.
class CodebookFormat final : public Format {
public:
  const int books, bits;
  const int64_t vector;
  const DType scale, entry;

  CodebookFormat(int books, int bits, int64_t vector, DType scale, DType entry)
      : books(books), bits(bits), vector(vector), scale(scale), entry(entry) {}

  int64_t numVectors(int64_t k) const { return (k + vector - 1) / vector; }
  int64_t numEntries() const { return int64_t(1) << bits; }
  DType codeType() const { return bits <= 8 ? DType::U8 : DType::U16; }

  std::string spelling() const override;
  std::optional<std::string> check(int64_t n, int64_t k) const override;
  std::vector<TensorSpec> components(int64_t n, int64_t k) const override;
  void decodeRow(const Components &c, int64_t n, int64_t k, int64_t row,
                 double *out) const override;
  std::optional<std::string> checkValues(const Components &c, int64_t n,
                                         int64_t k) const override;
  /// With the entries rounded as in the packed u8 codebooks.
  void decodeRowInt8(const Components &c, int64_t n, int64_t k, int64_t row,
                     double *out) const override;
  int int8Roundings() const override { return hasByteEntries() ? books : 0; }
  PackedLayout packedLayout(int64_t n, int64_t k, int64_t rows) const override;
  void packHeader(const Components &c, const PackedLayout &layout,
                  uint8_t *out) const override;
  void packRowBlock(const Components &c, const PackedLayout &layout,
                    int64_t block, uint8_t *out) const override;
  /// Every entry of every book, and a row for each scale.
  HostWeight exhaustiveWeight(bool quick) const override;

  bool hasByteEntries() const { return vector % 4 == 0; }
  /// Byte offsets in the packed header.
  int64_t byteEntriesOffset() const {
    return (books * numEntries() * vector * 4 + 63) / 64 * 64;
  }
  int64_t stepOffset() const {
    return byteEntriesOffset() + (books * numEntries() * vector + 63) / 64 * 64;
  }

private:
  template <typename Entry>
  void decodeWith(const Components &c, int64_t k, int64_t row, double *out,
                  Entry entry) const;
};

} // namespace qc

#endif // QC_FORMAT_CODEBOOK_H
