//===- KernelsToNVVM.cpp - Upstream lowering of kernels -------------------===//
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/NVPTX/Passes.h"

using namespace mlir;

void mlir::qc::nvptx::registerConversionInterfaces(DialectRegistry &registry) {
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  index::registerConvertIndexToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  registerConvertNVVMToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
}

void mlir::qc::nvptx::buildKernelsToNVVMPipeline(OpPassManager &pm) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createPrepareNVVMPass());
  OpPassManager &kernels = pm.nest<mlir::gpu::GPUModuleOp>();
  kernels.addPass(createConvertVectorToSCFPass());
  kernels.addPass(createSCFToControlFlowPass());
  // Before the conversion to NVVM, which would call NVIDIA's libdevice.
  kernels.addPass(createConvertMathToLLVMPass());
  ConvertGpuOpsToNVVMOpsOptions options;
  options.useBarePtrCallConv = true;
  // Indices of kernels fit 32 bits; 64-bit products are slow on GPUs.
  options.indexBitwidth = 32;
  kernels.addPass(createConvertGpuOpsToNVVMOps(options));
  kernels.addPass(createLowerNVGPUPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
}

mlir::qc::gpu::LowerToGPUKernelsPassOptions mlir::qc::nvptx::kernelOptions() {
  mlir::qc::gpu::LowerToGPUKernelsPassOptions options;
  options.integerDot = "nvvm";
  options.maxThreads = 512;
  options.wideLoads = true;
  options.warpSize = 32;
  options.fuseSteps = true;
  options.programmaticLaunch = true;
  return options;
}

void mlir::qc::nvptx::buildToNVPTXPipeline(OpPassManager &pm,
                                           const ToNVPTXOptions &options) {
  mlir::qc::gpu::LowerToGPUKernelsPassOptions lower = kernelOptions();
  lower.maxTokens = options.maxTokens;
  lower.reproducible = options.reproducible;
  pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(lower));
  buildKernelsToNVVMPipeline(pm);
}

void mlir::qc::nvptx::registerNVPTXPipelines() {
  PassPipelineRegistration<>(
      "qc-gpu-kernels-to-nvvm",
      "Lower generated GPU kernels to NVVM with upstream conversions",
      buildKernelsToNVVMPipeline);
  PassPipelineRegistration<ToNVPTXOptions>(
      "qc-to-nvptx", "Lower packed lm/qc functions to NVVM for NVIDIA GPUs",
      buildToNVPTXPipeline);
}
