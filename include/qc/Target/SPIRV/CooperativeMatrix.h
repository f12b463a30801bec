//===- CooperativeMatrix.h - Shapes of devices' matrices --------*- C++ -*-===//
#ifndef QC_TARGET_SPIRV_COOPERATIVEMATRIX_H
#define QC_TARGET_SPIRV_COOPERATIVEMATRIX_H

#include "qc/Target/GPU/Passes.h"
#include "llvm/Support/Error.h"

namespace mlir::qc::spirv {

/// A product of signed bytes, M x N x K, by a subgroup of `subgroup` threads.
struct CooperativeMatrix {
  int64_t m, n, k, subgroup;

  /// QC_COOPERATIVE_SHAPE
  uint32_t arch() const;
  /// "16x16x32/32"
  std::string spelling() const;
  SmallVector<int64_t> sizes() const { return {m, n, k, subgroup}; }
};

/// A list as "16x16x32/32,8x8x8/8", or "none".
llvm::Expected<SmallVector<CooperativeMatrix>>
parseCooperativeMatrices(StringRef list);

/// Of the drivers that are known to have them: NVIDIA's; AMD's (RDNA 3 and 4);
/// Intel's (Xe2; Arc A, Meteor Lake).
inline constexpr StringLiteral defaultCooperativeMatrices =
    "16x16x32/32,16x16x16/32,8x16x32/16,8x8x32/8";

} // namespace mlir::qc::spirv

#endif // QC_TARGET_SPIRV_COOPERATIVEMATRIX_H
