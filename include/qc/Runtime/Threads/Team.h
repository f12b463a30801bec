//===- Team.h - What threads of a step share --------------------*- C++ -*-===//
#ifndef QC_RUNTIME_THREADS_TEAM_H
#define QC_RUNTIME_THREADS_TEAM_H

#include <atomic>
#include <cstdint>
#include <memory>

namespace qc::rt {

/// Sense-reversing barrier: the last thread to arrive advances `generation`,
/// for which the others spin. With more threads than CPUs, spinning keeps the
/// awaited thread off its core: then they yield almost at once.
class alignas(64) SpinBarrier {
public:
  /// Who meets next. Nobody may be about to arrive.
  void setThreads(int64_t number, int limit) {
    threads = number;
    spinLimit = limit;
  }
  void wait();
  /// How often all have met: the same for all threads until they meet again.
  uint64_t phase() const { return generation.load(std::memory_order_relaxed); }

private:
  int64_t threads = 1;
  int spinLimit = 0; ///< pauses before the core is yielded
  alignas(64) std::atomic<int64_t> arrived{0};
  alignas(64) std::atomic<uint64_t> generation{0};
};

/// What generated code gets as `team`: a barrier, and for each thread the part
/// of its share of the work that nobody has begun.
class Team {
public:
  explicit Team(int64_t threads)
      : shares(new Share[static_cast<size_t>(threads)]), size(threads) {}
  /// As SpinBarrier::setThreads.
  void setThreads(int64_t number, int spinLimit);
  void wait() { barrier.wait(); }
  /// qc_claim of ModelABI.h.
  int64_t claim(int64_t thread, int64_t threads, int64_t items, int64_t least);

private:
  /// Phase (upper half), first item and end of what is left, relative to the
  /// share's first item. Of an earlier phase: nobody has begun.
  struct alignas(64) Share {
    std::atomic<uint64_t> left{0};
  };

  SpinBarrier barrier;
  std::unique_ptr<Share[]> shares;
  int64_t size;
};

} // namespace qc::rt

#endif // QC_RUNTIME_THREADS_TEAM_H
