//===- Emit.cpp - Object files and executables for the CPU ----------------===//
#include "qc/Target/CPU/Emit.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "qc/Runtime/ModelABI.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace mlir::qc::cpu;

namespace {

/// Builds the constant tables of qc/Runtime/ModelABI.h. The struct types repeat
/// that header field by field.
class ModelTable {
public:
  ModelTable(ModuleOp source, llvm::Module &target)
      : source(source), m(target), context(target.getContext()),
        pointer(llvm::PointerType::get(context, 0)),
        i64(llvm::Type::getInt64Ty(context)),
        i32(llvm::Type::getInt32Ty(context)) {}

  void add(const CPU &cpu, llvm::Constant *device);

private:
  llvm::Constant *number(int64_t value) {
    return llvm::ConstantInt::get(i64, static_cast<uint64_t>(value));
  }
  llvm::Constant *number32(int64_t value) {
    return llvm::ConstantInt::get(i32, static_cast<uint64_t>(value));
  }
  llvm::Constant *string(StringRef text) {
    auto *data = llvm::ConstantDataArray::getString(context, text);
    return new llvm::GlobalVariable(m, data->getType(), true,
                                    llvm::GlobalValue::PrivateLinkage, data);
  }
  llvm::Constant *function(const Twine &name) {
    if (llvm::Function *f = m.getFunction(name.str()))
      return f;
    return llvm::ConstantPointerNull::get(pointer);
  }
  llvm::Constant *structure(ArrayRef<llvm::Constant *> fields) {
    return llvm::ConstantStruct::getAnon(context, fields);
  }
  /// A table of structs and its length.
  std::pair<llvm::Constant *, llvm::Constant *>
  table(ArrayRef<llvm::Constant *> rows) {
    if (rows.empty())
      return {llvm::ConstantPointerNull::get(pointer), number(0)};
    auto *type = llvm::ArrayType::get(rows.front()->getType(), rows.size());
    auto *data = llvm::ConstantArray::get(type, rows);
    return {new llvm::GlobalVariable(m, type, true,
                                     llvm::GlobalValue::PrivateLinkage, data),
            number(static_cast<int64_t>(rows.size()))};
  }
  static int64_t integer(DictionaryAttr attrs, StringRef key) {
    auto value = attrs ? attrs.getAs<IntegerAttr>(key) : IntegerAttr();
    return value ? value.getInt() : 0;
  }
  static StringRef text(DictionaryAttr attrs, StringRef key) {
    auto value = attrs ? attrs.getAs<StringAttr>(key) : StringAttr();
    return value ? value.getValue() : "";
  }
  int64_t moduleInteger(StringRef key) {
    auto value = source->getAttrOfType<IntegerAttr>(key);
    return value ? value.getInt() : 0;
  }

  ModuleOp source;
  llvm::Module &m;
  llvm::LLVMContext &context;
  llvm::PointerType *pointer;
  llvm::Type *i64, *i32;
};

} // namespace

void ModelTable::add(const CPU &cpu, llvm::Constant *device) {
  SmallVector<llvm::Constant *> kernels, tests;
  if (auto list = source->getAttrOfType<ArrayAttr>("qc.kernels"))
    for (auto attrs : list.getAsRange<DictionaryAttr>()) {
      StringRef name = text(attrs, "name");
      kernels.push_back(structure(
          {string(name), string(text(attrs, "format")),
           number(integer(attrs, "n")), number(integer(attrs, "k")),
           number(integer(attrs, "rows")), number(integer(attrs, "offset")),
           number(integer(attrs, "bytes")), number(integer(attrs, "scratch")),
           number32(integer(attrs, "arithmetic")),
           number32(integer(attrs, "int8_block")),
           number32(integer(attrs, "weight_roundings")),
           number32(integer(attrs, "table_lookups")),
           function(name + "_matmul"), function(name + "_decode")}));
    }
  if (auto list = source->getAttrOfType<ArrayAttr>("qc.format_tests"))
    for (auto attrs : list.getAsRange<DictionaryAttr>())
      tests.push_back(structure(
          {string(text(attrs, "format")), number(integer(attrs, "n")),
           number(integer(attrs, "k")), number(integer(attrs, "rows")),
           function(text(attrs, "name"))}));
  auto [kernelTable, numKernels] = table(kernels);
  auto [testTable, numTests] = table(tests);
  auto config = source->getAttrOfType<DictionaryAttr>("lm.config");
  auto weights = source->getAttrOfType<DictionaryAttr>("qc.weights");
  auto placement = source->getAttrOfType<DictionaryAttr>("lm.placement");
  llvm::Constant *model =
      structure({number32(QC_ABI_VERSION),
                 number32(0),
                 string(text(config, "name")),
                 string(cpu.name),
                 string(llvm::join(cpu.required, ",")),
                 number(integer(config, "vocab_size")),
                 number(integer(config, "hidden_size")),
                 number(integer(config, "num_layers")),
                 number(integer(config, "max_positions")),
                 number(moduleInteger("qc.max_tokens")),
                 number(moduleInteger("qc.arena_bytes")),
                 number(moduleInteger("qc.kv_bytes_per_token")),
                 number(integer(weights, "bytes")),
                 function("qc_step_decode"),
                 function("qc_step_prefill"),
                 function("qc_step_score"),
                 kernelTable,
                 numKernels,
                 testTable,
                 numTests,
                 device ? device : llvm::ConstantPointerNull::get(pointer),
                 number(integer(weights, "appended")),
                 number(integer(placement, "gpu_layers")),
                 llvm::ConstantPointerNull::get(pointer),
                 number(0)});
  new llvm::GlobalVariable(m, model->getType(), true,
                           llvm::GlobalValue::ExternalLinkage, model,
                           "qc_model");
}

llvm::Expected<std::unique_ptr<llvm::Module>> mlir::qc::cpu::translateModel(
    ModuleOp module, const CPU &cpu, llvm::LLVMContext &context,
    function_ref<llvm::Constant *(llvm::Module &)> addDevice) {
  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
  // qc.weight symbols have done their work; only functions are translated.
  SmallVector<Operation *> declarations;
  for (Operation &op : *module.getBody())
    if (!isa<LLVM::LLVMDialect>(op.getDialect()))
      declarations.push_back(&op);
  for (Operation *op : declarations)
    op->erase();
  std::unique_ptr<llvm::Module> result = translateModuleToLLVMIR(
      module, context, module.getName().value_or("model"));
  if (!result)
    return llvm::createStringError("translation to LLVM IR failed");
  llvm::Constant *device = addDevice ? addDevice(*result) : nullptr;
  ModelTable(module, *result).add(cpu, device);
  return result;
}

llvm::Expected<std::unique_ptr<llvm::Module>>
mlir::qc::cpu::mergeVersions(std::vector<std::unique_ptr<llvm::Module>> modules,
                             ArrayRef<CPU> cpus) {
  std::vector<std::string> names;
  for (auto [module, cpu] : llvm::zip_equal(modules, cpus)) {
    names.push_back(names.size() + 1 == cpus.size() ? "qc_model"
                                                    : "qc_model_" + cpu.name);
    module->getNamedGlobal("qc_model")->setName(names.back());
    for (llvm::Function &function : module->functions())
      if (!function.isDeclaration()) {
        function.setLinkage(llvm::GlobalValue::InternalLinkage);
        function.addFnAttr("target-cpu", cpu.llvmName);
        function.addFnAttr("target-features", cpu.features);
      }
  }
  std::unique_ptr<llvm::Module> result = std::move(modules.back());
  modules.pop_back();
  for (std::unique_ptr<llvm::Module> &module : modules)
    if (llvm::Linker::linkModules(*result, std::move(module)))
      return llvm::createStringError("cannot merge the code versions");
  SmallVector<llvm::Constant *> versions;
  for (StringRef name : names) {
    llvm::GlobalVariable *model = result->getNamedGlobal(name);
    if (name != "qc_model")
      model->setLinkage(llvm::GlobalValue::InternalLinkage);
    versions.push_back(model);
  }
  auto *type = llvm::ArrayType::get(versions[0]->getType(), versions.size());
  auto *table = new llvm::GlobalVariable(
      *result, type, true, llvm::GlobalValue::PrivateLinkage,
      llvm::ConstantArray::get(type, versions));
  llvm::GlobalVariable *model = result->getNamedGlobal("qc_model");
  auto *old = cast<llvm::ConstantStruct>(model->getInitializer());
  SmallVector<llvm::Constant *> fields;
  for (llvm::Value *field : old->operand_values())
    fields.push_back(cast<llvm::Constant>(field));
  // The last two fields of QCModel.
  size_t last = fields.size() - 1;
  fields[last - 1] = table;
  fields[last] =
      llvm::ConstantInt::get(fields[last]->getType(), versions.size());
  model->setInitializer(llvm::ConstantStruct::get(old->getType(), fields));
  return result;
}

/// Makes prefetches that are marked as for writing (KernelBuilder::prefetch)
/// inline assembly of those for reading, which code generation leaves in its
/// place among the loads. Of the intrinsic it knows that nobody needs it, and
/// does hundreds of them behind a block: more than a core can have under way.
static void pinPrefetches(llvm::Module &module) {
  static constexpr const char *instructions[] = {
      "prefetchnta $0", "prefetcht2 $0", "prefetcht1 $0", "prefetcht0 $0"};
  llvm::LLVMContext &context = module.getContext();
  SmallVector<llvm::IntrinsicInst *> calls;
  for (llvm::Function &function : module)
    if (function.getIntrinsicID() == llvm::Intrinsic::prefetch)
      for (llvm::User *user : function.users())
        if (auto *call = cast<llvm::IntrinsicInst>(user);
            cast<llvm::ConstantInt>(call->getArgOperand(1))->isOne())
          calls.push_back(call);
  for (llvm::IntrinsicInst *call : calls) {
    llvm::Value *address = call->getArgOperand(0);
    uint64_t locality =
        cast<llvm::ConstantInt>(call->getArgOperand(2))->getZExtValue();
    auto *type = llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                                         {address->getType()}, false);
    auto *code = llvm::InlineAsm::get(type, instructions[locality], "*m",
                                      /*hasSideEffects=*/true);
    llvm::CallInst *pinned = llvm::IRBuilder<>(call).CreateCall(code, address);
    pinned->addParamAttr(
        0, llvm::Attribute::get(context, llvm::Attribute::ElementType,
                                llvm::Type::getInt8Ty(context)));
    pinned->setDoesNotThrow();
    call->eraseFromParent();
  }
}

void mlir::qc::cpu::optimize(llvm::Module &module,
                             llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager cgscc;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  // Kernels are vectorized by construction; what is left are short tails.
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(cgscc);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, cgscc, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3)
      .run(module, modules);
  pinPrefetches(module);
}

llvm::Error mlir::qc::cpu::emitCode(llvm::Module &module,
                                    llvm::TargetMachine &machine, CodeKind kind,
                                    llvm::raw_pwrite_stream &os) {
  llvm::legacy::PassManager passes;
  auto type = kind == CodeKind::Object ? llvm::CodeGenFileType::ObjectFile
                                       : llvm::CodeGenFileType::AssemblyFile;
  if (machine.addPassesToEmitFile(passes, os, nullptr, type))
    return llvm::createStringError("the target cannot emit this kind of file");
  passes.run(module);
  return llvm::Error::success();
}

llvm::Error mlir::qc::cpu::link(StringRef object, StringRef runtime,
                                StringRef output, bool shared) {
  llvm::ErrorOr<std::string> driver = std::error_code();
  for (StringRef name : {"clang++-22", "clang++", "g++", "c++"}) {
    driver = llvm::sys::findProgramByName(name);
    if (driver)
      break;
  }
  if (!driver)
    return llvm::createStringError(
        "no linker driver found on PATH: expected clang++-22, clang++ or g++");
  SmallVector<StringRef> args = {*driver, "-o", output, object};
  // The user's machine needs libc only.
  args.append({"-static-libstdc++", "-static-libgcc", "-pthread",
               "-Wl,--gc-sections", "-Wl,-z,now"});
  // The map beside the archive exports the C interface and nothing else.
  SmallString<128> map(runtime);
  llvm::sys::path::replace_extension(map, "map");
  std::string exports = ("-Wl,--version-script=" + map).str();
  if (shared)
    args.append({"-shared", exports, "-Wl,--whole-archive", runtime,
                 "-Wl,--no-whole-archive", "-Wl,-Bsymbolic"});
  else
    args.append({"-pie", runtime});
  args.push_back("-lm");
  // The linker's words, where it fails, are the useful part of the message.
  SmallString<128> log;
  if (std::error_code code =
          llvm::sys::fs::createTemporaryFile("qc-link", "log", log))
    return llvm::createStringError(code, "cannot create a temporary file");
  std::string message;
  std::optional<StringRef> redirects[] = {std::nullopt, log.str(), log.str()};
  int status = llvm::sys::ExecuteAndWait(*driver, args, std::nullopt, redirects,
                                         0, 0, &message);
  std::string details;
  if (status != 0) {
    if (auto text = llvm::MemoryBuffer::getFile(log))
      details = (*text)->getBuffer().split('\n').first.str();
  }
  (void)llvm::sys::fs::remove(log);
  if (status != 0)
    return llvm::createStringError("linking '" + output.str() + "' failed: " +
                                   (details.empty() ? message : details));
  return llvm::Error::success();
}
