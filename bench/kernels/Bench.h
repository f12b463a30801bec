//===- Bench.h - What the micro benchmarks share ----------------*- C++ -*-===//
#ifndef QC_BENCH_KERNELS_BENCH_H
#define QC_BENCH_KERNELS_BENCH_H

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace qc::bench {

struct Free {
  void operator()(void *p) const { std::free(p); }
};
/// Bytes aligned for every vector width, and to pages if there are many.
using Buffer = std::unique_ptr<uint8_t, Free>;
Buffer allocate(int64_t bytes);

/// Bytes a second that `threads` threads read from memory: the yardstick of
/// `--bench`.
double streamRate(int64_t threads);

/// Multiplications and additions of 8-bit integers a second in one thread, with
/// the widest dot product of the CPU.
double int8Rate(double seconds);

/// CPUs that the benchmarks run with: 1 and, if there are more, all.
std::vector<int64_t> threadCounts();

/// Size of all weights that a benchmark goes through, so that none of them
/// comes from a cache.
constexpr int64_t rotation = int64_t(320) << 20;

void registerPeaks();
void registerMatmuls();
void registerSteps();
/// Nothing where CMake did not find oneDNN.
void registerOneDNN();

} // namespace qc::bench

#endif // QC_BENCH_KERNELS_BENCH_H
