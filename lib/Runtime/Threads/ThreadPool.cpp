//===- ThreadPool.cpp - The team that runs generated code -----------------===//
#include "qc/Runtime/Threads/ThreadPool.h"

#include "qc/Runtime/ModelABI.h"

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

using namespace qc::rt;

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

static void futexWait(std::atomic<uint32_t> &word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE,
          value, nullptr, nullptr, 0);
}

static void futexWake(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE,
          INT_MAX, nullptr, nullptr, 0);
}

// A kernel of the decode step takes 10 to 1000 microseconds: spinning for
// about 100 covers uneven shares; who waits longer is waiting for a thread that
// has no core, and sleeps: spinning on would spend the share of CPU time that
// the team needs to catch up, and sched_yield() gives a whole time slice away.
static constexpr int patientSpins = 4000;
static constexpr int crowdedSpins = 20;

void SpinBarrier::wait() {
  if (threads == 1)
    return;
  uint32_t own = generation.load(std::memory_order_relaxed);
  if (arrived.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
    arrived.store(0, std::memory_order_relaxed);
    // Sequentially consistent with the sleepers: either they are seen here and
    // woken, or their futex sees the new generation.
    generation.store(own + 1, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) > 0)
      futexWake(generation);
    return;
  }
  for (int spins = 0; generation.load(std::memory_order_acquire) == own;) {
    if (spins < spinLimit) {
      ++spins;
      relax();
      continue;
    }
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    futexWait(generation, own);
    sleepers.fetch_sub(1, std::memory_order_seq_cst);
  }
}

extern "C" void qc_barrier(void *team) {
  static_cast<SpinBarrier *>(team)->wait();
}

int64_t qc::rt::availableCPUs() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return CPU_COUNT(&set);
  // More CPUs than cpu_set_t has room for.
  return std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
}

/// Best effort: where it is refused, the scheduler places the thread.
static void pinWorker(pthread_t thread, int64_t index) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return;
  int64_t wanted = index % std::max(1, CPU_COUNT(&set));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set) || wanted-- != 0)
      continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(thread, sizeof one, &one);
    return;
  }
}

namespace {
/// Signals such as SIGINT go to threads that wait for them, never to a worker:
/// threads inherit the mask of who starts them.
class SignalsBlocked {
public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (int fault : {SIGBUS, SIGFPE, SIGILL, SIGSEGV})
      sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &old);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &old, nullptr); }

private:
  sigset_t old;
};
} // namespace

ThreadPool::ThreadPool(int64_t threads, int spinLimit)
    : count(threads), spinLimit(spinLimit), barrier(threads, spinLimit),
      finish(threads, spinLimit) {}

std::unique_ptr<ThreadPool> ThreadPool::create(int64_t threads, bool pin,
                                               std::string &error) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool(
      threads, threads <= availableCPUs() ? patientSpins : crowdedSpins));
  pool->workers.reserve(static_cast<size_t>(threads - 1));
  ThreadPool *self = pool.get();
  SignalsBlocked blocked;
  for (int64_t i = 1; i < threads; ++i) {
    try {
      self->workers.emplace_back([self, i] { self->work(i); });
    } catch (const std::system_error &failure) {
      error = "cannot start thread " + std::to_string(i + 1) + " of " +
              std::to_string(threads) + " (" +
              std::strerror(failure.code().value()) +
              "): use a smaller --threads";
      return nullptr;
    }
    if (pin)
      pinWorker(self->workers.back().native_handle(), i);
  }
  return pool;
}

ThreadPool::~ThreadPool() {
  stop.store(true, std::memory_order_release);
  ticket.fetch_add(1, std::memory_order_seq_cst);
  futexWake(ticket);
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::work(int64_t thread) {
  for (uint32_t seen = 0;;) {
    // While text is generated the next token follows at once.
    int spins = 0;
    while (ticket.load(std::memory_order_acquire) == seen) {
      if (spins < spinLimit) {
        ++spins;
        relax();
        continue;
      }
      // Sequentially consistent with runJob(): either it sees a sleeper and
      // wakes it, or the futex sees the new ticket and does not sleep.
      sleepers.fetch_add(1, std::memory_order_seq_cst);
      futexWait(ticket, seen);
      sleepers.fetch_sub(1, std::memory_order_seq_cst);
    }
    ++seen;
    if (stop.load(std::memory_order_acquire))
      return;
    job(jobContext, thread);
    finish.wait();
  }
}

void ThreadPool::runJob(JobFn fn, const void *context) {
  if (count == 1)
    return fn(context, 0);
  job = fn;
  jobContext = context;
  ticket.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) > 0)
    futexWake(ticket);
  fn(context, 0);
  finish.wait();
}
