//===- Float.h - Identity formats -------------------------------*- C++ -*-===//
#ifndef QC_FORMAT_FLOAT_H
#define QC_FORMAT_FLOAT_H

#include "qc/Format/Format.h"

namespace qc {

/// float<f32>, float<f16>, float<bf16>: a float for each weight.
///
/// Components: data [n, k]. Packed: a chunk is the column of `rows` floats of
/// one feature; one K block covers the whole row; no parameters.
class FloatFormat final : public Format {
public:
  const DType type; ///< F32, F16 or BF16

  explicit FloatFormat(DType type) : type(type) {}

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
  /// All finite numbers of f16 and bf16; f32: 32 mantissas of each exponent.
  HostWeight exhaustiveWeight(bool quick) const override;
};

} // namespace qc

#endif // QC_FORMAT_FLOAT_H
