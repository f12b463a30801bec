//===- EmitPTX.cpp - LLVM IR and PTX of kernels ---------------------------===//
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "qc/Target/NVPTX/PTX.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicsNVPTX.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace mlir;

static const llvm::Target *findTarget(std::string &error) {
  static bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  return llvm::TargetRegistry::lookupTarget(llvm::Triple("nvptx64-nvidia-cuda"),
                                            error);
}

static std::string archName(unsigned arch) {
  return "sm_" + std::to_string(arch);
}

llvm::Expected<std::vector<unsigned>>
mlir::qc::nvptx::parseArchs(llvm::StringRef list) {
  std::string error;
  const llvm::Target *target = findTarget(error);
  if (!target)
    return llvm::createStringError("this LLVM has no NVPTX target: " + error);
  std::unique_ptr<llvm::MCSubtargetInfo> info(target->createMCSubtargetInfo(
      llvm::Triple("nvptx64-nvidia-cuda"), "", ""));
  std::vector<unsigned> archs;
  SmallVector<StringRef> names;
  list.split(names, ',');
  for (StringRef name : names) {
    StringRef number = name.trim();
    unsigned arch = 0;
    if (!number.consume_front("sm_") || number.getAsInteger(10, arch))
      return llvm::createStringError("'" + name +
                                     "': expected sm_ and a number, as in "
                                     "sm_80,sm_90");
    if (arch < defaultArch || !info->isCPUStringValid(archName(arch)))
      return llvm::createStringError(
          "'" + name + "': expected an architecture from " +
          archName(defaultArch) + " on that LLVM knows, as sm_80 or sm_90");
    archs.push_back(arch);
  }
  llvm::sort(archs);
  archs.erase(llvm::unique(archs), archs.end());
  return archs;
}

llvm::Expected<std::unique_ptr<llvm::Module>>
mlir::qc::nvptx::translateKernels(ModuleOp module, llvm::LLVMContext &context) {
  auto kernels = module.getOps<mlir::gpu::GPUModuleOp>();
  if (kernels.empty())
    return llvm::createStringError("no gpu.module to translate");
  MLIRContext *mlirContext = module.getContext();
  registerBuiltinDialectTranslation(*mlirContext);
  registerGPUDialectTranslation(*mlirContext);
  registerLLVMDialectTranslation(*mlirContext);
  registerNVVMDialectTranslation(*mlirContext);
  OwningOpRef<ModuleOp> flat = ModuleOp::create(module.getLoc());
  for (Operation &op : *(*kernels.begin()).getBody())
    flat->push_back(op.clone());
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(*flat, context, "kernels");
  if (!code)
    return llvm::createStringError("kernels cannot be translated to LLVM IR");
  return code;
}

/// Takes away what only sm_90 has and kernels do not need for their results:
/// before it nothing starts early.
static void eraseEarlyStart(llvm::Module &kernels) {
  for (llvm::Function &function : kernels)
    for (llvm::Instruction &instruction :
         llvm::make_early_inc_range(llvm::instructions(function)))
      if (auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction))
        switch (call->getIntrinsicID()) {
        case llvm::Intrinsic::nvvm_griddepcontrol_wait:
        case llvm::Intrinsic::nvvm_griddepcontrol_launch_dependents:
        case llvm::Intrinsic::nvvm_cp_async_bulk_prefetch_L2:
          call->eraseFromParent();
          break;
        default:
          break;
        }
}

llvm::Expected<std::string> mlir::qc::nvptx::emitPTX(llvm::Module &kernels,
                                                     unsigned arch) {
  std::string error;
  const llvm::Target *target = findTarget(error);
  if (!target)
    return llvm::createStringError("this LLVM has no NVPTX target: " + error);
  llvm::Triple triple("nvptx64-nvidia-cuda");
  // LLVM's default for sm_90 is 7.8, prefetches in bulk need 8.0 (CUDA 12.0).
  StringRef features = arch == 90 ? "+ptx80" : "";
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, archName(arch), features, llvm::TargetOptions(), std::nullopt,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
  kernels.setTargetTriple(triple);
  kernels.setDataLayout(machine->createDataLayout());
  if (arch < 90)
    eraseEarlyStart(kernels);

  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graph;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine.get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3)
      .run(kernels, modules);

  // The code generator changes the IR further, which callers may print.
  std::unique_ptr<llvm::Module> code = llvm::CloneModule(kernels);
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream os(text);
  llvm::legacy::PassManager pm;
  if (machine->addPassesToEmitFile(pm, os, nullptr,
                                   llvm::CodeGenFileType::AssemblyFile))
    return llvm::createStringError("LLVM cannot print PTX for " +
                                   archName(arch));
  pm.run(*code);
  return std::string(text);
}
