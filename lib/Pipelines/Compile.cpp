//===- Compile.cpp - From a model folder to an executable -----------------===//
#include "qc/Pipelines/Compile.h"

#include "Metadata.h"
#include "Tune.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "qc/Dialect/LM/Transforms/Passes.h"
#include "qc/Dialect/QC/Transforms/Passes.h"
#include "qc/Frontend/Import.h"
#include "qc/Quantization/Recipes.h"
#include "qc/Runtime/Artefact/Payload.h"
#include "qc/Target/CPU/Emit.h"
#include "qc/Target/CPU/Passes.h"
#include "qc/Target/GPU/DeviceTable.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/NVPTX/PTX.h"
#include "qc/Target/NVPTX/Passes.h"
#include "qc/Target/SPIRV/CooperativeMatrix.h"
#include "qc/Target/SPIRV/Passes.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/ToolOutputFile.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include <atomic>
#include <csignal>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::qc;
namespace fs = llvm::sys::fs;

namespace {

constexpr StringRef cpuPhases[] = {"import", "quantize", "fuse",
                                   "pack",   "kernels",  "llvm"};
constexpr StringRef spirvPhases[] = {"import", "quantize", "fuse",
                                     "pack",   "kernels",  "spirv"};
constexpr StringRef nvptxPhases[] = {"import", "quantize", "fuse",
                                     "pack",   "kernels",  "nvvm"};

/// Of the one WorkFolder, for removeWorkFolder().
std::atomic<const char *> currentWorkFolder = nullptr;

/// Handles a signal that ends the program; hence system calls only. The folder
/// holds files, no folders.
void removeWorkFolder(int signal) {
  if (const char *path = currentWorkFolder) {
    int fd = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    alignas(dirent64) char entries[4096];
    for (ssize_t count;
         (count = ::getdents64(fd, entries, sizeof(entries))) > 0;)
      for (ssize_t at = 0; at < count;) {
        auto *entry = reinterpret_cast<dirent64 *>(entries + at);
        (void)::unlinkat(fd, entry->d_name, 0);
        at += entry->d_reclen;
      }
    (void)::rmdir(path);
  }
  // Other unfinished outputs; then what the signal does by itself.
  llvm::sys::RunInterruptHandlers();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void catchSignals() {
  struct sigaction action = {}, old = {};
  action.sa_handler = removeWorkFolder;
  action.sa_flags = SA_NODEFER;
  for (int signal : {SIGHUP, SIGINT, SIGTERM})
    if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler != SIG_IGN)
      sigaction(signal, &action, nullptr);
}

/// A folder for intermediate files, removed with all it holds.
class WorkFolder {
public:
  static llvm::Expected<std::unique_ptr<WorkFolder>> create(StringRef near) {
    catchSignals();
    // No signal between the folder and its name.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    auto unblock = llvm::scope_exit(
        [&] { pthread_sigmask(SIG_SETMASK, &before, nullptr); });
    SmallString<128> path;
    if (std::error_code code = fs::createUniqueDirectory(near + ".qc", path)) {
      // createUniqueDirectory puts relative models below the temporary folder.
      return llvm::createStringError(code, "cannot create a folder beside '" +
                                               near + "'");
    }
    return std::unique_ptr<WorkFolder>(new WorkFolder(path));
  }
  ~WorkFolder() {
    (void)fs::remove_directories(path);
    currentWorkFolder = nullptr;
  }
  StringRef get() const { return path; }
  std::string file(StringRef name) const {
    SmallString<128> result(path);
    llvm::sys::path::append(result, name);
    return std::string(result);
  }

private:
  explicit WorkFolder(StringRef path) : path(path) {
    currentWorkFolder = this->path.c_str();
  }
  SmallString<128> path;
};

class Compiler {
public:
  Compiler(MLIRContext &context, const CompileOptions &options)
      : context(context), options(options) {}

  llvm::Error run();

private:
  llvm::Error load();
  /// Decides which layers run where.
  llvm::Error place();
  llvm::Error runPhase(StringRef phase, function_ref<void(PassManager &)> fill);
  llvm::Error quantize();
  llvm::Error emitText(function_ref<void(llvm::raw_ostream &)> print);
  llvm::Error dump(StringRef name,
                   function_ref<void(llvm::raw_ostream &)> print);
  llvm::Error lower(const cpu::CPU &cpu);
  /// The GPU's half of a mixed placement, whole; the CPU's half stays.
  llvm::Error lowerHalfForGPU();
  llvm::Error lowerForGPU() {
    return options.target == "spirv" ? lowerForSPIRV() : lowerForNVPTX();
  }
  void addPackPasses(PassManager &pm, bool forGPU);
  llvm::Error lowerForSPIRV();
  llvm::Error lowerForNVPTX();
  llvm::Error addCubins(const llvm::Module &kernels);
  /// Whether a product has activations in int8.
  bool hasInt8Arithmetic();
  llvm::Error addBetterKernels();
  /// `arch`: of QCDeviceCode.
  llvm::Expected<mlir::qc::gpu::DeviceCode>
  serializeSPIRV(ModuleOp lowered, uint32_t features, uint32_t arch = 0);
  llvm::Expected<std::unique_ptr<llvm::Module>>
  translate(const cpu::CPU &cpu, llvm::LLVMContext &llvmContext);
  llvm::Error emitMachineCode(llvm::Module &code, const std::string &metadata);
  llvm::Error finish(StringRef object, const std::string &metadata);
  bool stopsAfter(StringRef phase) const { return options.compileTo == phase; }

  MLIRContext &context;
  const CompileOptions &options;
  std::vector<cpu::CPU> cpus;     ///< best first
  std::vector<unsigned> gpuArchs; ///< ascending
  SmallVector<mlir::qc::spirv::CooperativeMatrix> cooperativeMatrices;
  SmallVector<mlir::qc::gpu::DeviceCode> deviceCodes;
  /// Kernels on cooperative matrices with their dispatch lists, best first.
  struct CooperativeModel {
    DictionaryAttr device;
    mlir::qc::gpu::DeviceCode code;
  };
  SmallVector<CooperativeModel> cooperativeModels;
  std::unique_ptr<WorkFolder> work;
  OwningOpRef<ModuleOp> module;
  bool onCPU = true, onGPU = false; ///< Both: the first layers on the CPU.
  /// Of a mixed placement: the GPU's half, packed and lowered.
  OwningOpRef<ModuleOp> packedHalf, loweredHalf;
  std::string recipe;
  std::string tuning; ///< of the kernels, see chooseTuning()
  unsigned dumped = 0;
  bool done = false;
};

} // namespace

/// Opens `output` under a temporary name in its folder, prints, renames.
llvm::Error Compiler::emitText(function_ref<void(llvm::raw_ostream &)> print) {
  done = true;
  if (options.output == "-") {
    print(llvm::outs());
    return llvm::Error::success();
  }
  return llvm::handleErrors(llvm::writeToOutput(options.output,
                                                [&](llvm::raw_ostream &os) {
                                                  print(os);
                                                  return llvm::Error::success();
                                                }),
                            [&](std::unique_ptr<llvm::ErrorInfoBase> error) {
                              return llvm::createStringError(
                                  "cannot write '" + options.output +
                                  "': " + error->message());
                            });
}

llvm::Error Compiler::dump(StringRef name,
                           function_ref<void(llvm::raw_ostream &)> print) {
  if (options.dumpDir.empty())
    return llvm::Error::success();
  if (std::error_code code = fs::create_directories(options.dumpDir))
    return llvm::createStringError(code, "cannot create '" + options.dumpDir +
                                             "': " + code.message());
  SmallString<128> path(options.dumpDir);
  llvm::sys::path::append(path, std::to_string(dumped++) + "-" + name.str());
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (code)
    return llvm::createStringError(code, "cannot write '" + path +
                                             "': " + code.message());
  print(os);
  os.close();
  if (os.has_error()) {
    code = os.error();
    os.clear_error();
    return llvm::createStringError(code, "cannot write '" + path +
                                             "': " + code.message());
  }
  return llvm::Error::success();
}

llvm::Error Compiler::runPhase(StringRef phase,
                               function_ref<void(PassManager &)> fill) {
  PassManager pm(&context, ModuleOp::getOperationName());
  if (failed(applyPassManagerCLOptions(pm)))
    return llvm::createStringError("bad pass manager options");
  fill(pm);
  // The diagnostic handler of the tool has printed the reason.
  if (failed(pm.run(*module)))
    return llvm::createStringError("");
  OpPrintingFlags flags;
  if (llvm::Error error =
          dump((phase + ".mlir").str(),
               [&](llvm::raw_ostream &os) { module->print(os, flags); }))
    return error;
  if (stopsAfter(phase))
    return emitText([&](llvm::raw_ostream &os) { module->print(os, flags); });
  return llvm::Error::success();
}

llvm::Error Compiler::load() {
  if (fs::is_directory(options.input)) {
    llvm::Expected<OwningOpRef<ModuleOp>> imported =
        importModel(context, options.input);
    if (!imported)
      return imported.takeError();
    module = std::move(*imported);
    recipe = options.quantize.empty() ? "int4_sym" : options.quantize;
    return llvm::Error::success();
  }
  if (!fs::exists(options.input))
    return llvm::createStringError("cannot read '" + options.input +
                                   "': no such file or folder");
  module = parseSourceFile<ModuleOp>(options.input, &context);
  if (!module)
    return llvm::createStringError("");
  recipe = options.quantize.empty() ? "none" : options.quantize;
  return llvm::Error::success();
}

/// True if some matrix is stored in anything but a float format.
static bool hasQuantizedWeights(ModuleOp module) {
  for (auto weight : module.getOps<WeightOp>())
    if (!isa<FloatFormatAttr>(Attribute(weight.getWeightType().getFormat())))
      return true;
  return false;
}

/// Leaves one half of the model (lm-place-layers).
static void addPlacePasses(PassManager &pm, StringRef side, int64_t gpuLayers) {
  lm::PlaceLayersPassOptions half;
  half.gpuLayers = gpuLayers;
  half.side = side.str();
  pm.addPass(lm::createPlaceLayersPass(half));
  pm.addPass(createSymbolDCEPass());
}

llvm::Error Compiler::run() {
  llvm::Expected<std::vector<cpu::CPU>> resolved = cpu::CPU::list(options.mcpu);
  if (!resolved)
    return resolved.takeError();
  cpus = std::move(*resolved);
  if (!options.gpuArch.empty()) {
    auto archs = mlir::qc::nvptx::parseArchs(options.gpuArch);
    if (!archs)
      return llvm::createStringError("--gpu-arch: " +
                                     llvm::toString(archs.takeError()));
    gpuArchs = std::move(*archs);
    if (options.emit == Emit::Cubin && gpuArchs.size() > 1)
      return llvm::createStringError(
          "--emit=cubin writes one file: expected one --gpu-arch");
  }
  auto matrices =
      mlir::qc::spirv::parseCooperativeMatrices(options.cooperativeMatrices);
  if (!matrices)
    return llvm::createStringError("--cooperative-matrices: " +
                                   llvm::toString(matrices.takeError()));
  cooperativeMatrices = std::move(*matrices);
  if (llvm::Error error = load())
    return error;
  if (llvm::Error error = place())
    return error;
  ArrayRef<StringRef> phases = cpuPhases;
  if (onGPU && onCPU) // Each half has its own later on.
    phases = phases.take_front(3);
  else if (onGPU)
    phases = options.target == "spirv" ? ArrayRef<StringRef>(spirvPhases)
                                       : ArrayRef<StringRef>(nvptxPhases);
  if (!options.compileTo.empty() &&
      !llvm::is_contained(phases, options.compileTo))
    return llvm::createStringError("unknown phase '" + options.compileTo +
                                   "', expected one of " +
                                   llvm::join(phases, ", "));
  if (cpus.size() > 1 && (stopsAfter("kernels") || stopsAfter("llvm") ||
                          options.emit == Emit::MLIR))
    return llvm::createStringError("IR of kernels is for one CPU: expected "
                                   "another --mcpu than " +
                                   options.mcpu);
  if (options.output != "-") {
    SmallString<128> near(options.output);
    fs::make_absolute(near);
    StringRef folder = llvm::sys::path::parent_path(near);
    if (!fs::is_directory(folder))
      return llvm::createStringError("cannot write '" + options.output +
                                     "': folder '" + folder +
                                     "' does not exist");
    if (llvm::sys::fs::is_directory(near))
      return llvm::createStringError("cannot write '" + options.output +
                                     "': it is a folder");
    llvm::Expected<std::unique_ptr<WorkFolder>> created =
        WorkFolder::create(near);
    if (!created)
      return llvm::createStringError("cannot write '" + options.output + "': " +
                                     llvm::toString(created.takeError()));
    work = std::move(*created);
  } else {
    llvm::Expected<std::unique_ptr<WorkFolder>> created =
        WorkFolder::create("/tmp/qc");
    if (!created)
      return created.takeError();
    work = std::move(*created);
  }

  if (llvm::Error error = runPhase("import", [](PassManager &) {}))
    return error;
  if (done)
    return llvm::Error::success();

  // Stores that are asked for stay; those of an executable are intermediate.
  std::string store =
      stopsAfter("quantize")
          ? std::string(llvm::sys::path::parent_path(options.output))
          : std::string(work->get());
  bool valid = true;
  if (llvm::Error error = runPhase("quantize", [&](PassManager &pm) {
        valid = succeeded(addQuantizePasses(
            pm, *module, recipe, options.groupSize, store, options.threads));
      }))
    return error;
  if (!valid)
    return llvm::createStringError(
        "unknown recipe '" + recipe +
        "', expected int4_sym, int4_asym, int8, nf4, e8p or none");
  if (done)
    return llvm::Error::success();

  bool quantized = hasQuantizedWeights(*module);
  std::string metadataSource;
  if (llvm::Error error = runPhase("fuse", [&](PassManager &pm) {
        FuseDequantMatmulPassOptions fuse;
        fuse.activations = options.activations == "auto"
                               ? (quantized ? "int8" : "f32")
                               : options.activations;
        fuse.strict = true;
        pm.addPass(createFuseDequantMatmulPass(fuse));
        pm.addPass(createCheckNoDenseWeightsPass());
        lm::SelectKVCachePassOptions cache;
        cache.type = options.kvCache == "auto" ? (quantized ? "f16" : "f32")
                                               : options.kvCache;
        pm.addPass(lm::createSelectKVCachePass(cache));
        pm.addPass(lm::createMergeLayersPass());
      }))
    return error;
  if (done)
    return llvm::Error::success();
  if (onCPU && onGPU)
    if (llvm::Error error = lowerHalfForGPU(); error || done)
      return error;
  if (llvm::Error error = runPhase("pack", [&](PassManager &pm) {
        if (onCPU && onGPU)
          addPlacePasses(pm, "cpu", options.gpuLayers);
        addPackPasses(pm, /*forGPU=*/!onCPU);
      }))
    return error;
  if (done)
    return llvm::Error::success();
  if (onCPU) {
    llvm::Expected<std::string> chosen = chooseTuning(*module, options);
    if (!chosen)
      return chosen.takeError();
    tuning = std::move(*chosen);
  }
  SmallVector<ModuleOp> halves = {*module};
  if (packedHalf)
    halves.push_back(*packedHalf);
  if (options.reproducible)
    for (ModuleOp half : halves)
      half->setAttr("qc.reproducible", UnitAttr::get(&context));
  if (options.prefillBackend != "generated")
    (*module)->setAttr("qc.prefill_backend",
                       StringAttr::get(&context, options.prefillBackend));
  llvm::Expected<std::string> metadata =
      buildMetadata(halves, recipe,
                    !onCPU            ? options.target
                    : cpus.size() > 1 ? options.mcpu
                                      : cpus.front().name);
  if (!metadata)
    return metadata.takeError();
  llvm::LLVMContext llvmContext;
  std::vector<std::unique_ptr<llvm::Module>> versions;
  OwningOpRef<ModuleOp> packed = module->clone();
  for (const cpu::CPU &cpu : cpus) {
    module = packed->clone();
    if (llvm::Error error = onCPU ? lower(cpu) : lowerForGPU())
      return error;
    if (done)
      return llvm::Error::success();
    auto code = translate(cpu, llvmContext);
    if (!code)
      return code.takeError();
    versions.push_back(std::move(*code));
  }
  if (cpus.size() == 1)
    return emitMachineCode(*versions.front(), *metadata);
  auto merged = cpu::mergeVersions(std::move(versions), cpus);
  if (!merged)
    return merged.takeError();
  return emitMachineCode(**merged, *metadata);
}

llvm::Error Compiler::place() {
  auto config = (*module)->getAttrOfType<DictionaryAttr>("lm.config");
  auto layers =
      config ? config.getAs<IntegerAttr>("num_layers") : IntegerAttr();
  int64_t most = layers ? layers.getInt() : 0;
  onGPU = options.target != "cpu" && options.gpuLayers != 0;
  onCPU = !onGPU || (options.gpuLayers > 0 && options.gpuLayers < most);
  if (onCPU && onGPU && cpus.size() > 1)
    return llvm::createStringError("--target=cpu," + options.target +
                                   " is for one CPU: expected another --mcpu "
                                   "than " +
                                   options.mcpu);
  // The host's part of a GPU's model is the runtime, for any CPU.
  if (!onCPU) {
    cpus.resize(1);
    cpus.front().name = "any";
    cpus.front().required.clear();
  }
  return llvm::Error::success();
}

void Compiler::addPackPasses(PassManager &pm, bool forGPU) {
  PackWeightsPassOptions pack;
  if (forGPU) {
    pack.rows = mlir::qc::gpu::packedRows;
    pack.alignment = QC_DEVICE_ALIGNMENT;
  } else {
    // Of the widest vectors: narrower ones take a block in pieces.
    pack.rows = 0;
    for (const cpu::CPU &cpu : cpus)
      pack.rows = std::max<int64_t>(pack.rows, cpu.vectors.lanes);
    if (onGPU)
      pack.append = work->file("gpu-weights.bin");
  }
  pack.output = work->file(forGPU && onCPU ? "gpu-weights.bin" : "weights.bin");
  pack.threads = options.threads;
  pm.addPass(createPackWeightsPass(pack));
}

llvm::Error Compiler::lowerHalfForGPU() {
  OwningOpRef<ModuleOp> whole = module->clone();
  if (llvm::Error error = runPhase("gpu-pack", [&](PassManager &pm) {
        addPlacePasses(pm, "gpu", options.gpuLayers);
        addPackPasses(pm, /*forGPU=*/true);
      }))
    return error;
  packedHalf = module->clone();
  if (llvm::Error error = lowerForGPU(); error || done)
    return error;
  loweredHalf = std::move(module);
  module = std::move(whole);
  return llvm::Error::success();
}

/// Runs the phases that depend on the CPU.
llvm::Error Compiler::lower(const cpu::CPU &cpu) {
  std::string name = cpus.size() > 1 ? cpu.name : options.mcpu;
  if (llvm::Error error = runPhase("kernels", [&](PassManager &pm) {
        cpu::LowerToCPUKernelsPassOptions lower;
        lower.mcpu = name;
        lower.tuning = tuning;
        lower.maxTokens = options.maxTokens;
        lower.reproducible = options.reproducible;
        lower.prefillBackend = options.prefillBackend;
        pm.addPass(cpu::createLowerToCPUKernelsPass(lower));
        cpu::PlanMemoryPassOptions plan;
        plan.maxTokens = options.maxTokens;
        pm.addPass(cpu::createPlanMemoryPass(plan));
      }))
    return error;
  if (done)
    return llvm::Error::success();
  if (llvm::Error error = runPhase(
          "llvm", [](PassManager &pm) { cpu::buildKernelsToLLVMPipeline(pm); }))
    return error;
  if (!done && options.emit == Emit::MLIR)
    return emitText([&](llvm::raw_ostream &os) { module->print(os); });
  return llvm::Error::success();
}

bool Compiler::hasInt8Arithmetic() {
  return (*module)
      ->walk([](MatmulOp op) {
        return op.getArithmetic().value_or(Arithmetic::F32) == Arithmetic::Int8
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

/// Kernels for devices beyond the floor: with subgroup arithmetic and, for
/// int8, integer dot products and each shape of cooperative matrices. Devices
/// take the first code that they run.
llvm::Error Compiler::addBetterKernels() {
  bool int8 = hasInt8Arithmetic();
  // Sums over subgroups and matrices have an order of their own.
  bool reorders = !options.reproducible;
  uint32_t features = (int8 ? QC_FEATURE_INTEGER_DOT_PRODUCT : 0) |
                      (reorders ? QC_FEATURE_SUBGROUP_ARITHMETIC : 0);
  if (features == 0)
    return llvm::Error::success();
  auto lower = [&](ArrayRef<int64_t> matrix) -> OwningOpRef<ModuleOp> {
    OwningOpRef<ModuleOp> copy = module->clone();
    PassManager pm(&context, ModuleOp::getOperationName());
    mlir::qc::gpu::LowerToGPUKernelsPassOptions lower;
    lower.maxTokens = options.maxTokens;
    lower.reproducible = options.reproducible;
    if (int8)
      lower.integerDot = "spirv";
    lower.wideLoads = int8;
    lower.subgroupReductions = true;
    lower.cooperativeMatrix.assign(matrix.begin(), matrix.end());
    pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(lower));
    mlir::qc::spirv::buildKernelsToSPIRVPipeline(pm, options.reproducible);
    return failed(pm.run(*copy)) ? OwningOpRef<ModuleOp>() : std::move(copy);
  };
  auto dumpCode = [&](const Twine &name,
                      const mlir::qc::gpu::DeviceCode &code) {
    return dump(name.str(), [&](llvm::raw_ostream &os) {
      os.write(code.bytes.data(), code.bytes.size());
    });
  };
  if (int8 && reorders)
    for (const auto &matrix : cooperativeMatrices) {
      OwningOpRef<ModuleOp> lowered = lower(matrix.sizes());
      if (!lowered)
        return llvm::createStringError("");
      auto code = serializeSPIRV(
          *lowered, features | QC_FEATURE_COOPERATIVE_MATRIX, matrix.arch());
      if (!code)
        return code.takeError();
      std::string name = "kernels-" + matrix.spelling();
      llvm::replace(name, '/', '-');
      if (llvm::Error error = dumpCode(name + ".spv", *code))
        return error;
      cooperativeModels.push_back(
          {(*lowered)->getAttrOfType<DictionaryAttr>("qc.device"),
           std::move(*code)});
    }
  OwningOpRef<ModuleOp> lowered = lower({});
  if (!lowered)
    return llvm::createStringError("");
  auto code = serializeSPIRV(*lowered, features);
  if (!code)
    return code.takeError();
  deviceCodes.push_back(std::move(*code));
  return dumpCode("kernels-better.spv", deviceCodes.back());
}

llvm::Expected<mlir::qc::gpu::DeviceCode>
Compiler::serializeSPIRV(ModuleOp lowered, uint32_t features, uint32_t arch) {
  llvm::Expected<SmallVector<uint32_t>> words =
      mlir::qc::spirv::serializeKernels(lowered);
  if (!words)
    return words.takeError();
  mlir::qc::gpu::DeviceCode code;
  code.kind = QC_CODE_SPIRV;
  code.features = features;
  code.arch = arch;
  const char *bytes = reinterpret_cast<const char *>(words->data());
  code.bytes.append(bytes, bytes + 4 * words->size());
  return code;
}

llvm::Error Compiler::lowerForSPIRV() {
  if (options.compileTo.empty())
    if (llvm::Error error = addBetterKernels())
      return error;
  if (llvm::Error error = runPhase("kernels", [&](PassManager &pm) {
        mlir::qc::gpu::LowerToGPUKernelsPassOptions lower;
        lower.maxTokens = options.maxTokens;
        lower.reproducible = options.reproducible;
        // With products in f32 alone NVIDIA's driver (580, H200) lost the
        // device in such kernels (Xid 13), for reasons that are not known.
        lower.wideLoads = hasInt8Arithmetic();
        pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(lower));
      }))
    return error;
  if (done)
    return llvm::Error::success();
  if (llvm::Error error = runPhase("spirv", [&](PassManager &pm) {
        mlir::qc::spirv::buildKernelsToSPIRVPipeline(pm, options.reproducible);
      }))
    return error;
  if (done)
    return llvm::Error::success();
  auto floor = serializeSPIRV(*module, 0);
  if (!floor)
    return floor.takeError();
  deviceCodes.push_back(std::move(*floor));
  const mlir::qc::gpu::DeviceCode &code = deviceCodes.back();
  auto print = [&](llvm::raw_ostream &os) {
    os.write(code.bytes.data(), code.bytes.size());
  };
  if (options.emit == Emit::SPIRV)
    return emitText(print);
  if (options.emit == Emit::SPIRVText)
    return emitText([&](llvm::raw_ostream &os) {
      for (auto kernels : module->getOps<mlir::spirv::ModuleOp>())
        os << kernels << "\n";
    });
  if (llvm::Error error = dump("kernels.spv", print))
    return error;
  if (!done && options.emit == Emit::MLIR)
    return emitText([&](llvm::raw_ostream &os) { module->print(os); });
  return llvm::Error::success();
}

llvm::Error Compiler::lowerForNVPTX() {
  if (llvm::Error error = runPhase("kernels", [&](PassManager &pm) {
        auto lower = mlir::qc::nvptx::kernelOptions();
        lower.maxTokens = options.maxTokens;
        lower.reproducible = options.reproducible;
        lower.tensorCores = !gpuArchs.empty() && gpuArchs.front() >= 80;
        if (!gpuArchs.empty())
          lower.sharedBytes = mlir::qc::nvptx::sharedBytes(gpuArchs.front());
        pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(lower));
      }))
    return error;
  if (done)
    return llvm::Error::success();
  if (llvm::Error error = runPhase("nvvm", [](PassManager &pm) {
        mlir::qc::nvptx::buildKernelsToNVVMPipeline(pm);
      }))
    return error;
  if (done)
    return llvm::Error::success();
  if (options.emit == Emit::MLIR)
    return emitText([&](llvm::raw_ostream &os) { module->print(os); });
  llvm::LLVMContext llvmContext;
  auto kernels = mlir::qc::nvptx::translateKernels(*module, llvmContext);
  if (!kernels)
    return kernels.takeError();
  if (llvm::Error error = addCubins(**kernels); error || done)
    return error;

  // PTX last: devices take the first code that they run.
  unsigned arch = gpuArchs.empty() ? mlir::qc::nvptx::defaultArch : gpuArchs[0];
  auto ptx = mlir::qc::nvptx::emitPTX(**kernels, arch);
  if (!ptx)
    return ptx.takeError();
  auto print = [&](llvm::raw_ostream &os) { os << *ptx; };
  if (options.emit == Emit::PTX)
    return emitText(print);
  if (llvm::Error error = dump("kernels.ptx", print))
    return error;
  if (llvm::Error error = dump("kernels.ll", [&](llvm::raw_ostream &os) {
        (*kernels)->print(os, nullptr);
      }))
    return error;
  mlir::qc::gpu::DeviceCode code;
  code.kind = QC_CODE_PTX;
  code.arch = arch;
  code.bytes.append(ptx->c_str(), ptx->c_str() + ptx->size() + 1);
  deviceCodes.push_back(std::move(code));
  return llvm::Error::success();
}

/// Code for each of --gpu-arch, newest first, if the assembler is here.
llvm::Error Compiler::addCubins(const llvm::Module &kernels) {
  if (gpuArchs.empty() || options.emit == Emit::PTX)
    return llvm::Error::success();
  std::string ptxas = mlir::qc::nvptx::findPtxas(options.ptxas);
  if (ptxas.empty()) {
    std::string why =
        options.ptxas.empty()
            ? "no ptxas on PATH, in $CUDA_PATH/bin or /usr/local/cuda/bin"
            : "cannot run '" + options.ptxas + "'";
    if (options.emit == Emit::Cubin || !options.ptxas.empty())
      return llvm::createStringError(why + ": expected the CUDA toolkit's "
                                           "assembler (--ptxas)");
    llvm::errs() << "qc-compile: note: " << why
                 << ": the model has PTX alone, which the driver compiles\n";
    return llvm::Error::success();
  }
  for (unsigned arch : llvm::reverse(gpuArchs)) {
    std::unique_ptr<llvm::Module> own = llvm::CloneModule(kernels);
    auto ptx = mlir::qc::nvptx::emitPTX(*own, arch);
    if (!ptx)
      return ptx.takeError();
    auto cubin = mlir::qc::nvptx::assemble(*ptx, arch, ptxas, work->get());
    if (!cubin)
      return cubin.takeError();
    auto print = [&](llvm::raw_ostream &os) { os << cubin->bytes; };
    if (options.emit == Emit::Cubin)
      return emitText(print);
    std::string name = "kernels.sm_" + std::to_string(arch);
    if (llvm::Error error = dump(name + ".cubin", print))
      return error;
    if (llvm::Error error = dump(
            name + ".txt", [&](llvm::raw_ostream &os) { os << cubin->report; }))
      return error;
    mlir::qc::gpu::DeviceCode code;
    code.kind = QC_CODE_CUBIN;
    code.arch = arch;
    code.bytes.append(cubin->bytes.begin(), cubin->bytes.end());
    deviceCodes.push_back(std::move(code));
  }
  return llvm::Error::success();
}

/// The module as optimized LLVM IR.
llvm::Expected<std::unique_ptr<llvm::Module>>
Compiler::translate(const cpu::CPU &cpu, llvm::LLVMContext &llvmContext) {
  auto addDevice = [&](llvm::Module &target) -> llvm::Constant * {
    ModuleOp half = loweredHalf ? *loweredHalf : *module;
    auto device = half->getAttrOfType<DictionaryAttr>("qc.device");
    if (!device)
      return nullptr;
    auto config = (*module)->getAttrOfType<DictionaryAttr>("lm.config");
    auto add = [&](DictionaryAttr device,
                   ArrayRef<mlir::qc::gpu::DeviceCode> codes,
                   llvm::Constant *preferred) {
      return mlir::qc::gpu::addDeviceModel(
          target, options.target, device,
          config.getAs<IntegerAttr>("vocab_size").getInt(), codes, preferred);
    };
    llvm::Constant *preferred = nullptr;
    for (const CooperativeModel &model : llvm::reverse(cooperativeModels))
      preferred = add(model.device, model.code, preferred);
    return add(device, deviceCodes, preferred);
  };
  auto code = cpu::translateModel(*module, cpu, llvmContext, addDevice);
  if (!code)
    return code;
  std::unique_ptr<llvm::TargetMachine> machine = cpu.createTargetMachine();
  if (!machine)
    return llvm::createStringError("cannot generate code for '" + cpu.name +
                                   "'");
  (*code)->setTargetTriple(machine->getTargetTriple());
  (*code)->setDataLayout(machine->createDataLayout());
  cpu::optimize(**code, *machine);
  return code;
}

llvm::Error Compiler::emitMachineCode(llvm::Module &code,
                                      const std::string &metadata) {
  // Functions of several versions name their CPU themselves.
  std::unique_ptr<llvm::TargetMachine> machine =
      cpus.back().createTargetMachine();
  if (!machine)
    return llvm::createStringError("cannot generate code for '" + options.mcpu +
                                   "'");
  if (llvm::Error error = dump(
          "model.ll", [&](llvm::raw_ostream &os) { code.print(os, nullptr); }))
    return error;
  if (options.emit == Emit::LLVM)
    return emitText([&](llvm::raw_ostream &os) { code.print(os, nullptr); });
  auto generate = [&](cpu::CodeKind kind, SmallVectorImpl<char> &bytes) {
    llvm::raw_svector_ostream os(bytes);
    return cpu::emitCode(code, *machine, kind, os);
  };
  if (options.emit == Emit::Assembly || !options.dumpDir.empty()) {
    SmallVector<char> assembly;
    if (llvm::Error error = generate(cpu::CodeKind::Assembly, assembly))
      return error;
    auto print = [&](llvm::raw_ostream &os) {
      os.write(assembly.data(), assembly.size());
    };
    if (options.emit == Emit::Assembly)
      return emitText(print);
    if (llvm::Error error = dump("model.s", print))
      return error;
  }
  SmallVector<char> bytes;
  if (llvm::Error error = generate(cpu::CodeKind::Object, bytes))
    return error;
  auto print = [&](llvm::raw_ostream &os) {
    os.write(bytes.data(), bytes.size());
  };
  if (options.emit == Emit::Object)
    return emitText(print);
  std::string object = work->file("model.o");
  std::error_code errorCode;
  {
    llvm::raw_fd_ostream os(object, errorCode);
    if (errorCode)
      return llvm::createStringError(errorCode,
                                     "cannot write '" + object + "'");
    print(os);
    os.close();
    if (os.has_error()) {
      errorCode = os.error();
      os.clear_error();
      return llvm::createStringError(
          errorCode, "cannot write '" + object + "': " + errorCode.message());
    }
  }
  return finish(object, metadata);
}

/// Writes the bytes of `file` to the existing special file `device`.
static std::error_code copyInto(StringRef file, StringRef device) {
  int descriptor;
  if (std::error_code code =
          fs::openFileForWrite(device, descriptor, fs::CD_OpenExisting))
    return code;
  std::error_code code = fs::copy_file(file, descriptor);
  std::error_code closed =
      llvm::sys::Process::SafelyCloseFileDescriptor(descriptor);
  return code ? code : closed;
}

llvm::Error Compiler::finish(StringRef object, const std::string &metadata) {
  std::string linked = work->file("linked");
  if (llvm::Error error = cpu::link(object, options.runtime, linked,
                                    options.emit == Emit::Shared))
    return error;
  std::vector<::qc::rt::PayloadSection> sections;
  sections.push_back(
      ::qc::rt::PayloadSection::fromFile("weights", work->file("weights.bin")));
  sections.push_back(::qc::rt::PayloadSection::fromBytes("metadata", metadata));
  if (auto tokenizer = (*module)->getAttrOfType<DictionaryAttr>("lm.tokenizer"))
    if (auto file = tokenizer.getAs<StringAttr>("file"))
      sections.push_back(::qc::rt::PayloadSection::fromFile(
          "tokenizer", file.getValue().str()));
  std::string error;
  if (!::qc::rt::appendPayload(linked, sections, error))
    return llvm::createStringError(error);
  // A device or pipe is written to, never replaced.
  fs::file_status status;
  bool special = !fs::status(options.output, status) && fs::exists(status) &&
                 !fs::is_regular_file(status);
  std::error_code code = special ? copyInto(linked, options.output)
                                 : fs::rename(linked, options.output);
  if (code)
    return llvm::createStringError(code, "cannot write '" + options.output +
                                             "': " + code.message());
  return llvm::Error::success();
}

llvm::Error mlir::qc::compile(MLIRContext &context,
                              const CompileOptions &options) {
  return Compiler(context, options).run();
}
