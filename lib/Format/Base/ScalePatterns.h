//===- ScalePatterns.h - Bit patterns for exhaustive weights ----*- C++ -*-===//
#ifndef QC_LIB_FORMAT_BASE_SCALEPATTERNS_H
#define QC_LIB_FORMAT_BASE_SCALEPATTERNS_H

#include "qc/Format/Format.h"

namespace qc {

/// Bit patterns of finite numbers of a float type, both signs, zeros and
/// subnormals included. All of f16 and bf16; of f32 32 mantissas of each
/// exponent. `quick`: a few hundred patterns that cover every exponent, the
/// extremes and both zeros. Numbers whose product with `factor` overflows f32
/// are left out: kernels compute in f32.
std::vector<uint32_t> scalePatterns(DType type, bool quick, double factor);

} // namespace qc

#endif // QC_LIB_FORMAT_BASE_SCALEPATTERNS_H
