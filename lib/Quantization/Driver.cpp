//===- Driver.cpp - Runs a quantization method on a model -----------------===//
#include "qc/Quantization/Driver.h"

#include "Progress.h"
#include "Select.h"
#include "Source.h"
#include "Store.h"
#include "qc/Frontend/Json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Threading.h"
#include "llvm/Support/xxhash.h"
#include <cmath>
#include <dlfcn.h>

using namespace mlir;
using namespace mlir::qc;
using ::qc::makeError;
using ::qc::quote;
namespace fs = llvm::sys::fs;

namespace {

/// A weight and what becomes of it.
struct Job {
  SelectedWeight selected;
  std::shared_ptr<const ::qc::Format> format;
  WeightType type; ///< the new one
};

class Driver {
public:
  Driver(ModuleOp module, const ::qc::Quantizer &method,
         const DriverOptions &options)
      : module(module), method(method), options(options),
        context(numThreads(options.threads)) {}

  LogicalResult run();

private:
  static unsigned numThreads(unsigned wanted) {
    if (wanted == 0)
      wanted = llvm::hardware_concurrency().compute_thread_count();
    return std::clamp(wanted, 1u, 256u);
  }

  LogicalResult plan();
  FailureOr<std::string> identity();
  llvm::Expected<std::string> storePath(StringRef key);
  LogicalResult process(size_t index, ::qc::Store &store, Progress &progress);
  llvm::Expected<double> quantize(const Job &job, ::qc::HostWeight &result);
  double relativeError(const Job &job, const ::qc::FloatWeight &w,
                       const ::qc::Components &views);
  void rewrite(const ::qc::Store &store);

  ModuleOp module;
  const ::qc::Quantizer &method;
  const DriverOptions &options;
  ::qc::QuantizeContext context;
  SmallVector<Job> jobs;
};

} // namespace

/// Chooses weights and formats.
LogicalResult Driver::plan() {
  FailureOr<SmallVector<SelectedWeight>> selected =
      selectWeights(module, options);
  if (failed(selected))
    return failure();
  for (SelectedWeight &entry : *selected) {
    WeightOp weight = entry.weight;
    WeightType type = weight.getWeightType();
    Job job;
    job.format = method.formatFor(type.getN(), type.getK());
    std::string invalid;
    if (!::qc::parseFormat(job.format->spelling(), invalid))
      return emitError(weight.getLoc())
             << "cannot quantize " << quote(weight.getSymName()) << ": "
             << invalid;
    if (std::optional<std::string> error =
            job.format->check(type.getN(), type.getK()))
      return emitError(weight.getLoc())
             << "cannot quantize " << quote(weight.getSymName()) << " to "
             << job.format->spelling() << ": " << *error;
    FormatAttrInterface format =
        parseFormatAttr(module.getContext(), job.format->spelling(),
                        [&] { return emitError(weight.getLoc()); });
    if (!format)
      return failure();
    job.type = WeightType::getChecked(
        [&] { return emitError(weight.getLoc()); }, module.getContext(),
        type.getShape(), format, /*packedRows=*/int64_t(0));
    if (!job.type)
      return failure();
    job.selected = std::move(entry);
    jobs.push_back(std::move(job));
  }
  return success();
}

/// Everything that the store's bytes depend on.
FailureOr<std::string> Driver::identity() {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "store 1\n" << method.name() << '\n' << method.settings() << '\n';
  // The code itself: the program, and the plugin if the method is from one.
  Dl_info info;
  const void *vtable = *reinterpret_cast<const void *const *>(&method);
  for (const char *path :
       {"/proc/self/exe", ::dladdr(vtable, &info) ? info.dli_fname : nullptr}) {
    if (!path)
      continue;
    if (llvm::Expected<std::string> program = fileIdentity(path))
      os << *program << '\n';
    else
      llvm::consumeError(program.takeError());
  }
  llvm::StringMap<std::string> files;
  for (Job &job : jobs) {
    WeightOp weight = job.selected.weight;
    ExternalAttr source = weight.getComponent(0);
    auto [entry, isNew] = files.try_emplace(source.getFile());
    if (isNew) {
      llvm::Expected<std::string> file = fileIdentity(source.getFile());
      if (!file)
        return emitError(weight.getLoc())
               << "weight " << quote(weight.getSymName()) << ": "
               << llvm::toString(file.takeError());
      entry->second = *file;
    }
    os << weight.getSymName() << ' ' << weight.getWeightType() << ' '
       << job.type << ' ' << source << ' ' << entry->second << '\n';
  }
  return llvm::utohexstr(llvm::xxh3_64bits(text), /*LowerCase=*/true, 16);
}

/// `name` with everything but letters, digits, '.', '_', '-' replaced.
static std::string fileName(StringRef name) {
  std::string result;
  for (char c : name.take_front(80))
    result += llvm::isAlnum(c) || StringRef("._-").contains(c) ? c : '_';
  return result.empty() || result.front() == '.' ? "model" + result : result;
}

llvm::Expected<std::string> Driver::storePath(StringRef key) {
  StringRef model = module.getSymName().value_or("model");
  if (auto config = module->getAttrOfType<DictionaryAttr>("lm.config"))
    if (auto name = config.getAs<StringAttr>("name"))
      model = name.getValue();
  SmallString<256> path(options.outputDir);
  if (std::error_code code = fs::make_absolute(path))
    return makeError("cannot resolve ", quote(path), ": ", code.message());
  if (std::error_code code = fs::create_directories(
          path, /*IgnoreExisting=*/true, fs::perms::all_all))
    return makeError("cannot create folder ", quote(path), ": ",
                     code.message());
  llvm::sys::path::append(path, fileName(model) + "-" +
                                    fileName(method.name()) + "-" + key +
                                    ".safetensors");
  return std::string(path);
}

/// ||W - Wq||_F / ||W||_F. Rows are summed in order: the same for any number of
/// threads.
double Driver::relativeError(const Job &job, const ::qc::FloatWeight &w,
                             const ::qc::Components &views) {
  std::vector<double> errors(static_cast<size_t>(w.n)), norms(errors);
  context.forRows(w.n, [&](int64_t begin, int64_t end) {
    std::vector<double> decoded(static_cast<size_t>(w.k));
    for (int64_t row = begin; row < end; ++row) {
      job.format->decodeRow(views, w.n, w.k, row, decoded.data());
      double error = 0, norm = 0;
      // Four sums of each, so that compilers make vectors of it.
      constexpr int64_t lanes = 4;
      double errorOf[lanes] = {}, normOf[lanes] = {};
      const float *values = w.row(row);
      auto add = [&](int64_t i, int64_t j) {
        double value = values[i + j];
        double difference = value - decoded[static_cast<size_t>(i + j)];
        errorOf[j] += difference * difference;
        normOf[j] += value * value;
      };
      int64_t whole = w.k / lanes * lanes;
      for (int64_t i = 0; i < whole; i += lanes)
        for (int64_t j = 0; j < lanes; ++j)
          add(i, j);
      for (int64_t j = 0; j < w.k - whole; ++j)
        add(whole, j);
      for (int64_t j = 0; j < lanes; ++j) {
        error += errorOf[j];
        norm += normOf[j];
      }
      errors[static_cast<size_t>(row)] = error;
      norms[static_cast<size_t>(row)] = norm;
    }
  });
  double error = 0, norm = 0;
  for (size_t row = 0; row < errors.size(); ++row) {
    error += errors[row];
    norm += norms[row];
  }
  return norm == 0 ? 0 : std::sqrt(error / norm);
}

llvm::Expected<double> Driver::quantize(const Job &job,
                                        ::qc::HostWeight &result) {
  llvm::Expected<SourceWeight> source =
      SourceWeight::read(job.selected.weight, context);
  if (!source)
    return source.takeError();
  const ::qc::FloatWeight &w = source->floats();
  if (std::optional<std::string> error =
          method.quantize(w, *job.format, context, result))
    return makeError(*error);
  ::qc::Components views = result.views();
  std::optional<std::string> error =
      job.format->checkComponents(views, w.n, w.k);
  if (!error)
    error = job.format->checkValues(views, w.n, w.k);
  if (error)
    return makeError("method ", method.name(), " gave a result that is not ",
                     job.format->spelling(), ": ", *error);
  return relativeError(job, w, views);
}

LogicalResult Driver::process(size_t index, ::qc::Store &store,
                              Progress &progress) {
  const Job &job = jobs[index];
  WeightOp weight = job.selected.weight;
  auto fail = [&](llvm::Error error) {
    return emitError(weight.getLoc())
           << "weight " << quote(weight.getSymName()) << ": "
           << llvm::toString(std::move(error));
  };
  int64_t size = job.type.getNumElements();
  llvm::Expected<std::optional<double>> previous = store.takeOver(index);
  if (!previous)
    return fail(previous.takeError());
  if (*previous) {
    progress.finish(weight.getSymName(), size, **previous, /*resumed=*/true);
    return success();
  }
  ::qc::HostWeight result;
  llvm::Expected<double> error = quantize(job, result);
  if (!error)
    return fail(error.takeError());
  if (llvm::Error failed = store.write(index, result, *error))
    return fail(std::move(failed));
  progress.finish(weight.getSymName(), size, *error, /*resumed=*/false);
  return success();
}

static std::string decimal(const char *format, double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format(format, value);
  return text;
}

/// Points the module to the store.
void Driver::rewrite(const ::qc::Store &store) {
  Builder builder(module.getContext());
  for (auto [index, job] : llvm::enumerate(jobs)) {
    SmallVector<Attribute> components;
    size_t count = job.type.getComponentBytes().size();
    for (size_t i = 0; i < count; ++i) {
      const ::qc::SafetensorsTensor &tensor = store.component(index, i);
      components.push_back(ExternalAttr::get(builder.getContext(), store.path(),
                                             tensor.offset, tensor.bytes));
    }
    WeightOp weight = job.selected.weight;
    weight.setTypeAttr(TypeAttr::get(job.type));
    weight.setComponentsAttr(builder.getArrayAttr(components));
    // Four digits tell everything and keep the IR readable.
    double error = store.error(index), rounded = error;
    std::string digits = decimal("%.4g", error);
    if (!StringRef(digits).getAsDouble(rounded))
      weight->setAttr("qc.error", builder.getF64FloatAttr(rounded));
    for (GetWeightOp reference : job.selected.references)
      reference.getResult().setType(job.type);
    if (options.report)
      emitRemark(weight.getLoc())
          << "quantized to " << job.format->spelling() << ", "
          << decimal("%.3f", job.format->bitsPerWeight(job.type.getN(),
                                                       job.type.getK()))
          << " bits per weight, relative error " << digits;
  }
}

LogicalResult Driver::run() {
  if (method.statistics() != ::qc::Statistics::None)
    return emitError(module.getLoc())
           << "method " << method.name()
           << " needs calibration statistics, and the "
              "module has none";
  if (failed(plan()))
    return failure();
  if (jobs.empty())
    return success();
  FailureOr<std::string> key = identity();
  if (failed(key))
    return failure();
  llvm::Expected<std::string> path = storePath(*key);
  if (!path)
    return emitError(module.getLoc()) << llvm::toString(path.takeError());
  std::vector<::qc::StoredWeight> weights;
  int64_t elements = 0;
  for (Job &job : jobs) {
    weights.push_back(
        {job.selected.weight.getSymName().str(),
         job.format->components(job.type.getN(), job.type.getK())});
    elements += job.type.getNumElements();
  }
  auto store = ::qc::Store::open(*path, *key, std::move(weights));
  if (!store)
    return emitError(module.getLoc()) << llvm::toString(store.takeError());
  if (!(*store)->isComplete()) {
    Progress progress(method.name(), jobs.size(), elements, options.verbose);
    for (size_t i = 0; i < jobs.size(); ++i)
      if (failed(process(i, **store, progress)))
        return failure();
    if (llvm::Error error = (*store)->commit())
      return emitError(module.getLoc()) << llvm::toString(std::move(error));
  }
  rewrite(**store);
  return success();
}

LogicalResult mlir::qc::quantizeWeights(ModuleOp module,
                                        const ::qc::Quantizer &method,
                                        const DriverOptions &options) {
  return Driver(module, method, options).run();
}
