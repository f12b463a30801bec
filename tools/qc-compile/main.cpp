//===- qc-compile - Compiles a model to a standalone executable -----------===//
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "qc/Pipelines/Compile.h"
#include "qc/Target/CPU/KernelTuning.h"
#include "qc/Target/CPU/Tuning/KernelJIT.h"
#include "qc/Target/SPIRV/CooperativeMatrix.h"
#include "qc/Tools/Register.h"
#include "llvm/BinaryFormat/Magic.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include <csignal>
#include <limits>

using namespace mlir;
using namespace mlir::qc;
namespace cl = llvm::cl;

static cl::OptionCategory category("qc-compile options");

static int fail(const llvm::Twine &message) {
  llvm::errs() << "qc-compile: error: " << message << "\n";
  return 1;
}

namespace {
/// As LLVM's, which prints messages of another form, to stderr at once.
template <typename Number>
struct NumberParser : cl::parser<Number> {
  using cl::parser<Number>::parser;
  bool parse(cl::Option &, StringRef name, StringRef text, Number &number) {
    if (!text.getAsInteger(0, number))
      return false;
    constexpr bool isSigned = std::is_signed_v<Number>;
    fail("--" + name + "=" + text + ": expected a " +
         (isSigned ? std::string("whole number")
                   : "number from 0 to " +
                         std::to_string(std::numeric_limits<Number>::max())));
    return true;
  }
};
struct EmitParser : cl::parser<Emit> {
  using cl::parser<Emit>::parser;
  bool parse(cl::Option &, StringRef name, StringRef text, Emit &emit) {
    for (const OptionInfo &value : Values)
      if (value.Name == text) {
        emit = value.V.getValue();
        return false;
      }
    std::string names;
    for (const OptionInfo &value : Values)
      names += (names.empty()              ? ""
                : &value == &Values.back() ? " or "
                                           : ", ") +
               value.Name.str();
    fail("--" + name + "=" + text + ": expected " + names);
    return true;
  }
};
} // namespace

// LLVM's parser of long is final.
using Count = cl::opt<long long, false, NumberParser<long long>>;

static cl::opt<std::string> input(cl::Positional, cl::Required,
                                  cl::desc("<model folder or .mlir>"),
                                  cl::cat(category));
static cl::opt<std::string> output("o", cl::desc("Output file ('-': stdout)"),
                                   cl::value_desc("file"), cl::cat(category));
static cl::opt<std::string> quantize(
    "quantize",
    cl::desc("Weights: int4_sym, int4_asym, int8, nf4, e8p or none (default: "
             "int4_sym "
             "for a folder, none for IR); embeddings and head are int8"),
    cl::value_desc("recipe"), cl::cat(category));
static Count
    groupSize("group-size",
              cl::desc("Inputs that share a scale; -1: one scale a row "
                       "(default: 128 or 64)"),
              cl::init(0), cl::cat(category));
static cl::opt<std::string> mcpu(
    "mcpu",
    cl::desc("CPU: native, x86-64-v2, x86-64-v3, x86-64-v4, "
             "x86-64-v4-vnni, x86-64-v4-vbmi, x86-64-multi (code for all of "
             "them), x86-64-v4-amx or an LLVM name"),
    cl::init("native"), cl::cat(category));
static cl::opt<std::string> target(
    "target",
    cl::desc("Target: cpu, spirv (a GPU over Vulkan), nvptx (an NVIDIA GPU "
             "over CUDA), cpu,spirv or cpu,nvptx (see --gpu-layers)"),
    cl::init("cpu"), cl::cat(category));
static cl::opt<std::string> gpuArch(
    "gpu-arch",
    cl::desc("NVIDIA architectures, as sm_80,sm_90: PTX for the oldest of them "
             "and, where ptxas is found, machine code for each (default: PTX "
             "for sm_75 and newer)"),
    cl::value_desc("list"), cl::cat(category));
static cl::opt<std::string> cooperativeMatrices(
    "cooperative-matrices",
    cl::desc("Vulkan's cooperative matrices of signed bytes that there are "
             "kernels for, as MxNxK/SUBGROUP; none: no such kernels"),
    cl::value_desc("list"),
    cl::init(mlir::qc::spirv::defaultCooperativeMatrices.str()),
    cl::cat(category));
static cl::opt<std::string>
    ptxas("ptxas",
          cl::desc("The CUDA toolkit's assembler (default: on PATH, in "
                   "$CUDA_PATH/bin or /usr/local/cuda/bin)"),
          cl::value_desc("program"), cl::cat(category));
static cl::opt<Emit, false, EmitParser> emit(
    "emit", cl::desc("What to write"), cl::init(Emit::Executable),
    cl::values(clEnumValN(Emit::Executable, "exe", "standalone executable"),
               clEnumValN(Emit::Shared, "shared", "shared object with C API"),
               clEnumValN(Emit::Object, "object", "object file, code only"),
               clEnumValN(Emit::LLVM, "llvm", "LLVM IR"),
               clEnumValN(Emit::Assembly, "asm", "assembly"),
               clEnumValN(Emit::MLIR, "mlir", "MLIR, lowered"),
               clEnumValN(Emit::SPIRV, "spirv", "SPIR-V binary"),
               clEnumValN(Emit::SPIRVText, "spirv-text", "SPIR-V as text"),
               clEnumValN(Emit::PTX, "ptx", "PTX, NVIDIA's assembly"),
               clEnumValN(Emit::Cubin, "cubin",
                          "machine code for one --gpu-arch (needs ptxas)")),
    cl::cat(category));
static cl::opt<std::string> compileTo(
    "compile-to",
    cl::desc("Stop after a phase and print IR: import, quantize, fuse, pack, "
             "kernels, llvm (cpu), spirv or nvvm (nvptx)"),
    cl::value_desc("phase"), cl::cat(category));
static cl::opt<std::string>
    dumpDir("dump-dir",
            cl::desc("Write the IR after each phase and the code here"),
            cl::value_desc("folder"), cl::cat(category));
static Count
    gpuLayers("gpu-layers",
              cl::desc("With --target=cpu,spirv or cpu,nvptx: last layers that "
                       "run on the GPU"),
              cl::init(-1), cl::cat(category));
static cl::opt<std::string>
    kvCache("kv-cache", cl::desc("KV cache elements: auto, f32, f16 or i8"),
            cl::init("auto"), cl::cat(category));
static cl::opt<std::string> activations(
    "activations",
    cl::desc("Arithmetic: auto, f32, int8 (of integer formats) or bf16 "
             "(of weights in bf16, on CPUs that have it)"),
    cl::init("auto"), cl::cat(category));
static cl::opt<bool> reproducible(
    "reproducible",
    cl::desc("Compute the same bits on every target, CPU and number of "
             "threads (slower)"),
    cl::cat(category));
static cl::opt<std::string> prefillBackend(
    "prefill-backend",
    cl::desc("Products of prompts with f32 weights: generated, or onednn where "
             "the machine that runs it has libdnnl"),
    cl::init("generated"), cl::cat(category));
static Count maxTokens("max-tokens",
                       cl::desc("Most tokens of one prefill step"),
                       cl::init(128), cl::cat(category));
static cl::opt<unsigned, false, NumberParser<unsigned>>
    threads("jobs", cl::desc("Threads (default: all cores)"), cl::init(0),
            cl::cat(category));
static cl::opt<std::string> runtime("runtime",
                                    cl::desc("Runtime archive to link"),
                                    cl::value_desc("libqcrt.a"),
                                    cl::cat(category));

static cl::opt<bool>
    tune("tune",
         cl::desc("Measure kernels on this machine and remember what is better "
                  "than the default"),
         cl::cat(category));
static Count tuneSeconds("tune-seconds", cl::desc("Time that --tune may take"),
                         cl::init(60), cl::cat(category));
static cl::opt<bool> noTuning("no-tuning",
                              cl::desc("Ignore what --tune remembered"),
                              cl::cat(category));
static cl::opt<std::string>
    tuning("tuning",
           cl::desc("Constants of kernels instead of the remembered: "
                    "token-tile=8,strip=256,prefetch=8,sums=4,"
                    "score-registers=16"),
           cl::value_desc("constants"), cl::cat(category));

/// libqcrt.a beside the tool, as built or installed.
static std::string findRuntime(const char *argv0) {
  static int anchor;
  SmallString<128> path(llvm::sys::fs::getMainExecutable(argv0, &anchor));
  llvm::sys::path::remove_filename(path);
  llvm::sys::path::append(path, "..", "lib", "qc", "libqcrt.a");
  return std::string(path);
}

int main(int argc, char **argv) {
  // LLVM's handlers forget that a shell's background jobs ignore signals.
  SmallVector<int> ignored;
  for (int signal : {SIGHUP, SIGINT, SIGTERM}) {
    struct sigaction old = {};
    if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler == SIG_IGN)
      ignored.push_back(signal);
  }
  llvm::InitLLVM init(argc, argv);
  for (int signal : ignored)
    std::signal(signal, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN); // a size limit is an error, not a death
  registerPassManagerCLOptions();
  cl::HideUnrelatedOptions(category);
  std::string parseErrors;
  llvm::raw_string_ostream parseStream(parseErrors);
  if (!cl::ParseCommandLineOptions(
          argc, argv,
          "Compiles a model folder to one executable.\n\n"
          "  qc-compile examples/stories260K -o story\n"
          "  ./story --prompt \"Once upon a time\" --tokens 200\n",
          &parseStream)) {
    // Empty: the option has said it.
    StringRef message = StringRef(parseErrors).ltrim().split('\n').first;
    message.consume_front(llvm::sys::path::filename(argv[0]));
    message.consume_front(": ");
    if (!message.empty())
      fail(message);
    return 2;
  }
  auto oneOf = [](StringRef value, std::initializer_list<StringRef> known) {
    return llvm::is_contained(known, value);
  };
  auto usage = [&](StringRef option, StringRef value, StringRef expected) {
    fail("--" + option + "=" + value + ": expected " + expected);
    return 2;
  };
  if (!oneOf(target, {"cpu", "spirv", "nvptx", "cpu,spirv", "cpu,nvptx"}))
    return usage("target", target, "cpu, spirv, nvptx, cpu,spirv or cpu,nvptx");
  auto [firstTarget, secondTarget] = StringRef(target).split(',');
  StringRef device = secondTarget.empty() ? firstTarget : secondTarget;
  if (!secondTarget.empty() && gpuLayers < 0)
    return fail("--target=" + target +
                " needs the number of last layers on the GPU, as "
                "--gpu-layers=8"),
           2;
  if (secondTarget.empty() && gpuLayers.getNumOccurrences())
    return fail("--gpu-layers is for --target=cpu,spirv and cpu,nvptx"), 2;
  bool spirvCode = emit == Emit::SPIRV || emit == Emit::SPIRVText;
  if (spirvCode && device != "spirv")
    return fail("--emit=spirv needs --target=spirv"), 2;
  bool cudaCode = emit == Emit::PTX || emit == Emit::Cubin;
  if (cudaCode && device != "nvptx")
    return fail("--emit=ptx and cubin need --target=nvptx"), 2;
  if (emit == Emit::Cubin && gpuArch.empty())
    return fail("--emit=cubin needs --gpu-arch, as --gpu-arch=sm_90"), 2;
  if (device != "nvptx" && !(gpuArch.empty() && ptxas.empty()))
    return fail("--gpu-arch and --ptxas are for --target=nvptx"), 2;
  if (device != "spirv" && cooperativeMatrices.getNumOccurrences())
    return fail("--cooperative-matrices is for --target=spirv"), 2;
  if (device != "cpu" && (emit == Emit::LLVM || emit == Emit::Assembly))
    return fail("--target=" + target +
                " has no machine code of a CPU to print: expected --emit=" +
                (device == "spirv" ? "spirv or spirv-text" : "ptx or cubin")),
           2;
  if (!oneOf(quantize,
             {"", "int4_sym", "int4_asym", "int8", "nf4", "e8p", "none"}))
    return usage("quantize", quantize,
                 "int4_sym, int4_asym, int8, nf4, e8p or none");
  if (!oneOf(kvCache, {"auto", "f32", "f16", "i8"}))
    return usage("kv-cache", kvCache, "auto, f32, f16 or i8");
  if (!oneOf(activations, {"auto", "f32", "int8", "bf16"}))
    return usage("activations", activations, "auto, f32, int8 or bf16");
  if (activations == "bf16" && reproducible)
    return fail("--reproducible: --activations=bf16 is for CPUs that have it, "
                "expected auto, f32 or int8"),
           2;
  if (activations == "bf16" && device != "cpu")
    return fail("--activations=bf16 is for --target=cpu"), 2;
  if (!oneOf(prefillBackend, {"generated", "onednn"}))
    return usage("prefill-backend", prefillBackend, "generated or onednn");
  if (prefillBackend == "onednn") {
#ifndef QC_HAS_ONEDNN
    return fail("--prefill-backend=onednn: this qc was built without oneDNN 2 "
                "(libdnnl-dev)"),
           2;
#endif
    if (device != "cpu")
      return fail("--prefill-backend=onednn is for --target=cpu"), 2;
    if (reproducible)
      return fail("--reproducible: --prefill-backend=onednn sums in another "
                  "order, expected generated"),
             2;
    if (maxTokens < 128)
      return fail("--prefill-backend=onednn is for steps of 128 tokens: "
                  "expected --max-tokens of 128 or more"),
             2;
  }
  if (groupSize < -1)
    return usage("group-size", std::to_string(groupSize),
                 "a positive number or -1");
  if (groupSize.getNumOccurrences() &&
      (quantize == "none" ||
       (quantize.empty() && llvm::sys::fs::is_regular_file(input))))
    return fail("--group-size is for quantization: --quantize is none"), 2;
  if (maxTokens < 1 || maxTokens > 65536)
    return usage("max-tokens", std::to_string(maxTokens), "1 to 65536");

  if (tuneSeconds < 1 || tuneSeconds > 3600)
    return usage("tune-seconds", std::to_string(tuneSeconds), "1 to 3600");
  if (tuneSeconds.getNumOccurrences() && !tune)
    return fail("--tune-seconds is for --tune"), 2;
  if (tune && (noTuning || !tuning.empty()))
    return fail("--tune excludes --no-tuning and --tuning"), 2;
  if (tune && !oneOf(compileTo, {"", "kernels", "llvm"}))
    return fail("--tune: kernels come after --compile-to=" + compileTo), 2;
  if (firstTarget != "cpu" && (tune || !tuning.empty()))
    return fail("--tune and --tuning are for --target=cpu"), 2;
  // An unknown CPU is compile()'s to report.
  llvm::Expected<std::vector<cpu::CPU>> cpus = cpu::CPU::list(mcpu);
  if (!cpus) {
    llvm::consumeError(cpus.takeError());
  } else {
    if (tune && cpus->size() > 1)
      return fail("--tune: --mcpu=" + mcpu +
                  " is for several CPUs, expected the one of this machine"),
             2;
    if (tune && !cpu::runsHere(cpus->front()))
      return fail("--tune: this machine cannot run kernels for --mcpu=" + mcpu),
             2;
    auto table = cpu::TuningTable::parse(tuning, cpus->front().vectors);
    if (!table)
      return fail("--tuning: " + llvm::toString(table.takeError())), 2;
  }

  CompileOptions options;
  options.input = input;
  options.output = output;
  options.quantize = quantize;
  options.target = device.str();
  options.gpuLayers = gpuLayers;
  options.gpuArch = gpuArch;
  options.cooperativeMatrices = cooperativeMatrices;
  options.ptxas = ptxas;
  options.groupSize = groupSize;
  options.mcpu = mcpu;
  options.emit = emit;
  options.compileTo = compileTo;
  options.dumpDir = dumpDir;
  options.kvCache = kvCache;
  options.activations = activations;
  options.maxTokens = maxTokens;
  options.reproducible = reproducible;
  options.prefillBackend = prefillBackend;
  options.threads = threads;
  options.tuning = tuning;
  options.remembered = !noTuning;
  options.tune = tune;
  options.tuneSeconds = tuneSeconds;
  options.runtime = runtime.empty() ? findRuntime(argv[0]) : runtime;
  bool text = !compileTo.empty() || emit == Emit::LLVM ||
              emit == Emit::Assembly || emit == Emit::MLIR || spirvCode ||
              cudaCode;
  if (options.output.empty() && !text)
    return fail("no output file: expected -o FILE"), 2;
  if (options.output.empty())
    options.output = "-";
  if (options.output == "-" && !text)
    return fail("-o -: only text goes to stdout"), 2;
  if (!text && emit != Emit::Object && !llvm::sys::fs::exists(options.runtime))
    return fail("runtime archive '" + options.runtime +
                "' not found: build target qcrt or pass --runtime");
  llvm::file_magic magic;
  if (!text && emit != Emit::Object &&
      (llvm::identify_magic(options.runtime, magic) ||
       magic != llvm::file_magic::archive))
    return fail("--runtime='" + options.runtime +
                "': is not an archive, expected libqcrt.a");

  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  // One line for the first error; what follows from it helps nobody.
  bool reported = false;
  context.getDiagEngine().registerHandler([&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Warning && !reported)
      llvm::errs() << "qc-compile: warning: " << diagnostic << "\n";
    if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
      return success();
    if (!reported) {
      std::string where;
      if (auto loc = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
        where =
            (loc.getFilename().getValue() + ":" + llvm::Twine(loc.getLine()) +
             ":" + llvm::Twine(loc.getColumn()) + ": ")
                .str();
      fail(where + diagnostic.str());
    }
    reported = true;
    return success();
  });
  if (llvm::Error error = compile(context, options)) {
    std::string message = llvm::toString(std::move(error));
    if (!message.empty() && !reported)
      fail(message);
    else if (!reported)
      fail("compilation failed");
    return 1;
  }
  return 0;
}
