//===- Team.cpp - Barrier, and who does which part of a kernel ------------===//
#include "qc/Runtime/Threads/Team.h"

#include "qc/Runtime/ModelABI.h"

#include <algorithm>
#include <sched.h>

using namespace qc::rt;

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void SpinBarrier::wait() {
  // Before arriving: afterwards the next job may change it.
  const int64_t awaited = threads;
  const int limit = spinLimit;
  if (awaited == 1) {
    generation.store(phase() + 1, std::memory_order_relaxed);
    return;
  }
  uint64_t own = phase();
  if (arrived.fetch_add(1, std::memory_order_acq_rel) == awaited - 1) {
    arrived.store(0, std::memory_order_relaxed);
    generation.store(own + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; generation.load(std::memory_order_acquire) == own;) {
    if (spins < limit) {
      ++spins;
      relax();
    } else {
      sched_yield();
    }
  }
}

void Team::setThreads(int64_t number, int spinLimit) {
  barrier.setThreads(number, spinLimit);
  // A thread that stays away does not keep its share's phase up to date.
  for (int64_t i = 0; i < size; ++i)
    shares[static_cast<size_t>(i)].left.store(0, std::memory_order_relaxed);
}

int64_t Team::claim(int64_t thread, int64_t threads, int64_t items,
                    int64_t least) {
  // Never 0, which is nobody's.
  const uint64_t now = (barrier.phase() << 1 | 1) << 32;
  constexpr uint64_t phaseMask = ~uint64_t(0) << 32;
  for (int64_t i = 0; i < threads; ++i) {
    // The own share from its begin, then those of others from their ends.
    const int64_t owner = (thread + i) % threads;
    const int64_t first = items * owner / threads;
    const int64_t length = items * (owner + 1) / threads - first;
    if (length == 0)
      continue;
    // Halves of 32 bits hold two numbers of units.
    const int64_t unit = length / 0xffff + 1;
    const int64_t units = (length + unit - 1) / unit;
    const int64_t atLeast = std::min((least + unit - 1) / unit, units);
    std::atomic<uint64_t> &left = shares[static_cast<size_t>(owner)].left;
    uint64_t seen = left.load(std::memory_order_relaxed);
    for (;;) {
      int64_t begin = 0, end = units;
      if ((seen & phaseMask) == (now & phaseMask)) {
        begin = static_cast<int64_t>(seen >> 16 & 0xffff);
        end = static_cast<int64_t>(seen & 0xffff);
      }
      if (begin == end)
        break;
      // Half of what is left: few claims, and at the end small ones.
      int64_t count =
          std::min(std::max(atLeast, (end - begin + 1) / 2), end - begin);
      int64_t from = i == 0 ? begin : end - count;
      if (i == 0)
        begin += count;
      else
        end -= count;
      if (!left.compare_exchange_weak(
              seen, now | static_cast<uint64_t>(begin << 16 | end),
              std::memory_order_relaxed))
        continue;
      int64_t a = first + from * unit;
      int64_t b = first + std::min((from + count) * unit, length);
      return b << 32 | a;
    }
  }
  return -1;
}

extern "C" void qc_barrier(void *team) { static_cast<Team *>(team)->wait(); }

extern "C" int64_t qc_claim(void *team, int64_t thread, int64_t threads,
                            int64_t items, int64_t least) {
  return static_cast<Team *>(team)->claim(thread, threads, items, least);
}
