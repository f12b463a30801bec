//===- Passes.h - Passes of the NVPTX target --------------------*- C++ -*-===//
#ifndef QC_TARGET_NVPTX_PASSES_H
#define QC_TARGET_NVPTX_PASSES_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassOptions.h"
#include "qc/Target/GPU/Passes.h"

namespace mlir::qc::nvptx {

#define GEN_PASS_DECL
#include "qc/Target/NVPTX/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "qc/Target/NVPTX/Passes.h.inc"

/// What the conversions ask of dialects.
void registerConversionInterfaces(DialectRegistry &registry);

/// What kernels for NVIDIA GPUs are made with. Tensor cores are left to the
/// caller, who knows the architectures; early starts are taken out of code for
/// those before sm_90.
mlir::qc::gpu::LowerToGPUKernelsPassOptions kernelOptions();

/// From GPU kernels to NVVM functions in their gpu.module: upstream
/// conversions.
void buildKernelsToNVVMPipeline(OpPassManager &pm);

struct ToNVPTXOptions : PassPipelineOptions<ToNVPTXOptions> {
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
void buildToNVPTXPipeline(OpPassManager &pm, const ToNVPTXOptions &options);
void registerNVPTXPipelines();

} // namespace mlir::qc::nvptx

#endif // QC_TARGET_NVPTX_PASSES_H
