//===- Parallel.h - A loop over threads -------------------------*- C++ -*-===//
#ifndef QC_LIB_QUANTIZATION_ENCODE_PARALLEL_H
#define QC_LIB_QUANTIZATION_ENCODE_PARALLEL_H

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace qc {

/// fn(i) for i in [0, count), handed out in order to at most `threads` threads.
/// Results are independent of `threads` as long as the calls are.
template <typename Fn>
void parallelFor(int threads, int64_t count, Fn fn) {
  std::atomic<int64_t> next = 0;
  auto work = [&] {
    for (int64_t i = next++; i < count; i = next++)
      fn(i);
  };
  std::vector<std::thread> team;
  for (int64_t t = 1; t < std::min<int64_t>(threads, count); ++t)
    team.emplace_back(work);
  work();
  for (std::thread &thread : team)
    thread.join();
}

/// fn(begin, end) for consecutive parts of [0, count) of at most `size`.
template <typename Fn>
void parallelChunks(int threads, int64_t count, int64_t size, Fn fn) {
  parallelFor(threads, (count + size - 1) / size, [&](int64_t i) {
    fn(i * size, std::min(count, (i + 1) * size));
  });
}

} // namespace qc

#endif // QC_LIB_QUANTIZATION_ENCODE_PARALLEL_H
