//===- Block.cpp - The threads of a block as fibers -----------------------===//
//
// Threads run one after the other, each until it waits or ends; then whatever
// is complete (a barrier, an exchange of a warp) is carried out, and they run
// on. Every other round goes through the threads backwards, so that code that
// lacks a barrier reads what was not written yet in one of two directions.
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

using namespace qc::test::nvvm;

Registers qc::test::nvvm::registers;

namespace {

enum class State { Runs, Warp, Barrier, Ended };

struct Thread {
#if defined(__x86_64__)
  void *stackPointer = nullptr;
#else
  ucontext_t context;
#endif
  State state = State::Runs;
  uint32_t tid[3] = {};
  const Definition *intrinsic = nullptr; ///< that it waits at
  Slots slots = nullptr;
  AsyncCopies copies;
};

constexpr size_t stackBytes = size_t(128) << 10, maxThreads = 1024;

/// Stacks, made once, and the threads of the block that runs.
struct Fibers {
  char *stacks = nullptr;
  std::vector<Thread> threads;
  Thread scheduler, *running = nullptr;
  void (*code)(void **) = nullptr;
  void **parameters = nullptr;
};
Fibers fibers;

} // namespace

#if defined(__x86_64__)
// Saves what a callee must keep (System V ABI), changes stacks.
extern "C" void qcSwitchFiber(void **from, void *to);
asm(R"(
  .text
  .p2align 4
  .type qcSwitchFiber, @function
qcSwitchFiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size qcSwitchFiber, . - qcSwitchFiber
)");

static void change(Thread &from, Thread &to) {
  qcSwitchFiber(&from.stackPointer, to.stackPointer);
}
#else
static void change(Thread &from, Thread &to) {
  swapcontext(&from.context, &to.context);
}
#endif

static void beginThread() {
  fibers.code(fibers.parameters);
  fibers.running->state = State::Ended;
  change(*fibers.running, fibers.scheduler);
  std::abort();
}

static void prepare(Thread &thread, size_t index) {
  char *stack = fibers.stacks + index * stackBytes;
  thread.state = State::Runs;
  thread.copies = {};
#if defined(__x86_64__)
  // As if beginThread had been called: its stack is 16 bytes aligned less the
  // return address; six registers lie below the address that `ret` takes.
  auto **top = reinterpret_cast<void **>(stack + stackBytes) - 2;
  *top = reinterpret_cast<void *>(beginThread);
  thread.stackPointer = top - 6;
#else
  getcontext(&thread.context);
  thread.context.uc_stack.ss_sp = stack;
  thread.context.uc_stack.ss_size = stackBytes;
  makecontext(&thread.context, beginThread, 0);
#endif
}

static void resume(size_t index) {
  Thread &thread = fibers.threads[index];
  std::memcpy(registers.tid, thread.tid, sizeof(thread.tid));
  registers.laneid = static_cast<uint32_t>(index % 32);
  registers.warpid = static_cast<uint32_t>(index / 32);
  fibers.running = &thread;
  change(fibers.scheduler, thread);
}

void qc::test::nvvm::callIntrinsic(const Definition *intrinsic, Slots slots) {
  if (intrinsic->kind == Definition::Kind::Local) {
    intrinsic->local(slots);
    return;
  }
  Thread &thread = *fibers.running;
  thread.intrinsic = intrinsic;
  thread.slots = slots;
  thread.state =
      intrinsic->kind == Definition::Kind::Warp ? State::Warp : State::Barrier;
  change(thread, fibers.scheduler);
}

AsyncCopies &qc::test::nvvm::asyncCopies() { return fibers.running->copies; }

void AsyncCopies::wait(size_t most) {
  while (groups.size() > most) {
    for (const AsyncCopy &copy : groups.front()) {
      std::memcpy(copy.to, copy.from, copy.bytes);
      std::memset(static_cast<char *>(copy.to) + copy.bytes, 0, copy.filled);
    }
    groups.pop_front();
  }
}

static uint32_t maskOf(const Thread &thread) {
  return thread.intrinsic->mask < 0
             ? ~0u
             : static_cast<uint32_t>(thread.slots[thread.intrinsic->mask]);
}

static const char *where(const Thread &thread) {
  switch (thread.state) {
  case State::Ended:
    return "it has ended";
  case State::Barrier:
    return "it waits at a barrier";
  case State::Warp:
    return "it waits in another exchange";
  case State::Runs:
    break;
  }
  return "it runs";
}

/// The exchange that thread `index` waits in: 1 carried out, 0 not complete,
/// -1 an error.
static int exchange(size_t index, std::string &missing) {
  Thread &thread = fibers.threads[index];
  uint32_t mask = maskOf(thread);
  size_t first = index / 32 * 32;
  const std::string &name = thread.intrinsic->name;
  char text[16];
  std::snprintf(text, sizeof(text), "0x%x", mask);
  if (!(mask >> (index % 32) & 1)) {
    missing = name + ", mask " + text + ": lane " + std::to_string(index % 32) +
              " itself is not in the mask";
    return -1;
  }
  Lanes lanes = {};
  for (size_t lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1))
      continue;
    std::string begin = name + ", mask " + text + ": lane " +
                        std::to_string(lane) + " of warp " +
                        std::to_string(index / 32) + " is missing, ";
    if (first + lane >= fibers.threads.size()) {
      missing = begin + "the block has no such thread";
      return 0;
    }
    const Thread &other = fibers.threads[first + lane];
    if (other.state != State::Warp || other.intrinsic != thread.intrinsic ||
        maskOf(other) != mask) {
      missing = begin + where(other);
      return 0;
    }
    lanes[lane] = other.slots;
  }
  if (!thread.intrinsic->warp(lanes)) {
    missing = name + ", mask " + text +
              ": a lane reads from one that does not take part";
    return -1;
  }
  for (size_t lane = 0; lane < 32; ++lane)
    if (lanes[lane])
      fibers.threads[first + lane].state = State::Runs;
  return 1;
}

static bool meet(size_t index, std::string &missing) {
  const Definition *intrinsic = fibers.threads[index].intrinsic;
  Slots slots = fibers.threads[index].slots;
  uint64_t number = static_cast<uint32_t>(slots[intrinsic->barrier]);
  uint64_t wanted = intrinsic->count < 0
                        ? fibers.threads.size()
                        : static_cast<uint32_t>(slots[intrinsic->count]);
  std::vector<Thread *> arrived;
  for (size_t i = 0; i < fibers.threads.size(); ++i) {
    Thread &thread = fibers.threads[i];
    if (thread.state == State::Barrier && thread.intrinsic == intrinsic &&
        static_cast<uint32_t>(thread.slots[intrinsic->barrier]) == number)
      arrived.push_back(&thread);
    else if (missing.empty())
      missing = "barrier " + std::to_string(number) + " of " +
                std::to_string(wanted) + " threads: thread " +
                std::to_string(i) + " does not reach it, " + where(thread);
  }
  if (arrived.size() != wanted)
    return false;
  if (intrinsic->reduce) {
    int value = std::max(intrinsic->barrier, intrinsic->count) + 1;
    uint64_t result = arrived.front()->slots[value];
    for (size_t i = 1; i < arrived.size(); ++i)
      result = intrinsic->reduce(result, arrived[i]->slots[value]);
    for (Thread *thread : arrived)
      thread->slots[value + 1] = result;
  }
  for (Thread *thread : arrived)
    thread->state = State::Runs;
  return true;
}

bool qc::test::nvvm::runBlock(void (*code)(void **), void **parameters,
                              const std::string &what, std::string &error) {
  size_t count =
      size_t(registers.ntid[0]) * registers.ntid[1] * registers.ntid[2];
  if (!fibers.stacks) {
    void *memory =
        mmap(nullptr, maxThreads * stackBytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      error = "no memory for stacks";
      return false;
    }
    fibers.stacks = static_cast<char *>(memory);
  }
  if (count > maxThreads) {
    error = what + ": " + std::to_string(count) + " threads in a block";
    return false;
  }
  fibers.code = code;
  fibers.parameters = parameters;
  fibers.threads.resize(count);
  for (size_t i = 0; i < count; ++i) {
    Thread &thread = fibers.threads[i];
    thread.tid[0] = static_cast<uint32_t>(i) % registers.ntid[0];
    thread.tid[1] =
        static_cast<uint32_t>(i) / registers.ntid[0] % registers.ntid[1];
    thread.tid[2] =
        static_cast<uint32_t>(i) / registers.ntid[0] / registers.ntid[1];
    prepare(thread, i);
  }
  for (bool backwards = false;; backwards = !backwards) {
    for (size_t i = 0; i < count; ++i) {
      size_t index = backwards ? count - 1 - i : i;
      if (fibers.threads[index].state == State::Runs)
        resume(index);
    }
    bool moved = false, left = false;
    std::string problem;
    for (size_t i = 0; i < count; ++i) {
      State state = fibers.threads[i].state;
      left |= state != State::Ended;
      std::string missing;
      int done = 0;
      if (state == State::Warp)
        done = exchange(i, missing);
      else if (state == State::Barrier && !moved)
        done = meet(i, missing);
      moved |= done > 0;
      if (problem.empty() || done < 0)
        problem = missing;
      if (done < 0) {
        moved = false;
        break;
      }
      // One look at a barrier that is not complete is enough.
      if (state == State::Barrier && done == 0)
        while (
            i + 1 < count && fibers.threads[i + 1].state == State::Barrier &&
            fibers.threads[i + 1].intrinsic == fibers.threads[i].intrinsic &&
            fibers.threads[i + 1].slots[fibers.threads[i].intrinsic->barrier] ==
                fibers.threads[i].slots[fibers.threads[i].intrinsic->barrier])
          ++i;
    }
    if (!left)
      return true;
    if (!moved) {
      error = what + ", block (" + std::to_string(registers.ctaid[0]) + ", " +
              std::to_string(registers.ctaid[1]) + ", " +
              std::to_string(registers.ctaid[2]) + "): " + problem;
      return false;
    }
  }
}
