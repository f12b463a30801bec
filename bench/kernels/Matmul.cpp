//===- Matmul.cpp - Generated products and their twins --------------------===//
#include "Bench.h"
#include "Twins.h"
#include "qc/Format/Format.h"
#include "qc/Target/CPU/Tuning/KernelJIT.h"
#include "qc/Target/CPU/Tuning/Measure.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <random>

using namespace qc;
using mlir::qc::Arithmetic;
using mlir::qc::cpu::KernelJIT;

namespace {

struct FormatCase {
  const char *name, *spelling;
  Arithmetic arithmetic; ///< that `--activations=auto` chooses
};
const FormatCase formats[] = {
    {"f16", "float<f16>", Arithmetic::F32},
    {"bf16_f32", "float<bf16>", Arithmetic::F32},
    {"bf16_bf16", "float<bf16>", Arithmetic::BF16},
    {"int8_g128", "grouped<bits = 8, group = 128, scale = f16>",
     Arithmetic::Int8},
    {"int4_g128", "grouped<bits = 4, group = 128, scale = f16>",
     Arithmetic::Int8},
    {"int4_asym_g128",
     "grouped<bits = 4, group = 128, scale = f16, zero = int>",
     Arithmetic::Int8},
    {"int3_g64", "grouped<bits = 3, group = 64, scale = f16>",
     Arithmetic::Int8},
    {"int2_g64", "grouped<bits = 2, group = 64, scale = f16>",
     Arithmetic::Int8},
    {"int2_g256", "grouped<bits = 2, group = 256, scale = f16>",
     Arithmetic::Int8},
    {"int1_g128", "grouped<bits = 1, group = 128, scale = f16>",
     Arithmetic::Int8},
    {"nf4_dq", "lut<nf4, group = 64, scale = f32, double_quant = 256>",
     Arithmetic::Int8},
    {"codebook_2x8",
     "codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>",
     Arithmetic::Int8},
    {"codebook_1x16",
     "codebook<books = 1, bits = 16, vector = 8, scale = f16, entry = f16>",
     Arithmetic::Int8},
    {"e8p", "e8p<scale = f16>", Arithmetic::Int8},
};

// The gate and up projections of TinyLlama, the widest of its layers.
constexpr int64_t n = 5632, k = 2048;

struct Weight {
  PackedLayout layout;
  bench::Buffer blob; ///< copies behind each other, each a multiple of 64 bytes
  int64_t stride = 0, copies = 0;

  const uint8_t *copy(int64_t i) const { return blob.get() + i * stride; }
};

} // namespace

/// Packed weights, more than all caches hold.
static const Weight &weightOf(const std::string &spelling, int64_t rows) {
  static std::map<std::pair<std::string, int64_t>, Weight> made;
  auto [it, isNew] = made.try_emplace({spelling, rows});
  Weight &weight = it->second;
  if (!isNew)
    return weight;
  // One at a time: a dozen of these would not fit small machines.
  for (auto &other : made)
    if (&other.second != &weight)
      other.second.blob.reset();
  std::erase_if(made, [](auto &entry) {
    return !entry.second.blob && entry.second.copies;
  });
  std::string error;
  auto format = parseFormat(spelling, error);
  weight.layout = format->packedLayout(n, k, rows);
  weight.stride = (weight.layout.totalBytes() + 63) / 64 * 64;
  weight.copies = bench::rotation / weight.stride + 1;
  // Hand-written code may prefetch past the end.
  weight.blob = bench::allocate(weight.stride * weight.copies + 8192);
  HostWeight host;
  host.components = mlir::qc::cpu::randomComponents(*format, n, k);
  std::memset(weight.blob.get(), 0, static_cast<size_t>(weight.stride));
  format->pack(host.views(), weight.layout, weight.blob.get());
  for (int64_t i = 1; i < weight.copies; ++i)
    std::memcpy(weight.blob.get() + i * weight.stride, weight.blob.get(),
                static_cast<size_t>(weight.stride));
  return weight;
}

static const KernelJIT *kernelOf(const std::string &spelling,
                                 Arithmetic arithmetic, const std::string &cpu,
                                 std::string &error) {
  static std::map<std::pair<std::string, Arithmetic>,
                  std::unique_ptr<KernelJIT>>
      made;
  auto &kernel = made[{spelling + cpu, arithmetic}];
  if (!kernel)
    kernel = KernelJIT::create(spelling, n, k, arithmetic, cpu, error);
  return kernel.get();
}

namespace {
/// Arguments of one thread's calls, aligned as those in a model's arena.
class Operands {
public:
  float *x, *y;
  uint8_t *scratch;
  int64_t outputs;

  Operands(int64_t m, int64_t scratchBytes)
      : outputs(m * n), xBytes(bench::allocate(m * k * 4)),
        yBytes(bench::allocate(m * n * 4)),
        scratchBuffer(bench::allocate(scratchBytes + 64)) {
    x = reinterpret_cast<float *>(xBytes.get());
    y = reinterpret_cast<float *>(yBytes.get());
    scratch = scratchBuffer.get();
    std::mt19937 rng(2);
    std::normal_distribution<float> normal(0, 1);
    std::generate_n(x, m * k, [&] { return normal(rng); });
  }

private:
  bench::Buffer xBytes, yBytes, scratchBuffer;
};
using Product = std::function<void(const uint8_t *, Operands &, int64_t)>;
} // namespace

using Clock = std::chrono::steady_clock;
static double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Each thread goes through copies of its own, as threads of a model do through
/// rows of their own.
static void timeProduct(benchmark::State &state, const Weight &weight,
                        int64_t m, int64_t scratchBytes, double yardstick,
                        const Product &product) {
  Operands operands(m, scratchBytes);
  int64_t threads = state.threads();
  int64_t own = weight.copies / threads, first = own * state.thread_index();
  int64_t i = 0;
  auto begin = Clock::now();
  for (auto _ : state) {
    product(weight.copy(first + i), operands, m);
    benchmark::ClobberMemory();
    i = (i + 1) % own;
  }
  double seconds = since(begin);
  using benchmark::Counter;
  auto count = static_cast<double>(state.iterations());
  double bytes = count * static_cast<double>(weight.layout.totalBytes());
  double ops = count * 2 * static_cast<double>(m * n * k);
  state.counters["bytes"] = Counter(bytes, Counter::kIsRate);
  state.counters["ops"] = Counter(ops, Counter::kIsRate);
  // Counters of several threads are added.
  state.counters["share"] = (m == 1 ? bytes : ops) / seconds / yardstick;
}

namespace {
/// What all threads of one benchmark use; thread 0's Setup makes it.
struct Run {
  const Weight *weight = nullptr;
  int64_t scratchBytes = 0;
  double yardstick = 1;
  Product product;
  std::string error;
};
Run current;
} // namespace

static void setYardstick(int64_t m, int64_t threads) {
  // Measured now: on a shared machine speed comes and goes.
  current.yardstick =
      m == 1 ? bench::streamRate(threads)
             : bench::int8Rate(0.05) * static_cast<double>(threads);
}

static void useGenerated(const std::string &spelling, Arithmetic arithmetic,
                         const std::string &cpu, int64_t m, int64_t threads) {
  current = Run();
  // Warnings of the pipeline land in `error`, too.
  const KernelJIT *kernel = kernelOf(spelling, arithmetic, cpu, current.error);
  if (!kernel)
    return;
  current.error.clear();
  current.weight = &weightOf(spelling, kernel->rows);
  current.scratchBytes = kernel->scratchFor(m);
  current.product = [kernel](const uint8_t *weight, Operands &o, int64_t m) {
    kernel->matmul(weight, o.x, m, o.y, o.scratch);
  };
  setYardstick(m, threads);
}

namespace {
struct Twin {
  const char *name, *spelling, *cpu;
  bench::TwinFn function;
  int64_t rows, m;
};
} // namespace

/// Why the twin's results are not those of the generated kernel; empty if they
/// are, up to the order of f32 sums.
static std::string compare(const Operands &expected, const Operands &got) {
  double top = 0, worst = 0;
  for (int64_t i = 0; i < got.outputs; ++i) {
    top = std::max<double>(top, std::abs(expected.y[i]));
    worst = std::max<double>(worst, std::abs(expected.y[i] - got.y[i]));
  }
  if (worst <= 1e-5 * top)
    return "";
  return "the twin's results differ by " + std::to_string(worst) + " of " +
         std::to_string(top);
}

/// Both in turns over the same copies, the shortest time of each: `ratio` is
/// the generated kernel's speed as a share of the hand-written one's.
static void runTwin(benchmark::State &state, Twin twin) {
  std::string error;
  const KernelJIT *kernel =
      kernelOf(twin.spelling, Arithmetic::Int8, twin.cpu, error);
  if (!kernel) {
    state.SkipWithError(error.c_str());
    return;
  }
  const Weight &weight = weightOf(twin.spelling, kernel->rows);
  const PackedLayout &layout = weight.layout;
  if (layout.rows != twin.rows || layout.blockK != 128) {
    state.SkipWithError("the twin is written for another packed layout");
    return;
  }
  int64_t m = twin.m;
  Operands a(m, kernel->scratchFor(m));
  Operands b(m, bench::Activations::scratchBytes(layout, m));
  auto generated = [&](const uint8_t *w) {
    kernel->matmul(w, a.x, m, a.y, a.scratch);
  };
  auto byHand = [&](const uint8_t *w) {
    twin.function(layout, w, b.x, m, b.y, b.scratch);
  };
  generated(weight.copy(0));
  byHand(weight.copy(0));
  if (std::string why = compare(a, b); !why.empty()) {
    state.SkipWithError(why.c_str());
    return;
  }
  // A few milliseconds a turn: shorter than most disturbances.
  int64_t calls = m == 1 ? 8 : 1, at = 0;
  auto turn = [&](auto &run) {
    auto begin = Clock::now();
    for (int64_t i = 0; i < calls; ++i)
      run(weight.copy(at = (at + 1) % weight.copies));
    return since(begin) / static_cast<double>(calls);
  };
  double first = 1e9, second = 1e9;
  for (auto _ : state) {
    first = std::min(first, turn(generated));
    second = std::min(second, turn(byHand));
  }
  double ops = 2 * static_cast<double>(m * n * k);
  state.counters["generated_us"] = first * 1e6;
  state.counters["by_hand_us"] = second * 1e6;
  state.counters["generated_ops"] = ops / first;
  state.counters["by_hand_ops"] = ops / second;
  state.counters["ratio"] = second / first;
}

static void runCurrent(benchmark::State &state, int64_t m) {
  if (!current.error.empty()) {
    state.SkipWithError(current.error.c_str());
    return;
  }
  timeProduct(state, *current.weight, m, current.scratchBytes,
              current.yardstick, current.product);
}

/// One benchmark; `prepare` runs before its threads.
static void add(const std::string &name, int64_t m, int64_t threads,
                std::function<void()> prepare) {
  static std::vector<std::function<void()>> setups;
  auto index = static_cast<int64_t>(setups.size());
  setups.push_back(std::move(prepare));
  benchmark::RegisterBenchmark(
      name.c_str(), [m](benchmark::State &state) { runCurrent(state, m); })
      ->ArgName("setup")
      ->Arg(index)
      ->Setup([](const benchmark::State &state) {
        // Called again when the number of iterations grows: once is enough.
        static int64_t last = -1;
        if (state.range(0) != last)
          setups[static_cast<size_t>(state.range(0))]();
        last = state.range(0);
      })
      ->Threads(static_cast<int>(threads))
      ->UseRealTime();
}

void bench::registerMatmuls() {
  for (int64_t threads : threadCounts()) {
    for (const FormatCase &f : formats)
      for (int64_t m : {1, 4, 8, 16, 24, 128, 512}) {
        std::string kind = m == 1 ? "gemv/" : "gemm/";
        add(kind + f.name + "/m:" + std::to_string(m), m, threads, [=] {
          useGenerated(f.spelling, f.arithmetic, "native", m, threads);
        });
      }
  }
  const char *int4 = "grouped<bits = 4, group = 128, scale = f16>",
             *int8 = "grouped<bits = 8, group = 128, scale = f16>";
  const Twin twins[] = {
      {"twin/gemv_int4/avx512vnni", int4, "x86-64-v4-vnni", gemvInt4AVX512, 16,
       1},
      {"twin/gemm_int8/avx512vnni", int8, "x86-64-v4-vnni", gemmInt8AVX512, 16,
       128},
      {"twin/gemv_int4/avx2", int4, "x86-64-v3", gemvInt4AVX2, 8, 1},
      {"twin/gemm_int8/avx2", int8, "x86-64-v3", gemmInt8AVX2, 8, 128},
  };
  for (const Twin &twin : twins)
    if (twin.rows == 8 || __builtin_cpu_supports("avx512vnni"))
      benchmark::RegisterBenchmark(twin.name, runTwin, twin);
}
