//===- WideLoads.h - Vector loads as views of the same buffer ---*- C++ -*-===//
#ifndef QC_TARGET_SPIRV_WIDELOADS_H
#define QC_TARGET_SPIRV_WIDELOADS_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::qc::spirv {

/// Rewrites every vector.load from a buffer of words to a load from another
/// argument with the same binding, an array of vectors.
LogicalResult viewWideLoads(mlir::gpu::GPUFuncOp kernel);

} // namespace mlir::qc::spirv

#endif // QC_TARGET_SPIRV_WIDELOADS_H
