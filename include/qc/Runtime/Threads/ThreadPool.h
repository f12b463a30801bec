//===- ThreadPool.h - The team that runs generated code ---------*- C++ -*-===//
//
// Generated code is SPMD: all threads of a team enter a step function together
// and meet in qc_barrier between kernels, some hundred times a token. So the
// barrier spins, nothing here allocates or locks while a step runs, and threads
// sleep in the kernel (futex) only when nothing has followed for a while.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_THREADS_THREADPOOL_H
#define QC_RUNTIME_THREADS_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace qc::rt {

/// CPUs that this process may run on (its affinity mask).
int64_t availableCPUs();

/// Sense-reversing barrier: the last thread to arrive advances `generation`,
/// for which the others spin a while and then sleep. With more threads than
/// CPUs, spinning keeps the awaited thread off its core: then they sleep almost
/// at once.
class alignas(64) SpinBarrier {
public:
  SpinBarrier(int64_t threads, int spinLimit)
      : threads(threads), spinLimit(spinLimit) {}
  void wait();

private:
  const int64_t threads;
  const int spinLimit; ///< pauses before sleeping
  alignas(64) std::atomic<int64_t> arrived{0};
  alignas(64) std::atomic<uint32_t> generation{0};
  std::atomic<int32_t> sleepers{0}; ///< rarely written, read with generation
};

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
  /// What generated code passes to qc_barrier.
  void *team() { return &barrier; }

  /// Calls job(thread) on every thread and waits for all. Allocates nothing.
  template <typename Job>
  void run(const Job &job) {
    runJob([](const void *context,
              int64_t thread) { (*static_cast<const Job *>(context))(thread); },
           &job);
  }

private:
  using JobFn = void (*)(const void *context, int64_t thread);
  ThreadPool(int64_t threads, int spinLimit);
  void runJob(JobFn fn, const void *context);
  void work(int64_t thread);

  const int64_t count;
  const int spinLimit;
  SpinBarrier barrier, finish;
  JobFn job = nullptr; ///< published by `ticket`
  const void *jobContext = nullptr;
  alignas(64) std::atomic<uint32_t> ticket{0};
  alignas(64) std::atomic<int32_t> sleepers{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
};

} // namespace qc::rt

#endif // QC_RUNTIME_THREADS_THREADPOOL_H
