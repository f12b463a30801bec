//===- KernelJIT.cpp - Runs generated kernels in this process -------------===//
#include "qc/Target/CPU/Tuning/KernelJIT.h"

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
using namespace mlir::qc;
using namespace mlir::qc::cpu;

bool cpu::runsHere(const CPU &wanted) {
  llvm::Expected<CPU> host = CPU::get("native");
  if (!host) {
    llvm::consumeError(host.takeError());
    return false;
  }
  return llvm::all_of(wanted.required, [&](const std::string &feature) {
    return llvm::is_contained(host->required, feature);
  });
}

namespace {
/// LLVM IR for one CPU.
struct Code {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
};
} // namespace

static llvm::Expected<Code> translate(ModuleOp module, const CPU &cpu) {
  Code code;
  code.context = std::make_unique<llvm::LLVMContext>();
  auto translated = translateModel(module, cpu, *code.context);
  if (!translated)
    return translated.takeError();
  code.module = std::move(*translated);
  auto machine = cpu.createTargetMachine();
  if (!machine)
    return llvm::createStringError("cannot generate code for '" + cpu.name +
                                   "'");
  code.module->setTargetTriple(machine->getTargetTriple());
  code.module->setDataLayout(machine->createDataLayout());
  optimize(*code.module, *machine);
  return code;
}

/// qc_claim of a thread that is alone with its share: the whole, then nothing.
static int64_t claimAll(void *, int64_t thread, int64_t threads, int64_t items,
                        int64_t) {
  static thread_local bool given = false;
  given = !given;
  int64_t begin = items * thread / threads;
  int64_t end = items * (thread + 1) / threads;
  return given ? end << 32 | begin : -1;
}

static llvm::Expected<std::unique_ptr<llvm::orc::LLJIT>>
createJIT(Code code, const CPU &cpu) {
  llvm::orc::JITTargetMachineBuilder builder(code.module->getTargetTriple());
  builder.setCPU(cpu.llvmName);
  builder.addFeatures({cpu.features});
  auto jit = llvm::orc::LLJITBuilder()
                 .setJITTargetMachineBuilder(std::move(builder))
                 .create();
  if (!jit)
    return jit.takeError();
  auto define = [&](StringRef name, auto *function) {
    return (*jit)->getMainJITDylib().define(llvm::orc::absoluteSymbols(
        {{(*jit)->mangleAndIntern(name),
          {llvm::orc::ExecutorAddr::fromPtr(function),
           llvm::JITSymbolFlags::Exported}}}));
  };
  if (llvm::Error error = define("qc_barrier", +[](void *) {}))
    return error;
  if (llvm::Error error = define("qc_claim", &claimAll))
    return error;
  if (llvm::Error error = (*jit)->addIRModule(llvm::orc::ThreadSafeModule(
          std::move(code.module), std::move(code.context))))
    return error;
  return std::move(*jit);
}

llvm::Expected<std::unique_ptr<llvm::orc::LLJIT>>
cpu::createJIT(ModuleOp module, const CPU &cpu) {
  llvm::Expected<Code> code = translate(module, cpu);
  if (!code)
    return code.takeError();
  return ::createJIT(std::move(*code), cpu);
}

namespace {
struct Compiled {
  Code code;
  CPU target;
  int64_t rows = 0, int8Block = 0, tableLookups = 0, scratch = 0;
};
} // namespace

static std::optional<Compiled> lower(const std::string &format, int64_t n,
                                     int64_t k, Arithmetic arithmetic,
                                     const std::string &cpuName,
                                     std::string &error, int64_t rows = 0,
                                     const std::string &tuning = "") {
  // Kernels of this CPU with AMX rewritten; code for one without.
  StringRef kernelCPU = cpuName;
  bool emulate = kernelCPU.consume_back("+emulation");
  StringRef without =
      arithmetic == Arithmetic::BF16 ? "cooperlake" : "x86-64-v4-vbmi";
  llvm::Expected<CPU> target = CPU::get(emulate ? without : kernelCPU);
  if (!target) {
    error = llvm::toString(target.takeError());
    return std::nullopt;
  }
  DialectRegistry registry;
  registry.insert<QCDialect, lm::LMDialect, func::FuncDialect,
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
  auto attribute = dyn_cast_or_null<FormatAttrInterface>(
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
      type, bytes, k, n, stringifyArithmetic(arithmetic));
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(source, &context);
  if (!module)
    return std::nullopt;
  PassManager pm(&context);
  LowerToCPUKernelsPassOptions options;
  options.mcpu = kernelCPU.str();
  options.tuning = tuning;
  options.maxTokens = KernelJIT::maxTokens;
  pm.addPass(createLowerToCPUKernelsPass(options));
  PlanMemoryPassOptions plan;
  plan.maxTokens = KernelJIT::maxTokens;
  pm.addPass(createPlanMemoryPass(plan));
  if (emulate)
    pm.addNestedPass<func::FuncOp>(createEmulateAMXPass());
  buildKernelsToLLVMPipeline(pm);
  if (failed(pm.run(*module)))
    return std::nullopt;
  Compiled result;
  auto kernels = (*module)->getAttrOfType<ArrayAttr>("qc.kernels");
  auto attrs = cast<DictionaryAttr>(kernels[0]);
  result.rows = rows;
  result.int8Block = attrs.getAs<IntegerAttr>("int8_block").getInt();
  result.tableLookups = attrs.getAs<IntegerAttr>("table_lookups").getInt();
  result.scratch = attrs.getAs<IntegerAttr>("scratch").getInt();
  result.target = *target;
  llvm::Expected<Code> code = translate(*module, *target);
  if (!code) {
    error = llvm::toString(code.takeError());
    return std::nullopt;
  }
  result.code = std::move(*code);
  return result;
}

std::string KernelJIT::compileOnly(const std::string &format, int64_t n,
                                   int64_t k, Arithmetic arithmetic,
                                   const std::string &cpuName,
                                   std::string &error) {
  std::optional<Compiled> compiled =
      lower(format, n, k, arithmetic, cpuName, error);
  if (!compiled)
    return "";
  auto machine = compiled->target.createTargetMachine();
  SmallVector<char> bytes;
  llvm::raw_svector_ostream os(bytes);
  if (llvm::Error e =
          emitCode(*compiled->code.module, *machine, CodeKind::Assembly, os))
    error = llvm::toString(std::move(e));
  return std::string(bytes.data(), bytes.size());
}

std::unique_ptr<KernelJIT>
KernelJIT::create(const std::string &format, int64_t n, int64_t k,
                  Arithmetic arithmetic, const std::string &cpuName,
                  std::string &error, int64_t rows, const std::string &tuning) {
  std::optional<Compiled> compiled =
      lower(format, n, k, arithmetic, cpuName, error, rows, tuning);
  if (!compiled)
    return nullptr;
  auto fail = [&](llvm::Error e) {
    error = llvm::toString(std::move(e));
    return nullptr;
  };
  auto jit = ::createJIT(std::move(compiled->code), compiled->target);
  if (!jit)
    return fail(jit.takeError());
  auto result = std::make_unique<KernelJIT>();
  result->jit = std::move(*jit);
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
