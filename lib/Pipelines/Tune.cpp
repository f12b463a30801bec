//===- Tune.cpp - The constants that a model's kernels get ----------------===//
#include "Tune.h"

#include "qc/Pipelines/TuningFile.h"
#include "qc/Target/CPU/KernelTuning.h"
#include "qc/Target/CPU/Tuning/Measure.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Process.h"
#include <thread>

using namespace mlir;
using namespace mlir::qc;

namespace {

/// Weights of one format and arithmetic.
struct Kind {
  std::string key, format;
  Arithmetic arithmetic = Arithmetic::F32;
  int64_t rows = 0, bytes = 0;
  llvm::MapVector<std::pair<int64_t, int64_t>, int64_t> bytesOfShape;
};

/// Lines on stderr; what happens next on terminals only.
class Lines : public cpu::TuneListener {
public:
  ~Lines() override { wipe(); }
  void decided(StringRef line) override {
    wipe();
    llvm::errs() << "tune: " << line << "\n";
  }
  void progress(StringRef line) override {
    if (!terminal)
      return;
    wipe();
    llvm::errs() << "tune: " << line;
    shown = true;
  }

private:
  void wipe() {
    if (shown)
      llvm::errs() << "\r\033[K";
    shown = false;
  }
  bool terminal = llvm::sys::Process::StandardErrIsDisplayed(), shown = false;
};

} // namespace

static void warn(const llvm::Twine &message) {
  llvm::errs() << "qc-compile: warning: " << message << "\n";
}

/// What the module multiplies with, most bytes first.
static SmallVector<Kind> collectKinds(ModuleOp module) {
  llvm::DenseMap<Type, Arithmetic> arithmetics;
  module.walk([&](MatmulOp op) {
    for (Value weight : op.getWeights())
      arithmetics[weight.getType()] =
          op.getArithmetic().value_or(Arithmetic::F32);
  });
  llvm::MapVector<StringRef, Kind> kinds;
  llvm::StringSet<> keys;
  for (auto weight : module.getOps<WeightOp>()) {
    WeightType type = weight.getWeightType();
    auto it = arithmetics.find(type);
    if (it == arithmetics.end())
      continue;
    std::string key = cpu::TuningTable::key(type, it->second);
    Kind &kind = kinds[keys.insert(key).first->getKey()];
    kind.key = key;
    kind.format = formatSpelling(type.getFormat());
    kind.arithmetic = it->second;
    kind.rows = type.getPackedRows();
    int64_t bytes = weight.getComponent(0).getLength();
    kind.bytes += bytes;
    kind.bytesOfShape[{type.getN(), type.getK()}] += bytes;
  }
  SmallVector<Kind> list;
  for (auto &[key, kind] : kinds)
    list.push_back(std::move(kind));
  llvm::stable_sort(
      list, [](const Kind &a, const Kind &b) { return a.bytes > b.bytes; });
  return list;
}

/// The shape with most bytes, and of those with a tenth of the bytes the one
/// with most inputs.
static void chooseShapes(const Kind &kind, cpu::TuneRequest &request) {
  int64_t most = 0;
  for (auto [shape, bytes] : kind.bytesOfShape) {
    if (bytes > most)
      request.main = {shape.first, shape.second};
    most = std::max(most, bytes);
    if (10 * bytes >= kind.bytes && shape.second > request.widest.k)
      request.widest = {shape.first, shape.second};
  }
  if (request.widest.k < request.main.k)
    request.widest = request.main;
}

static TuningKey keyOf(const Kind &kind, const CompileOptions &options,
                       const std::string &model) {
  return {model, options.mcpu, kind.key, QC_VERSION};
}

/// Measures the kinds that hold most bytes, each as long as its share allows.
static llvm::Error measure(ArrayRef<Kind> kinds, const CompileOptions &options,
                           const std::string &model, const std::string &path,
                           TuningFile &file) {
  constexpr size_t mostKinds = 3;
  int64_t total = 0;
  for (const Kind &kind : kinds)
    total += kind.bytes;
  SmallVector<const Kind *> chosen;
  for (const Kind &kind : kinds)
    if (chosen.size() < mostKinds && 10 * kind.bytes >= total)
      chosen.push_back(&kind);
  if (chosen.empty())
    warn("--tune: the model multiplies with no weights");
  Lines lines;
  bool remembers = false;
  for (const Kind *kind : chosen) {
    cpu::TuneRequest request;
    request.format = kind->format;
    request.mcpu = options.mcpu;
    request.arithmetic = kind->arithmetic;
    request.rows = kind->rows;
    chooseShapes(*kind, request);
    request.maxTokens = options.maxTokens;
    // More threads than this only take longer.
    request.threads = std::clamp<unsigned>(
        options.threads ? options.threads : std::thread::hardware_concurrency(),
        1, 8);
    request.seconds = static_cast<double>(options.tuneSeconds) /
                      static_cast<double>(chosen.size());
    llvm::Expected<cpu::TuneResult> result = cpu::measureTuning(request, lines);
    if (!result)
      return result.takeError();
    if (!result->measured)
      continue;
    RememberedTuning tuning{result->tuning, {}};
    for (const auto &figure : result->figures)
      tuning.speedups.push_back({figure.tokens, figure.before / figure.after});
    file.remember(keyOf(*kind, options, model), std::move(tuning));
    remembers = true;
  }
  if (!remembers)
    return llvm::Error::success();
  if (path.empty()) {
    warn("cannot remember what --tune found: neither XDG_CACHE_HOME nor HOME "
         "names a folder");
    return llvm::Error::success();
  }
  if (llvm::Error error = file.save(path))
    warn(llvm::toString(std::move(error)));
  return llvm::Error::success();
}

llvm::Expected<std::string>
mlir::qc::chooseTuning(ModuleOp module, const CompileOptions &options) {
  Builder b(module.getContext());
  auto describe = [&](const std::string &text, StringRef machine) {
    NamedAttrList attrs;
    attrs.set("kernels", b.getStringAttr(text));
    if (!machine.empty())
      attrs.set("measured_on", b.getStringAttr(machine));
    module->setAttr("qc.tuning", attrs.getDictionary(b.getContext()));
  };
  if (!options.tuning.empty()) {
    describe(options.tuning, "");
    return options.tuning;
  }
  if (!options.remembered)
    return std::string();
  SmallVector<Kind> kinds = collectKinds(module);
  std::string path = TuningFile::defaultPath(), model = cpuModel();
  TuningFile file;
  if (!path.empty()) {
    llvm::Expected<TuningFile> loaded = TuningFile::load(path);
    if (loaded)
      file = std::move(*loaded);
    else
      warn(llvm::toString(loaded.takeError()) + "; ignored");
  }
  if (options.tune)
    if (llvm::Error error = measure(kinds, options, model, path, file))
      return error;
  std::string text;
  for (const Kind &kind : kinds)
    if (const auto *found = file.find(keyOf(kind, options, model)))
      if (!found->tuning.empty())
        text += (text.empty() ? "" : "; ") + kind.key + ": " + found->tuning;
  if (!text.empty())
    describe(text, model);
  return text;
}
