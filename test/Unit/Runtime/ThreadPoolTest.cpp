//===- ThreadPoolTest.cpp - Barrier and team under stress -----------------===//
#include "qc/Runtime/Threads/ThreadPool.h"
#include "qc/Runtime/ModelABI.h"

#include <chrono>
#include <gtest/gtest.h>
#include <sched.h>

using namespace qc::rt;

namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

/// Plain, not atomic, variables on both sides of the barrier: a barrier that
/// lets somebody through early gives a wrong sum (and a report of TSan).
TEST_P(ThreadPoolTest, BarrierSeparatesPhases) {
  int64_t threads = GetParam();
  std::string error;
  auto pool = ThreadPool::create(threads, false, error);
  ASSERT_TRUE(pool) << error;
  ASSERT_EQ(pool->size(), threads);
  struct alignas(64) Slot {
    int64_t value = 0;
  };
  std::vector<Slot> slots(static_cast<size_t>(threads));
  std::vector<int64_t> wrong(static_cast<size_t>(threads));
  constexpr int64_t phases = 300;
  for (int64_t round = 0; round < 3; ++round)
    pool->run([&](int64_t thread) {
      auto own = static_cast<size_t>(thread);
      for (int64_t phase = 0; phase < phases; ++phase) {
        slots[own].value = phase * (thread + 1);
        qc_barrier(pool->team());
        int64_t sum = 0;
        for (const Slot &slot : slots)
          sum += slot.value;
        wrong[own] += sum != phase * threads * (threads + 1) / 2;
        qc_barrier(pool->team());
      }
    });
  for (int64_t count : wrong)
    EXPECT_EQ(count, 0);
}

TEST_P(ThreadPoolTest, EveryThreadRunsEveryJobOnce) {
  int64_t threads = GetParam();
  std::string error;
  auto pool = ThreadPool::create(threads, /*pin=*/true, error);
  ASSERT_TRUE(pool) << error;
  std::vector<int64_t> calls(static_cast<size_t>(threads));
  for (int64_t i = 0; i < 500; ++i) {
    pool->run([&](int64_t thread) { ++calls[static_cast<size_t>(thread)]; });
    // Long enough for workers to fall asleep now and then.
    if (i % 100 == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (int64_t count : calls)
    EXPECT_EQ(count, 500);
}

/// Teams of changing size: each job runs on exactly its threads, and their
/// barrier waits for no others.
TEST_P(ThreadPoolTest, TeamsOfChangingSize) {
  int64_t threads = GetParam();
  std::string error;
  auto pool = ThreadPool::create(threads, /*pin=*/true, error);
  ASSERT_TRUE(pool) << error;
  std::vector<int64_t> calls(static_cast<size_t>(threads)), expected = calls;
  std::vector<int64_t> wrong = calls;
  for (int64_t i = 0; i < 400; ++i) {
    int64_t team = 1 + i * 7 % threads;
    std::atomic<int64_t> arrived = 0;
    pool->run(
        [&](int64_t thread) {
          auto own = static_cast<size_t>(thread);
          ++calls[own];
          ++arrived;
          qc_barrier(pool->team());
          wrong[own] += arrived != team;
        },
        team);
    for (int64_t thread = 0; thread < team; ++thread)
      ++expected[static_cast<size_t>(thread)];
    EXPECT_GE(pool->waits(0).seconds, 0);
    EXPECT_EQ(pool->waits(0).threads, team);
  }
  EXPECT_EQ(calls, expected);
  for (int64_t count : wrong)
    EXPECT_EQ(count, 0);
}

/// Whatever the threads' pace, each item is given out once, to one thread;
/// nothing is left of the kernel before.
TEST_P(ThreadPoolTest, ClaimsCoverAllItemsOnce) {
  int64_t threads = GetParam();
  std::string error;
  auto pool = ThreadPool::create(threads, false, error);
  ASSERT_TRUE(pool) << error;
  for (int64_t items : {1, 2, 7, 64, 1000, 70000 * 8})
    for (int64_t least : {int64_t(1), int64_t(5), items}) {
      std::vector<std::atomic<int32_t>> given(static_cast<size_t>(items));
      std::atomic<int64_t> bad = 0;
      constexpr int rounds = 3;
      int64_t team = 1 + (items + least) % threads;
      pool->run(
          [&](int64_t thread) {
            for (int round = 0; round < rounds; ++round) {
              int64_t claim;
              while ((claim = qc_claim(pool->team(), thread, team, items,
                                       least)) >= 0) {
                int64_t begin = claim & 0xffffffff, end = claim >> 32;
                bad += begin >= end || end > items;
                for (int64_t i = begin; i < end; ++i)
                  ++given[static_cast<size_t>(i)];
                if (thread == 0)
                  sched_yield();
              }
              qc_barrier(pool->team());
            }
          },
          team);
      EXPECT_EQ(bad, 0);
      int64_t wrong = 0;
      for (auto &count : given)
        wrong += count != rounds;
      EXPECT_EQ(wrong, 0) << items << " items, at least " << least;
    }
}

/// A thread that does not come does not hold up what it has not begun.
TEST_P(ThreadPoolTest, ClaimsTakeOverFromSlowThreads) {
  int64_t threads = GetParam();
  std::string error;
  auto pool = ThreadPool::create(threads, false, error);
  ASSERT_TRUE(pool) << error;
  constexpr int64_t items = 800;
  std::atomic<int64_t> done = 0;
  std::atomic<bool> all = false;
  pool->run([&](int64_t thread) {
    // Thread 0 alone has to finish, or the others would wait forever.
    while (thread != 0 && !all)
      sched_yield();
    int64_t claim;
    while ((claim = qc_claim(pool->team(), thread, threads, items, 1)) >= 0)
      done += (claim >> 32) - (claim & 0xffffffff);
    if (thread == 0)
      all = true;
  });
  EXPECT_EQ(done, items);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Range(1, 9));

TEST(AvailableCPUsTest, FollowsTheAffinityMask) {
  cpu_set_t old, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof old, &old), 0);
  EXPECT_EQ(availableCPUs(), CPU_COUNT(&old));
  int cpu = 0;
  while (!CPU_ISSET(cpu, &old))
    ++cpu;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(availableCPUs(), 1);
  sched_setaffinity(0, sizeof old, &old);
}

} // namespace
