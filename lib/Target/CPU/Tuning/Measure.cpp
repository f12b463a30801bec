//===- Measure.cpp - Tuning of kernels by measurement ---------------------===//
//
// One constant after the other: the values are compiled, then run in turns,
// forth and back, for as long as the time allows; the shortest turn of each
// counts, since disturbances only add time. A value replaces the present one if
// some number of tokens gains `gain` and none loses `loss`, in the even rounds
// and in the odd ones: what both agree on is no accident. Last, all that was
// chosen is compared with the cost model again.
//
//===----------------------------------------------------------------------===//
#include "qc/Target/CPU/Tuning/Measure.h"

#include "qc/Target/CPU/KernelTuning.h"
#include "qc/Target/CPU/Tuning/KernelJIT.h"
#include "qc/Target/CPU/Tuning/Memory.h"
#include "llvm/Support/FormatVariadic.h"

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <unistd.h>

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

using Clock = std::chrono::steady_clock;

namespace {

/// A time counts as better or worse from these factors on. On shared machines
/// shortest turns of one kernel differ by 1 to 2 %.
constexpr double gain = 1.03, loss = 1.015;
/// Length of a turn: shorter than most disturbances, longer than the clock's
/// and the barrier's part.
constexpr double turnSeconds = 3e-3;

struct Free {
  void operator()(void *p) const { std::free(p); }
};

/// Copies of one packed weight behind each other, more than all caches hold.
struct WeightCopies {
  std::unique_ptr<uint8_t, Free> bytes;
  int64_t stride = 0, count = 0;
  const uint8_t *operator[](int64_t i) const {
    return bytes.get() + i * stride;
  }
};

/// One constant and its values besides the present one.
struct Stage {
  StringRef constant;
  std::vector<int64_t> values;
  std::vector<int64_t> tokens;
  bool widest = false;
};

class Measurement {
public:
  Measurement(const TuneRequest &request, TuneListener &listener)
      : request(request), listener(listener),
        end(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(request.seconds))),
        name(request.format + "/" +
             stringifyArithmetic(request.arithmetic).str()) {}

  llvm::Expected<TuneResult> run();

private:
  /// [kernel][tokens], seconds of the shortest turn.
  using Times = std::vector<std::vector<double>>;
  /// Of even and of odd rounds.
  struct Halves {
    Times half[2];
    double time(size_t kernel, size_t t) const {
      return std::min(half[0][kernel][t], half[1][kernel][t]);
    }
    double improvement(size_t kernel) const;
    bool agree() const;
  };

  Shape limited(Shape shape) const;
  llvm::Error useShape(Shape wanted);
  llvm::Expected<KernelJIT *> compile(const KernelTuning &tuning);
  llvm::Error decide(const Stage &stage, KernelTuning &tuning,
                     int64_t stagesLeft);
  llvm::Error confirm(KernelTuning &tuning, TuneResult &result);
  llvm::Expected<Halves> time(ArrayRef<KernelTuning> tunings,
                              ArrayRef<int64_t> tokens, int64_t stagesLeft);
  double left() const {
    return std::chrono::duration<double>(end - Clock::now()).count();
  }

  const TuneRequest &request;
  TuneListener &listener;
  Clock::time_point end;
  std::string name;
  KernelTuning model; ///< the cost model's
  Shape shape;
  WeightCopies weight;
  std::map<std::string, std::unique_ptr<KernelJIT>> kernels; ///< of `shape`
  bool measured = false;
};

} // namespace

/// What weights must exceed so that none of them comes from a cache.
static int64_t cacheBytes() {
  int64_t last = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
  last = std::max<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE),
                           sysconf(_SC_LEVEL2_CACHE_SIZE));
#endif
  // A virtual machine may not tell, or share the cache with others.
  return std::clamp<int64_t>(last + last / 4, 96 << 20, 640 << 20);
}

/// Fewer rows of the same inputs: a call should not take longer than needed.
Shape Measurement::limited(Shape wanted) const {
  constexpr int64_t elements = 12 << 20;
  int64_t rows = std::max<int64_t>(1, elements / wanted.k / request.rows);
  return {std::min(wanted.n, rows * request.rows), wanted.k};
}

llvm::Error Measurement::useShape(Shape wanted) {
  wanted = limited(wanted);
  if (wanted.n == shape.n && wanted.k == shape.k)
    return llvm::Error::success();
  listener.progress(name + ": random weights");
  shape = wanted;
  kernels.clear();
  weight.bytes.reset();
  std::string why;
  auto format = ::qc::parseFormat(request.format, why);
  if (!format)
    return llvm::createStringError(why);
  ::qc::PackedLayout layout =
      format->packedLayout(shape.n, shape.k, request.rows);
  weight.stride = llvm::alignTo(layout.totalBytes(), 64);
  weight.count =
      std::max<int64_t>(cacheBytes() / weight.stride + 1, 2 * request.threads);
  // Kernels prefetch past the end.
  weight.bytes.reset(
      static_cast<uint8_t *>(allocateHugePages(weight.stride * weight.count)));
  if (!weight.bytes)
    return llvm::createStringError("--tune: out of memory");
  ::qc::HostWeight host;
  host.n = shape.n;
  host.k = shape.k;
  host.components = randomComponents(*format, shape.n, shape.k);
  std::memset(weight.bytes.get(), 0, weight.stride);
  format->pack(host.views(), layout, weight.bytes.get());
  for (int64_t i = 1; i < weight.count; ++i)
    std::memcpy(weight.bytes.get() + i * weight.stride, weight.bytes.get(),
                weight.stride);
  return llvm::Error::success();
}

llvm::Expected<KernelJIT *> Measurement::compile(const KernelTuning &tuning) {
  std::string text = tuning.difference(model);
  std::unique_ptr<KernelJIT> &kernel = kernels[text];
  if (!kernel) {
    listener.progress(name + ": compiling " +
                      (text.empty() ? "the default" : text));
    std::string error;
    kernel =
        KernelJIT::create(request.format, shape.n, shape.k, request.arithmetic,
                          request.mcpu, error, request.rows, text);
    if (!kernel)
      return llvm::createStringError("--tune: " + error);
  }
  return kernel.get();
}

llvm::Expected<Measurement::Halves>
Measurement::time(ArrayRef<KernelTuning> tunings, ArrayRef<int64_t> tokens,
                  int64_t stagesLeft) {
  std::vector<KernelJIT *> compiled;
  for (const KernelTuning &tuning : tunings) {
    llvm::Expected<KernelJIT *> kernel = compile(tuning);
    if (!kernel)
      return kernel.takeError();
    compiled.push_back(*kernel);
  }
  listener.progress(name + ": measuring");
  // Half of the rest goes to compilations.
  double seconds =
      std::clamp(left() / (2.0 * static_cast<double>(stagesLeft)), 0.2, 2.5);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Times none(compiled.size(), std::vector<double>(tokens.size(), infinity));
  Halves best = {{none, none}};
  std::vector<int64_t> calls(tokens.size(), 1);
  std::barrier sync(static_cast<std::ptrdiff_t>(request.threads));
  auto begin = Clock::now();
  std::atomic<bool> stop = false;
  auto work = [&](int64_t thread) {
    int64_t m = *llvm::max_element(tokens);
    int64_t scratch = 0;
    for (KernelJIT *kernel : compiled)
      scratch = std::max(scratch, kernel->scratchFor(m));
    std::vector<float> x(m * shape.k), y(m * shape.n);
    std::vector<uint8_t> memory(scratch + 64);
    std::mt19937 rng(2);
    std::normal_distribution<float> normal(0, 1);
    for (float &value : x)
      value = normal(rng);
    // Each thread goes through copies of its own, as threads of a model do
    // through rows of their own.
    int64_t own = weight.count / request.threads, at = 0;
    auto turn = [&](size_t i, size_t t, int64_t round) {
      sync.arrive_and_wait();
      auto start = Clock::now();
      for (int64_t call = 0; call < calls[t]; ++call) {
        compiled[i]->matmul(weight[own * thread + at], x.data(), tokens[t],
                            y.data(), memory.data());
        at = (at + 1) % own;
      }
      sync.arrive_and_wait();
      if (thread != 0)
        return;
      std::chrono::duration<double> elapsed = Clock::now() - start;
      double &shortest = best.half[round % 2][i][t];
      shortest =
          std::min(shortest, elapsed.count() / static_cast<double>(calls[t]));
    };
    for (int64_t round = 0; !stop; ++round) {
      for (size_t t = 0; t < tokens.size(); ++t)
        for (size_t j = 0; j < compiled.size(); ++j)
          turn(round / 2 % 2 ? compiled.size() - 1 - j : j, t, round);
      sync.arrive_and_wait();
      if (thread == 0) {
        // The first rounds say how long a call takes and do not count.
        if (round == 1) {
          for (size_t t = 0; t < tokens.size(); ++t)
            calls[t] = std::clamp<int64_t>(
                static_cast<int64_t>(turnSeconds / best.time(0, t)), 1, 100000);
          best = {{none, none}};
        }
        // On a busy machine longer, until the halves agree.
        std::chrono::duration<double> elapsed = Clock::now() - begin;
        stop = round >= 5 && round % 2 && elapsed.count() > seconds &&
               (best.agree() || elapsed.count() > 2 * seconds || left() <= 0);
      }
      sync.arrive_and_wait();
    }
  };
  std::vector<std::thread> others;
  for (unsigned thread = 1; thread < request.threads; ++thread)
    others.emplace_back(work, thread);
  work(0);
  for (std::thread &other : others)
    other.join();
  measured = true;
  return best;
}

/// How much better the second times are: the product of the ratios; 0 if they
/// are not measurably better.
static double ratios(ArrayRef<double> before, ArrayRef<double> after) {
  double product = 1, most = 0;
  for (auto [b, a] : llvm::zip_equal(before, after)) {
    if (a > b * loss)
      return 0;
    product *= b / a;
    most = std::max(most, b / a);
  }
  return most >= gain ? product : 0;
}

double Measurement::Halves::improvement(size_t kernel) const {
  return std::min(ratios(half[0][0], half[0][kernel]),
                  ratios(half[1][0], half[1][kernel]));
}

bool Measurement::Halves::agree() const {
  for (auto [even, odd] : llvm::zip_equal(half[0], half[1]))
    for (auto [a, b] : llvm::zip_equal(even, odd))
      if (a > b * loss || b > a * loss)
        return false;
  return true;
}

static std::string tokensText(int64_t tokens) {
  return llvm::formatv("{0} token{1}", tokens, tokens == 1 ? "" : "s");
}

llvm::Error Measurement::decide(const Stage &stage, KernelTuning &tuning,
                                int64_t stagesLeft) {
  if (llvm::Error error =
          useShape(stage.widest ? request.widest : request.main))
    return error;
  std::vector<KernelTuning> tunings = {tuning};
  std::vector<int64_t> values;
  for (int64_t value : stage.values) {
    KernelTuning candidate = tuning;
    if (llvm::Error error =
            candidate.set((stage.constant + "=" + llvm::Twine(value)).str()))
      return error;
    if (candidate == tuning) {
      values.insert(values.begin(), value);
      continue;
    }
    tunings.push_back(candidate);
    values.push_back(value);
  }
  // Tables of partial sums serve one token without them.
  if (stage.constant == "sums") {
    llvm::Expected<KernelJIT *> kernel = compile(tuning);
    if (!kernel)
      return kernel.takeError();
    if ((*kernel)->tableLookups != 0)
      return llvm::Error::success();
  }
  llvm::Expected<Halves> times = time(tunings, stage.tokens, stagesLeft);
  if (!times)
    return times.takeError();
  size_t best = 0;
  double most = 0;
  for (size_t i = 1; i < tunings.size(); ++i) {
    double improved = times->improvement(i);
    if (improved > most) {
      most = improved;
      best = i;
    }
  }
  std::string line = llvm::formatv("{0}: {1}={2}{3};", name, stage.constant,
                                   values[best], best ? "" : " stays");
  for (auto [t, tokens] : llvm::enumerate(stage.tokens)) {
    line += " " + tokensText(tokens) + ":";
    for (size_t i = 0; i < values.size(); ++i)
      line += llvm::formatv("{0} {1}={2:f2} us", i ? "," : "", values[i],
                            times->time(i, t) * 1e6);
    line += t + 1 < stage.tokens.size() ? ";" : "";
  }
  listener.decided(line);
  tuning = tunings[best];
  return llvm::Error::success();
}

llvm::Error Measurement::confirm(KernelTuning &tuning, TuneResult &result) {
  if (tuning == model)
    return llvm::Error::success();
  if (llvm::Error error = useShape(request.main))
    return error;
  std::vector<int64_t> tokens = {1};
  for (int64_t more : {int64_t(8), std::min<int64_t>(128, request.maxTokens)})
    if (more <= request.maxTokens && more > tokens.back())
      tokens.push_back(more);
  llvm::Expected<Halves> times = time({model, tuning}, tokens, 1);
  if (!times)
    return times.takeError();
  // Strips show at the widest shape only, where they have been compared.
  KernelTuning here = tuning;
  here.strip = model.strip;
  bool better = times->improvement(1) > 0 || here == model;
  if (!better)
    tuning = model;
  for (auto [t, count] : llvm::enumerate(tokens))
    result.figures.push_back(
        {count, times->time(0, t), times->time(better ? 1 : 0, t)});
  return llvm::Error::success();
}

llvm::Expected<TuneResult> Measurement::run() {
  llvm::Expected<CPU> cpu = CPU::get(request.mcpu);
  if (!cpu)
    return cpu.takeError();
  model = KernelTuning::forTarget(cpu->vectors);
  int64_t many = std::min<int64_t>(128, request.maxTokens);
  int64_t few = std::min<int64_t>(8, many);
  std::vector<int64_t> several = {few};
  if (many > few)
    several.push_back(many);
  std::vector<Stage> stages = {
      {"sums", {2, 4, 8}, {1}},
      {"decode-prefetch", {0, 4, 8, 16}, {1}},
      {"token-tile",
       {model.tokenTile / 2, model.tokenTile, 2 * model.tokenTile},
       several},
      {"prefetch", {0, 4, 8, 16}, several},
      {"strip", {128, 256, 512, 1024}, {many}, /*widest=*/true},
  };
  KernelTuning tuning = model;
  TuneResult result;
  for (auto [i, stage] : llvm::enumerate(stages)) {
    if (stage.tokens.back() == 1 && stage.constant != "sums" &&
        stage.constant != "decode-prefetch")
      continue;
    if (left() <= 0) {
      listener.decided((llvm::Twine(name) + ": " + stage.constant +
                        " stays; no time left to measure")
                           .str());
      continue;
    }
    if (llvm::Error error =
            decide(stage, tuning, static_cast<int64_t>(stages.size() - i) + 1))
      return error;
  }
  if (llvm::Error error = confirm(tuning, result))
    return error;
  result.tuning = tuning.difference(model);
  result.measured = measured;
  std::string line =
      name + ": " +
      (result.tuning.empty() ? std::string("the default") : result.tuning);
  for (const TuneResult::Figure &figure : result.figures)
    line += llvm::formatv(", {0} {1:f2}x", tokensText(figure.tokens),
                          figure.before / figure.after);
  if (!result.figures.empty() && !result.tuning.empty())
    line += " the default's speed";
  listener.decided(line);
  return result;
}

llvm::Expected<TuneResult> cpu::measureTuning(const TuneRequest &request,
                                              TuneListener &listener) {
  return Measurement(request, listener).run();
}
