//===- Arithmetic.h - The same bits on every device -------------*- C++ -*-===//
//
// Reproducible mode (docs/Reproducible.md): what kernels compute is written in
// additions and products of f32 and integer operations alone, which IEEE 754
// devices agree on.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_REPRODUCIBLE_ARITHMETIC_H
#define QC_TARGET_REPRODUCIBLE_ARITHMETIC_H

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir::qc {

/// Rewrites, on scalars and vectors of f32 alike,
///   math.fma            to a product and a sum,
///   arith.divf          to a product with a reciprocal (Newton's method),
///   math.sqrt           likewise,
///   math.exp, math.erf  to polynomials,
///   maximum and minimum of numbers to a comparison and a selection.
/// Results are within 2 units in the last place (exp, square root, quotient) of
/// the exact ones where these are normal numbers; exp saturates at arguments
/// of -87 and 88, a quotient by more than 2^126 is zero. Neither infinities nor
/// subnormal numbers appear inside.
void populateReproducibleArithmeticPatterns(RewritePatternSet &patterns);

/// Reports operations in `kernels` whose results devices disagree on: those
/// above, sums of vectors in any order, fast math.
LogicalResult verifyReproducible(Operation *kernels);

} // namespace mlir::qc

#endif // QC_TARGET_REPRODUCIBLE_ARITHMETIC_H
