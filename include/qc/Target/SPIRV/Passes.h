//===- Passes.h - Passes of the SPIR-V target -------------------*- C++ -*-===//
#ifndef QC_TARGET_SPIRV_PASSES_H
#define QC_TARGET_SPIRV_PASSES_H

#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassOptions.h"
#include "llvm/Support/Error.h"

namespace mlir::qc::spirv {

#define GEN_PASS_DECL
#include "qc/Target/SPIRV/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "qc/Target/SPIRV/Passes.h.inc"

/// From GPU kernels to a spirv.module: upstream conversions.
void buildKernelsToSPIRVPipeline(OpPassManager &pm, bool reproducible = false);

struct ToSPIRVOptions : PassPipelineOptions<ToSPIRVOptions> {
  Option<int64_t> maxTokens{
      *this, "max-tokens",
      llvm::cl::desc("Most tokens that one step processes"),
      llvm::cl::init(128)};
  Option<bool> reproducible{
      *this, "reproducible",
      llvm::cl::desc("Compute the same bits on every target"),
      llvm::cl::init(false)};
};
/// The same from packed lm/qc functions.
void buildToSPIRVPipeline(OpPassManager &pm, const ToSPIRVOptions &options);
void registerKernelsToSPIRVPipeline();

/// The binary of the module's spirv.module.
llvm::Expected<SmallVector<uint32_t>> serializeKernels(ModuleOp module);

} // namespace mlir::qc::spirv

#endif // QC_TARGET_SPIRV_PASSES_H
