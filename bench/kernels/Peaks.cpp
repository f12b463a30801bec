//===- Peaks.cpp - What the machine could do at most ----------------------===//
#include "Bench.h"
#include "Twins.h"
#include "qc/Runtime/Evaluate/Evaluate.h"
#include "qc/Runtime/Evaluate/TileRegisters.h"
#include "qc/Runtime/Threads/ThreadPool.h"
#include "qc/Target/CPU/Tuning/Memory.h"

#include <benchmark/benchmark.h>
#include <chrono>

using namespace qc;

bench::Buffer bench::allocate(int64_t bytes) {
  return Buffer(
      static_cast<uint8_t *>(mlir::qc::cpu::allocateHugePages(bytes)));
}

std::vector<int64_t> bench::threadCounts() {
  std::vector<int64_t> counts = {1};
  if (rt::availableCPUs() > 1)
    counts.push_back(rt::availableCPUs());
  return counts;
}

double bench::streamRate(int64_t threads) {
  std::string error;
  auto pool = rt::ThreadPool::create(threads, /*pin=*/false, error);
  int64_t bytes = 0;
  return pool ? rt::streamBandwidth(*pool, /*repeats=*/1, bytes) : 0;
}

static auto spinVectors() {
  return __builtin_cpu_supports("avx512vnni") ? bench::spinInt8AVX512
                                              : bench::spinInt8AVX2;
}

/// The fastest int8 products of the CPU.
static auto spin() {
  static const bool amx =
      __builtin_cpu_supports("amx-int8") && requestTileRegisters();
  return amx ? bench::spinInt8AMX : spinVectors();
}

double bench::int8Rate(double seconds) {
  using Clock = std::chrono::steady_clock;
  double ops = 0, best = 0;
  auto begin = Clock::now();
  std::chrono::duration<double> total{};
  while (total.count() < seconds) {
    auto start = Clock::now();
    ops = spin()(20000);
    std::chrono::duration<double> took = Clock::now() - start;
    best = std::max(best, ops / took.count());
    total = Clock::now() - begin;
  }
  return best;
}

static void int8Peak(benchmark::State &state, double (*spin)(int64_t)) {
  double ops = 0;
  for (auto _ : state)
    ops += spin(100000);
  state.counters["int8_ops"] =
      benchmark::Counter(ops, benchmark::Counter::kIsRate);
}

static void streamPeak(benchmark::State &state, int64_t threads) {
  double best = 0;
  for (auto _ : state)
    best = std::max(best, bench::streamRate(threads));
  state.counters["stream_bytes"] = best;
}

void bench::registerPeaks() {
  for (int64_t threads : threadCounts()) {
    auto count = static_cast<int>(threads);
    benchmark::RegisterBenchmark("peak/int8", int8Peak, spin())
        ->Threads(count)
        ->UseRealTime();
    benchmark::RegisterBenchmark("peak/int8_vectors", int8Peak, spinVectors())
        ->Threads(count)
        ->UseRealTime();
    std::string name = "peak/stream/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(name.c_str(), streamPeak, threads)
        ->Iterations(3)
        ->UseRealTime();
  }
}
