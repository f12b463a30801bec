//===- TeamSizeTest.cpp - Fewer threads while CPUs are missing ------------===//
#include "qc/Runtime/Threads/TeamSize.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace qc::rt;

namespace {

/// A machine: a step of `team` threads while `busy` of `cpus` CPUs run a
/// program of their own that gets half of each. One thread alone needs 24 ms.
struct Machine {
  int64_t cpus, busy = 0;

  void run(TeamSize &size, double seconds, int64_t tokens = 1) {
    for (used = 0; used < seconds;) {
      int64_t team = size.get();
      int64_t crowded = std::max<int64_t>(0, team + busy - cpus);
      // A static share each: the slowest thread counts.
      double step = 0.024 * static_cast<double>(tokens) /
                    static_cast<double>(team) * (crowded ? 2 : 1);
      size.observe(tokens, step, 0.5 * step * static_cast<double>(crowded),
                   crowded);
      used += step;
      done += static_cast<double>(tokens);
      lowest = std::min(lowest, team);
    }
  }

  double used = 0, done = 0;
  int64_t lowest = 1024;
};

TEST(TeamSizeTest, NobodyElse) {
  TeamSize size(4);
  Machine machine{.cpus = 4};
  machine.run(size, 20);
  EXPECT_EQ(machine.lowest, 4);
}

TEST(TeamSizeTest, LeavesABusyCPUAndComesBack) {
  TeamSize size(4);
  Machine machine{.cpus = 4, .busy = 1};
  machine.run(size, 1);
  EXPECT_EQ(size.get(), 3);
  machine.busy = 0;
  machine.run(size, 9);
  EXPECT_EQ(size.get(), 4);
  machine.lowest = 4;
  machine.run(size, 5);
  EXPECT_EQ(machine.lowest, 4);
}

TEST(TeamSizeTest, TrialsGetRarer) {
  TeamSize size(8);
  Machine machine{.cpus = 8, .busy = 2};
  machine.run(size, 60);
  // Six threads undisturbed would do 250 tokens a second, eight disturbed 167.
  double ideal = 60 * 6 / 0.024;
  EXPECT_GT(machine.done, 0.98 * ideal);
}

TEST(TeamSizeTest, KeepsAllWhenFewerAreNotFaster) {
  // One thread of two: no gain.
  TeamSize size(2);
  Machine machine{.cpus = 2, .busy = 1};
  machine.run(size, 1);
  EXPECT_EQ(machine.lowest, 1);
  EXPECT_EQ(size.get(), 2);
}

TEST(TeamSizeTest, MoreThreadsThanCPUs) {
  // Eight threads take turns on two CPUs: each waits three quarters of the
  // time, and each turn costs.
  TeamSize size(8);
  for (double used = 0; used < 1;) {
    int64_t team = size.get();
    double turns = static_cast<double>(std::max<int64_t>(team, 2)) / 2;
    double step = 0.024 / 2 * (turns > 1 ? 1.5 : 1);
    double waited = step * (1 - 1 / turns) * static_cast<double>(team);
    size.observe(1, step, waited, team > 2 ? team : 0);
    used += step;
  }
  EXPECT_EQ(size.get(), 2);
}

TEST(TeamSizeTest, AtLeastOne) {
  TeamSize size(3), one(1);
  for (int i = 0; i < 1000; ++i) {
    size.observe(1, 0.02, 0.06, 3);
    one.observe(1, 0.02, 0.06, 3);
    EXPECT_GE(size.get(), 1);
    EXPECT_EQ(one.get(), 1);
  }
}

TEST(TeamSizeTest, OtherStepsEndATrial) {
  TeamSize size(4);
  size.observe(1, 0.06, 0.03, 1);
  EXPECT_EQ(size.get(), 3);
  size.observe(128, 0.5, 0, 0);
  EXPECT_EQ(size.get(), 4);
}

} // namespace
