//===- ThreadPool.cpp - The team that runs generated code -----------------===//
#include "qc/Runtime/Threads/ThreadPool.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

using namespace qc::rt;

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// A kernel of the decode step takes 10 to 1000 microseconds: spinning for
// about 100 covers uneven shares; who waits longer is likely waiting for a
// thread that has no core. Yielding, not sleeping: a core that sleeps is given
// to other programs, and getting it back takes a time slice at each barrier.
static constexpr int patientSpins = 4000;
static constexpr int crowdedSpins = 20;

int64_t qc::rt::availableCPUs() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return CPU_COUNT(&set);
  // More CPUs than cpu_set_t has room for.
  return std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
}

static void futexWait(std::atomic<uint32_t> &word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE,
          value, nullptr, nullptr, 0);
}

static void futexWake(std::atomic<uint32_t> &word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE,
          INT_MAX, nullptr, nullptr, 0);
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

ThreadPool::ThreadPool(int64_t threads)
    : count(threads), cpus(availableCPUs()),
      spinLimit(threads <= cpus ? patientSpins : crowdedSpins), shared(threads),
      members(new Member[static_cast<size_t>(threads)]) {}

std::unique_ptr<ThreadPool> ThreadPool::create(int64_t threads, bool pin,
                                               std::string &error) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool(threads));
  pool->workers.reserve(static_cast<size_t>(threads - 1));
  pool->order.reserve(static_cast<size_t>(threads - 1));
  ThreadPool *self = pool.get();
  SignalsBlocked blocked;
  for (int64_t i = 1; i < threads; ++i) {
    Member *member = &self->members[static_cast<size_t>(i)];
    try {
      self->workers.emplace_back([self, member] { self->work(*member); });
    } catch (const std::system_error &failure) {
      error = "cannot start thread " + std::to_string(i + 1) + " of " +
              std::to_string(threads) + " (" +
              std::strerror(failure.code().value()) +
              "): use a smaller --threads";
      return nullptr;
    }
    self->order.push_back(member);
    if (pin)
      pinWorker(self->workers.back().native_handle(), i);
  }
  return pool;
}

ThreadPool::~ThreadPool() {
  stop.store(true, std::memory_order_release);
  for (Member *member : order) {
    member->ticket.fetch_add(1, std::memory_order_seq_cst);
    futexWake(member->ticket);
  }
  for (std::thread &worker : workers)
    worker.join();
}

/// Since the job was given this thread either ran, or slept until it was woken,
/// or waited for a disk, or for a CPU: the rest, where it was preempted.
void ThreadPool::Member::measure(Clock::time_point start) {
  rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) != 0)
    return;
  auto seconds = [](const timeval &t) {
    return static_cast<double>(t.tv_sec) +
           1e-6 * static_cast<double>(t.tv_usec);
  };
  double cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  double wall = std::chrono::duration<double>(Clock::now() - start).count();
  bool crowded =
      usage.ru_nivcsw != preemptions && usage.ru_majflt == majorFaults;
  waited = crowded ? std::max(0.0, wall - (cpu - cpuSeconds)) : 0;
  average = 0.9 * average + 0.1 * waited;
  cpuSeconds = cpu;
  preemptions = usage.ru_nivcsw;
  majorFaults = usage.ru_majflt;
}

ThreadPool::Waits ThreadPool::waits(double least) const {
  Waits result;
  for (int64_t i = 0; i < called; ++i) {
    double waited =
        i ? order[static_cast<size_t>(i - 1)]->waited : members[0].waited;
    result.seconds += waited;
    result.threads += waited >= least;
  }
  return result;
}

void ThreadPool::work(Member &self) {
  for (uint32_t seen = 0;;) {
    // While text is generated the next token follows at once.
    int spins = 0;
    while (self.ticket.load(std::memory_order_acquire) == seen) {
      if (spins < spinLimit) {
        ++spins;
        relax();
        continue;
      }
      // Sequentially consistent with runJob(): either it sees the sleeper and
      // wakes it, or the futex sees the new ticket and does not sleep.
      self.asleep.store(1, std::memory_order_seq_cst);
      futexWait(self.ticket, seen);
      self.asleep.store(0, std::memory_order_seq_cst);
    }
    ++seen;
    if (stop.load(std::memory_order_acquire))
      return;
    job(jobContext, self.index);
    self.measure(jobStart);
    finish.wait();
  }
}

void ThreadPool::runJob(JobFn fn, const void *context, int64_t number) {
  if (number != called) {
    // Who stays behind is who had to wait most: it may be pinned to a CPU that
    // others use.
    std::sort(order.begin(), order.end(), [](const Member *a, const Member *b) {
      return std::pair(a->average, a) < std::pair(b->average, b);
    });
    called = number;
    int limit = number <= cpus ? patientSpins : crowdedSpins;
    shared.setThreads(number, limit);
    finish.setThreads(number, limit);
  }
  job = fn;
  jobContext = context;
  jobStart = Clock::now();
  for (int64_t i = 1; i < number; ++i) {
    Member &member = *order[static_cast<size_t>(i - 1)];
    member.index = i;
    member.ticket.fetch_add(1, std::memory_order_seq_cst);
    if (member.asleep.load(std::memory_order_seq_cst))
      futexWake(member.ticket);
  }
  fn(context, 0);
  members[0].measure(jobStart);
  finish.wait();
}
