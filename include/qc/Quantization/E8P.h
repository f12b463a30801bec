//===- E8P.h - Rounding to points of the E8 lattice -------------*- C++ -*-===//
#ifndef QC_QUANTIZATION_E8P_H
#define QC_QUANTIZATION_E8P_H

#include "qc/Format/E8P.h"

namespace qc {

/// The code of the point nearest to x[0..7]. With `size` below 8 the nearest in
/// the first `size` coordinates.
uint16_t nearestE8P(const float *x, int64_t size = E8PFormat::vector);

/// Codes of a row of k weights and the scale that they are multiplied with,
/// rounded to `type`: of some multiples of rms / 1.03 (the best for normally
/// distributed numbers, Tseng et al., arXiv 2402.04396) the one with the least
/// sum of squared errors; infinite if `type` cannot hold it. `codes` holds
/// ceil(k / 8).
float encodeE8PRow(const float *w, int64_t k, DType type, uint16_t *codes);

} // namespace qc

#endif // QC_QUANTIZATION_E8P_H
