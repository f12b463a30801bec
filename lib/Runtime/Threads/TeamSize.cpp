//===- TeamSize.cpp - How many threads run the next step ------------------===//
#include "qc/Runtime/Threads/TeamSize.h"

#include <algorithm>
#include <cmath>

using namespace qc::rt;

// Some time slices of the scheduler (3 ms by default on Linux).
static constexpr double windowSeconds = 0.05;
// A trial of a worse size costs a window: one in ten, then ever fewer.
static constexpr double shortestPause = 0.5, longestPause = 8;
// How much shorter a step must be for fewer threads to be kept: speed varies.
static constexpr double gain = 0.95;

void TeamSize::startWindow(int64_t tokens) {
  windowTokens = tokens;
  steps = 0;
  seconds = waited = disturbed = 0;
}

void TeamSize::tryTeam(int64_t other, double pace) {
  before = team;
  paceBefore = pace;
  team = other;
}

void TeamSize::observe(int64_t tokens, double stepSeconds, double stepWaited,
                       int64_t stepDisturbed) {
  if (most == 1)
    return;
  if (tokens != windowTokens) {
    // Steps of different size do not compare: the trial is off.
    if (before)
      team = before;
    before = 0;
    startWindow(tokens);
  }
  ++steps;
  seconds += stepSeconds;
  waited += stepWaited;
  disturbed += static_cast<double>(stepDisturbed);
  pause -= stepSeconds;
  if (seconds < windowSeconds)
    return;
  double pace = seconds / static_cast<double>(steps);
  double missing = waited / seconds;
  double crowded = disturbed / static_cast<double>(steps);
  startWindow(tokens);
  if (before) {
    bool fewer = team < before;
    bool better = fewer ? pace < gain * paceBefore : gain * pace < paceBefore;
    if (!better)
      team = before;
    before = 0;
    patience = better && !fewer
                   ? 0
                   : std::clamp(2 * patience, shortestPause, longestPause);
    pause = patience;
    return;
  }
  if (pause > 0)
    return;
  if (team < most)
    return tryTeam(most, pace);
  if (missing < tolerated) {
    patience = 0;
    return;
  }
  // Others have the CPUs of those threads, unless all are disturbed: then there
  // are more threads than CPUs, by what is missing.
  double all = static_cast<double>(most) - 0.5;
  auto gone = std::lround(crowded < all ? crowded : missing);
  tryTeam(std::clamp<int64_t>(most - gone, 1, most - 1), pace);
}
