//===- StepJIT.cpp - Runs a small graph in this process -------------------===//
#include "StepJIT.h"

#include "mlir/Dialect/Func/Extensions/AllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Target/CPU/Passes.h"
#include "qc/Target/CPU/Tuning/KernelJIT.h"

using namespace mlir;
using ::qc::bench::StepJIT;
namespace cpu = mlir::qc::cpu;

static void replaceAll(std::string &text, const std::string &from,
                       const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos;
       at += to.size())
    text.replace(at, from.size(), to);
}

std::unique_ptr<StepJIT> StepJIT::create(std::string source, int64_t maxTokens,
                                         std::string &error) {
  auto fail = [&](llvm::Error e) {
    error += llvm::toString(std::move(e));
    return nullptr;
  };
  llvm::Expected<cpu::CPU> target = cpu::CPU::get("native");
  if (!target)
    return fail(target.takeError());
  replaceAll(source, "{rows}", std::to_string(target->vectors.lanes));
  DialectRegistry registry;
  registry.insert<mlir::qc::QCDialect, lm::LMDialect, func::FuncDialect,
                  arith::ArithDialect>();
  func::registerAllExtensions(registry);
  MLIRContext mlirContext(registry, MLIRContext::Threading::DISABLED);
  ScopedDiagnosticHandler handler(&mlirContext, [&](Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
    return success();
  });
  auto module = parseSourceString<ModuleOp>(source, &mlirContext);
  if (!module)
    return nullptr;
  PassManager pm(&mlirContext);
  cpu::LowerToCPUKernelsPassOptions lower;
  lower.mcpu = "native";
  lower.maxTokens = maxTokens;
  pm.addPass(cpu::createLowerToCPUKernelsPass(lower));
  cpu::PlanMemoryPassOptions plan;
  plan.maxTokens = maxTokens;
  pm.addPass(cpu::createPlanMemoryPass(plan));
  cpu::buildKernelsToLLVMPipeline(pm);
  if (failed(pm.run(*module)))
    return nullptr;

  auto result = std::make_unique<StepJIT>();
  if (auto bytes = (*module)->getAttrOfType<IntegerAttr>("qc.arena_bytes"))
    result->arenaBytes = bytes.getInt();
  auto jit = cpu::createJIT(*module, *target);
  if (!jit)
    return fail(jit.takeError());
  result->jit = std::move(*jit);
  auto step = result->jit->lookup("qc_step_prefill");
  if (!step)
    return fail(step.takeError());
  result->step = step->toPtr<QCStepFn>();
  return result;
}
