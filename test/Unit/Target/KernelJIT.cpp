//===- KernelJIT.cpp - Runs generated kernels in the test process ---------===//
#include "KernelJIT.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Func/Extensions/AllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Target/CPU/Emit.h"
#include "qc/Target/CPU/Passes.h"
#include "llvm/ExecutionEngine/Orc/ThreadSafeModule.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace ::qc::test;
namespace cpu = mlir::qc::cpu;

static bool hostHas(const std::string &name) {
  llvm::Expected<cpu::CPU> host = cpu::CPU::get("native");
  llvm::Expected<cpu::CPU> wanted = cpu::CPU::get(name);
  if (!host || !wanted) {
    llvm::consumeError(host.takeError());
    llvm::consumeError(wanted.takeError());
    return false;
  }
  return llvm::all_of(wanted->required, [&](const std::string &feature) {
    return llvm::is_contained(host->required, feature);
  });
}

std::vector<std::string>(::qc::test::allCPUs)() {
  return {"x86-64-v2",      "x86-64-v3",      "x86-64-v3-vnni", "x86-64-v4",
          "x86-64-v4-vnni", "icelake-server", "sapphirerapids"};
}

std::vector<std::string>(::qc::test::runnableCPUs)() {
  std::vector<std::string> names;
  for (const std::string &name : allCPUs())
    if (hostHas(name))
      names.push_back(name);
  return names;
}

std::vector<std::string>(::qc::test::runnableAMX)() {
  // The host need not have tile registers, see AMXTrap.h.
  if (!hostHas("x86-64-v4-vbmi"))
    return {};
  return {"x86-64-v4-amx", "sapphirerapids+emulation"};
}

namespace {
struct Compiled {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> code;
  cpu::CPU target;
  int64_t rows = 0, int8Block = 0, tableLookups = 0, scratch = 0;
};
} // namespace

static std::optional<Compiled> lower(const std::string &format, int64_t n,
                                     int64_t k, bool int8,
                                     const std::string &cpuName,
                                     std::string &error, int64_t rows = 0) {
  // Kernels of this CPU with AMX rewritten; code for one without.
  StringRef kernelCPU = cpuName;
  bool emulate = kernelCPU.consume_back("+emulation");
  llvm::Expected<cpu::CPU> target =
      cpu::CPU::get(emulate ? "x86-64-v4-vbmi" : kernelCPU);
  if (!target) {
    error = llvm::toString(target.takeError());
    return std::nullopt;
  }
  DialectRegistry registry;
  registry.insert<mlir::qc::QCDialect, lm::LMDialect, func::FuncDialect,
                  arith::ArithDialect>();
  func::registerAllExtensions(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
    return success();
  });
  std::string parseError;
  auto host = ::qc::parseFormat(format, parseError);
  if (!host) {
    error = parseError;
    return std::nullopt;
  }
  auto attribute = dyn_cast_or_null<mlir::qc::FormatAttrInterface>(
      parseAttribute("#qc." + format, &context));
  if (!attribute)
    return std::nullopt;
  if (rows == 0)
    rows = attribute.getRowsPerBlock(target->vectors.lanes);
  int64_t bytes = host->packedLayout(n, k, rows).totalBytes();
  std::string type = llvm::formatv("!qc.weight<{0}x{1}, #qc.{2}, packed<{3}>>",
                                   n, k, format, rows);
  std::string source = llvm::formatv(
      R"(qc.weight @w : {0} = [#qc.external<"none", 0, {1}>]
         func.func @f(%x: tensor<?x{2}xf32>) -> tensor<?x{3}xf32> {{
           %w = qc.get_weight @w : {0}
           %y = qc.matmul %x, [%w] arithmetic(<{4}>) : (tensor<?x{2}xf32>, {0}) -> tensor<?x{3}xf32>
           return %y : tensor<?x{3}xf32>
         })",
      type, bytes, k, n, int8 ? "int8" : "f32");
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(source, &context);
  if (!module)
    return std::nullopt;
  PassManager pm(&context);
  cpu::LowerToCPUKernelsPassOptions options;
  options.mcpu = kernelCPU.str();
  options.maxTokens = KernelJIT::maxTokens;
  pm.addPass(cpu::createLowerToCPUKernelsPass(options));
  cpu::PlanMemoryPassOptions plan;
  plan.maxTokens = KernelJIT::maxTokens;
  pm.addPass(cpu::createPlanMemoryPass(plan));
  if (emulate)
    pm.addNestedPass<func::FuncOp>(cpu::createEmulateAMXPass());
  cpu::buildKernelsToLLVMPipeline(pm);
  if (failed(pm.run(*module)))
    return std::nullopt;
  Compiled result;
  auto kernels = (*module)->getAttrOfType<ArrayAttr>("qc.kernels");
  auto attrs = cast<DictionaryAttr>(kernels[0]);
  result.rows = rows;
  result.int8Block = attrs.getAs<IntegerAttr>("int8_block").getInt();
  result.tableLookups = attrs.getAs<IntegerAttr>("table_lookups").getInt();
  result.scratch = attrs.getAs<IntegerAttr>("scratch").getInt();
  result.context = std::make_unique<llvm::LLVMContext>();
  auto code = cpu::translateModel(*module, *target, *result.context);
  if (!code) {
    error = llvm::toString(code.takeError());
    return std::nullopt;
  }
  result.code = std::move(*code);
  result.target = *target;
  auto machine = target->createTargetMachine();
  result.code->setTargetTriple(machine->getTargetTriple());
  result.code->setDataLayout(machine->createDataLayout());
  cpu::optimize(*result.code, *machine);
  return result;
}

std::string KernelJIT::compileOnly(const std::string &format, int64_t n,
                                   int64_t k, bool int8,
                                   const std::string &cpuName,
                                   std::string &error) {
  std::optional<Compiled> compiled = lower(format, n, k, int8, cpuName, error);
  if (!compiled)
    return "";
  auto machine = compiled->target.createTargetMachine();
  SmallVector<char> bytes;
  llvm::raw_svector_ostream os(bytes);
  if (llvm::Error e =
          cpu::emitCode(*compiled->code, *machine, cpu::CodeKind::Assembly, os))
    error = llvm::toString(std::move(e));
  return std::string(bytes.data(), bytes.size());
}

std::unique_ptr<KernelJIT> KernelJIT::create(const std::string &format,
                                             int64_t n, int64_t k, bool int8,
                                             const std::string &cpuName,
                                             std::string &error, int64_t rows) {
  std::optional<Compiled> compiled =
      lower(format, n, k, int8, cpuName, error, rows);
  if (!compiled)
    return nullptr;
  auto fail = [&](llvm::Error e) {
    error = llvm::toString(std::move(e));
    return nullptr;
  };
  auto builder =
      llvm::orc::JITTargetMachineBuilder(compiled->code->getTargetTriple());
  builder.setCPU(compiled->target.llvmName);
  builder.addFeatures({compiled->target.features});
  auto jit = llvm::orc::LLJITBuilder()
                 .setJITTargetMachineBuilder(std::move(builder))
                 .create();
  if (!jit)
    return fail(jit.takeError());
  auto result = std::make_unique<KernelJIT>();
  result->jit = std::move(*jit);
  // Nobody waits in single-threaded test functions.
  auto barrier = llvm::orc::ExecutorSymbolDef(
      llvm::orc::ExecutorAddr::fromPtr(+[](void *) {}),
      llvm::JITSymbolFlags::Exported);
  auto &library = result->jit->getMainJITDylib();
  if (llvm::Error e = library.define(llvm::orc::absoluteSymbols(
          {{result->jit->mangleAndIntern("qc_barrier"), barrier}})))
    return fail(std::move(e));
  if (llvm::Error e = result->jit->addIRModule(llvm::orc::ThreadSafeModule(
          std::move(compiled->code), std::move(compiled->context))))
    return fail(std::move(e));
  auto matmul = result->jit->lookup("qc_kernel_0_matmul");
  if (!matmul)
    return fail(matmul.takeError());
  auto decode = result->jit->lookup("qc_kernel_0_decode");
  if (!decode)
    return fail(decode.takeError());
  result->matmul = matmul->toPtr<MatmulFn>();
  result->decode = decode->toPtr<DecodeFn>();
  result->rows = compiled->rows;
  result->int8Block = compiled->int8Block;
  result->tableLookups = compiled->tableLookups;
  result->scratchBytes = compiled->scratch;
  return result;
}
