//===- Passes.h - Passes of the GPU targets ---------------------*- C++ -*-===//
#ifndef QC_TARGET_GPU_PASSES_H
#define QC_TARGET_GPU_PASSES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::qc::gpu {

#define GEN_PASS_DECL
#include "qc/Target/GPU/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "qc/Target/GPU/Passes.h.inc"

/// Rows of a row block of packed weights.
inline constexpr int64_t packedRows = 32;

/// Discardable attributes of kernels for the lowering to NVVM: that they
/// wait by griddepcontrol for those before, and of a buffer whether it holds
/// nothing but weights (BoolAttr).
inline constexpr llvm::StringLiteral programmaticAttr = "qc.programmatic";
inline constexpr llvm::StringLiteral constantAttr = "qc.constant";
/// Bytes of dynamic shared memory of a kernel (i64).
inline constexpr llvm::StringLiteral sharedAttr = "qc.shared";
/// Bytes that a memref.prefetch of such a kernel brings to the cache.
inline constexpr int64_t prefetchBytes = 4096;
/// Whether kernels can be made of cooperative matrices of M, N, K and subgroups
/// of these sizes (qc-lower-to-gpu-kernels{cooperative-matrix=...}).
bool isCooperativeShape(ArrayRef<int64_t> sizes);

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_PASSES_H
