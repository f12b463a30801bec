//===- Bandwidth.cpp - How fast this machine reads memory -----------------===//
//
// The yardstick of --bench: a decode step reads every weight once, so it cannot
// be faster than a plain sweep over memory. The sweep uses the widest loads
// that the CPU has; the runtime itself is compiled for any x86-64.
//
//===----------------------------------------------------------------------===//
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <array>
#include <chrono>
#include <cstring>

using namespace qc::rt;

using Vector = unsigned long long __attribute__((vector_size(64)));
static constexpr size_t unroll = 8; ///< vectors a step

// Which way of reading is fastest differs from machine to machine (and from
// minute to minute on a shared one): all are tried, the best counts.
enum class Pattern { OneStream, FourStreams, Prefetched };

/// Sum of `count` vectors, a multiple of `unroll`, at `data`.
template <Pattern pattern>
__attribute__((always_inline)) static inline uint64_t sum(const Vector *data,
                                                          size_t count) {
  constexpr size_t streams = pattern == Pattern::FourStreams ? 4 : 1;
  constexpr size_t step = unroll / streams;
  Vector partial[unroll] = {};
  size_t length = count / streams;
  for (size_t i = 0; i < length; i += step)
    for (size_t s = 0; s < streams; ++s)
      for (size_t u = 0; u < step; ++u) {
        const Vector *at = data + s * length + i + u;
        if constexpr (pattern == Pattern::Prefetched)
          __builtin_prefetch(at + 4096 / sizeof(Vector));
        partial[s * step + u] += *at;
      }
  uint64_t result = 0;
  for (const Vector &vector : partial)
    for (int lane = 0; lane < 8; ++lane)
      result += vector[lane];
  return result;
}

using SumFn = uint64_t (*)(const Vector *, size_t);

namespace {
/// One instruction set; `read` has the target attribute that loads need.
struct Baseline {
  template <Pattern pattern>
  static uint64_t read(const Vector *data, size_t count) {
    return sum<pattern>(data, count);
  }
};
#if defined(__x86_64__)
struct AVX2 {
  template <Pattern pattern>
  __attribute__((target("avx2"))) static uint64_t read(const Vector *data,
                                                       size_t count) {
    return sum<pattern>(data, count);
  }
};
struct AVX512 {
  template <Pattern pattern>
  __attribute__((target("avx512f"))) static uint64_t read(const Vector *data,
                                                          size_t count) {
    return sum<pattern>(data, count);
  }
};
#endif
} // namespace

template <typename ISA>
static std::array<SumFn, 3> patterns() {
  return {ISA::template read<Pattern::OneStream>,
          ISA::template read<Pattern::FourStreams>,
          ISA::template read<Pattern::Prefetched>};
}

static std::array<SumFn, 3> readers() {
#if defined(__x86_64__)
  if (hasFeature("avx512f"))
    return patterns<AVX512>();
  if (hasFeature("avx2"))
    return patterns<AVX2>();
#endif
  return patterns<Baseline>();
}

double qc::rt::streamBandwidth(ThreadPool &pool, int64_t repeats,
                               int64_t &bytes) {
  // Larger than four last-level caches of 256 MiB, where memory allows.
  constexpr int64_t unit = 64 * unroll * 4;
  bytes = std::min<int64_t>(int64_t(1) << 30, availableMemory() / 2);
  int64_t share = bytes / pool.size() / unit * unit; // of one thread
  bytes = share * pool.size();
  Memory memory;
  if (share == 0 || !memory.allocate(static_cast<size_t>(bytes)))
    return 0;
  auto *data = static_cast<uint8_t *>(memory.get());
  std::atomic<uint64_t> sink{0};
  pool.run([&](int64_t thread) {
    std::memset(data + thread * share, 1, static_cast<size_t>(share));
  });
  double best = 0;
  for (int64_t i = 0; i < repeats; ++i)
    for (SumFn read : readers()) {
      auto start = std::chrono::steady_clock::now();
      pool.run([&](int64_t thread) {
        auto *part = reinterpret_cast<const Vector *>(data + thread * share);
        sink += read(part, static_cast<size_t>(share / 64));
      });
      std::chrono::duration<double> seconds =
          std::chrono::steady_clock::now() - start;
      best = std::max(best, static_cast<double>(bytes) / seconds.count());
    }
  return best;
}
