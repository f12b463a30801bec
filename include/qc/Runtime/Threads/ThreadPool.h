//===- ThreadPool.h - The team that runs generated code ---------*- C++ -*-===//
//
// Generated code is SPMD: all threads of a team enter a step function together
// and meet in qc_barrier between kernels, some hundred times a token. So the
// barrier spins, nothing here allocates or locks while a step runs, and workers
// sleep in the kernel (futex) only when no step has followed for a while.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_THREADS_THREADPOOL_H
#define QC_RUNTIME_THREADS_THREADPOOL_H

#include "qc/Runtime/Threads/Team.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace qc::rt {

/// CPUs that this process may run on (its affinity mask).
int64_t availableCPUs();

/// Threads that live as long as the model. The thread that calls run() is
/// thread 0. One caller at a time.
class ThreadPool {
public:
  /// A team of `threads` >= 1, the calling thread included. With `pin`, worker
  /// i stays on the i-th CPU of the affinity mask. Null and one line in `error`
  /// if the system does not grant the threads.
  static std::unique_ptr<ThreadPool> create(int64_t threads, bool pin,
                                            std::string &error);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int64_t size() const { return count; }
  /// What generated code passes to qc_barrier and qc_claim.
  void *team() { return &shared; }

  /// Calls job(thread) on every thread, or for thread < `number` on the caller
  /// and those workers that least had to wait for a CPU. Returns when all are
  /// done. Allocates nothing.
  template <typename Job>
  void run(const Job &job, int64_t number) {
    runJob([](const void *context,
              int64_t thread) { (*static_cast<const Job *>(context))(thread); },
           &job, number);
  }
  template <typename Job>
  void run(const Job &job) {
    run(job, count);
  }

  /// How long the threads of the last run() were ready but without a CPU.
  struct Waits {
    double seconds = 0;  ///< added up
    int64_t threads = 0; ///< who waited at least the given time
  };
  Waits waits(double least) const;

private:
  using JobFn = void (*)(const void *context, int64_t thread);
  using Clock = std::chrono::steady_clock;

  /// A thread; the first is the caller.
  struct alignas(64) Member {
    std::atomic<uint32_t> ticket{0}; ///< jobs given so far
    std::atomic<int32_t> asleep{0};
    int64_t index = 0; ///< in this job
    // As of the end of its last job.
    double cpuSeconds = 0;
    int64_t preemptions = 0, majorFaults = 0;
    double waited = 0;  ///< in its last job
    double average = 0; ///< of late
    void measure(Clock::time_point start);
  };

  explicit ThreadPool(int64_t threads);
  void runJob(JobFn fn, const void *context, int64_t number);
  void work(Member &self);

  const int64_t count, cpus;
  const int spinLimit; ///< pauses before a worker sleeps
  Team shared;
  SpinBarrier finish;
  std::unique_ptr<Member[]> members;
  std::vector<Member *> order; ///< workers as they are called, least busy first
  int64_t called = 0;          ///< threads of the last job
  JobFn job = nullptr;         ///< published by `ticket`
  const void *jobContext = nullptr;
  Clock::time_point jobStart;
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
};

} // namespace qc::rt

#endif // QC_RUNTIME_THREADS_THREADPOOL_H
