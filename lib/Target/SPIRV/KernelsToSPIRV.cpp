//===- KernelsToSPIRV.cpp - Upstream lowering of kernels ------------------===//
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SPIRV/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/SPIRV/Serialization.h"
#include "mlir/Transforms/Passes.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/SPIRV/Passes.h"

using namespace mlir;

void mlir::qc::spirv::buildKernelsToSPIRVPipeline(OpPassManager &pm,
                                                  bool reproducible) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createPrepareSPIRVPass());
  pm.addNestedPass<mlir::gpu::GPUModuleOp>(createConvertMathToSPIRVPass());
  pm.addPass(createConvertKernelsPass());
  if (reproducible)
    pm.addPass(createForbidContractionPass());
  OpPassManager &module = pm.nest<mlir::spirv::ModuleOp>();
  module.addPass(mlir::spirv::createSPIRVLowerABIAttributesPass());
  module.addPass(createCSEPass());
  module.addPass(mlir::spirv::createSPIRVUpdateVCEPass());
}

void mlir::qc::spirv::registerKernelsToSPIRVPipeline() {
  PassPipelineRegistration<>(
      "qc-gpu-kernels-to-spirv",
      "Lower generated GPU kernels to SPIR-V with upstream conversions",
      [](OpPassManager &pm) { buildKernelsToSPIRVPipeline(pm); });
  PassPipelineRegistration<ToSPIRVOptions>(
      "qc-to-spirv", "Lower packed lm/qc functions to SPIR-V for Vulkan",
      buildToSPIRVPipeline);
}

void mlir::qc::spirv::buildToSPIRVPipeline(OpPassManager &pm,
                                           const ToSPIRVOptions &options) {
  mlir::qc::gpu::LowerToGPUKernelsPassOptions lower;
  lower.maxTokens = options.maxTokens;
  lower.reproducible = options.reproducible;
  lower.wideLoads = true;
  pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(lower));
  buildKernelsToSPIRVPipeline(pm, options.reproducible);
}

llvm::Expected<SmallVector<uint32_t>>
mlir::qc::spirv::serializeKernels(ModuleOp module) {
  auto modules = module.getOps<mlir::spirv::ModuleOp>();
  if (modules.empty())
    return llvm::createStringError("no spirv.module to serialize");
  SmallVector<uint32_t> words;
  if (failed(mlir::spirv::serialize(*modules.begin(), words)))
    return llvm::createStringError("serialization of SPIR-V failed");
  return words;
}
