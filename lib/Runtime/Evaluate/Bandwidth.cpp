//===- Bandwidth.cpp - How fast this machine reads memory -----------------===//
//
// The yardstick of --bench: a decode step reads every weight once, so it cannot
// be faster than a plain sweep over memory. The sweep uses the widest loads
// that the CPU has (the runtime itself is compiled for any x86-64) and several
// streams a thread, as hardware prefetchers like it.
//
//===----------------------------------------------------------------------===//
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <chrono>
#include <cstring>

using namespace qc::rt;

using Vector = long long __attribute__((vector_size(64)));
static constexpr size_t streams = 4;

/// Sum of `count` vectors at `data`, read as `streams` streams of two vectors
/// at a time. `count` is a multiple of 2 * streams.
__attribute__((always_inline)) static inline uint64_t sum(const Vector *data,
                                                          size_t count) {
  Vector a[streams] = {}, b[streams] = {};
  size_t length = count / streams;
  for (size_t i = 0; i < length; i += 2)
    for (size_t s = 0; s < streams; ++s) {
      a[s] += data[s * length + i];
      b[s] += data[s * length + i + 1];
    }
  uint64_t result = 0;
  for (size_t s = 0; s < streams; ++s)
    for (int lane = 0; lane < 8; ++lane)
      result += static_cast<uint64_t>(a[s][lane] + b[s][lane]);
  return result;
}

static uint64_t sumBaseline(const Vector *data, size_t count) {
  return sum(data, count);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t sumAVX2(const Vector *data,
                                                        size_t count) {
  return sum(data, count);
}
__attribute__((target("avx512f"))) static uint64_t sumAVX512(const Vector *data,
                                                             size_t count) {
  return sum(data, count);
}
#endif

double qc::rt::streamBandwidth(ThreadPool &pool, int64_t repeats,
                               int64_t &bytes) {
  // Larger than four last-level caches of 256 MiB, where memory allows.
  constexpr int64_t unit = 64 * 2 * streams;
  bytes = std::min<int64_t>(int64_t(1) << 30, availableMemory() / 2);
  int64_t share = bytes / pool.size() / unit * unit; // of one thread
  bytes = share * pool.size();
  Memory memory;
  if (share == 0 || !memory.allocate(static_cast<size_t>(bytes)))
    return 0;
  uint64_t (*kernel)(const Vector *, size_t) = sumBaseline;
#if defined(__x86_64__)
  if (hasFeature("avx512f"))
    kernel = sumAVX512;
  else if (hasFeature("avx2"))
    kernel = sumAVX2;
#endif
  auto *data = static_cast<uint8_t *>(memory.get());
  std::atomic<uint64_t> sink{0};
  pool.run([&](int64_t thread) {
    std::memset(data + thread * share, 1, static_cast<size_t>(share));
  });
  double best = 0;
  for (int64_t i = 0; i < repeats; ++i) {
    auto start = std::chrono::steady_clock::now();
    pool.run([&](int64_t thread) {
      auto *part = reinterpret_cast<const Vector *>(data + thread * share);
      sink += kernel(part, static_cast<size_t>(share / 64));
    });
    std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(bytes) / seconds.count());
  }
  return best;
}
