//===- StandInNVVM.cpp - GPU kernels as NVVM IR, by upstream passes -------===//
#include "StandInNVVM.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;

/// Buffers as bare pointers, which need a static shape: any that is large
/// enough. Allocated shared memory as attributions of the kernel.
static void prepare(gpu::GPUFuncOp kernel) {
  SmallVector<Type> types;
  for (BlockArgument argument : kernel.getArguments()) {
    auto type = dyn_cast<MemRefType>(argument.getType());
    if (type && !type.hasStaticShape())
      argument.setType(MemRefType::Builder(type).setShape({int64_t(1) << 30}));
    types.push_back(argument.getType());
  }
  kernel.setFunctionType(FunctionType::get(kernel.getContext(), types, {}));
  SmallVector<memref::AllocOp> allocations;
  kernel.walk([&](memref::AllocOp op) { allocations.push_back(op); });
  for (memref::AllocOp op : allocations) {
    op.replaceAllUsesWith(
        kernel.addWorkgroupAttribution(op.getType(), op.getLoc()));
    op.erase();
  }
}

llvm::Expected<std::string> qc::test::kernelsToNVVM(ModuleOp module) {
  MLIRContext *context = module.getContext();
  DialectRegistry registry;
  registerAllToLLVMIRTranslations(registry);
  registerAllExtensions(registry); // conversions of the dialects to LLVM
  context->appendDialectRegistry(registry);
  context->loadDialect<LLVM::LLVMDialect, NVVM::NVVMDialect,
                       cf::ControlFlowDialect, memref::MemRefDialect,
                       index::IndexDialect>();
  OwningOpRef<ModuleOp> own = ModuleOp::create(module.getLoc());
  for (auto kernels : module.getOps<gpu::GPUModuleOp>())
    own->push_back(kernels.clone());
  own->walk([](gpu::GPUFuncOp kernel) { prepare(kernel); });

  PassManager pm(context);
  OpPassManager &kernels = pm.nest<gpu::GPUModuleOp>();
  kernels.addPass(createConvertVectorToSCFPass());
  kernels.addPass(createSCFToControlFlowPass());
  ConvertGpuOpsToNVVMOpsOptions options;
  options.useBarePtrCallConv = true;
  pm.nest<gpu::GPUModuleOp>().addPass(createConvertGpuOpsToNVVMOps(options));
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  if (failed(pm.run(*own)))
    return llvm::createStringError("the kernels cannot be lowered");

  auto kernelModules = own->getOps<gpu::GPUModuleOp>();
  if (kernelModules.empty())
    return llvm::createStringError("no gpu.module");
  OwningOpRef<ModuleOp> flat = ModuleOp::create(module.getLoc());
  flat->getBodyRegion().takeBody((*kernelModules.begin()).getBodyRegion());
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> translated =
      translateModuleToLLVMIR(*flat, llvmContext);
  if (!translated)
    return llvm::createStringError("the kernels cannot be translated");
  translated->setTargetTriple(llvm::Triple("nvptx64-nvidia-cuda"));
  std::string text;
  llvm::raw_string_ostream out(text);
  translated->print(out, nullptr);
  return text;
}
