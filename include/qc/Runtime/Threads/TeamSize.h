//===- TeamSize.h - How many threads run the next step ----------*- C++ -*-===//
//
// Every kernel ends in a barrier, so a step runs at the pace of the thread that
// has to wait for its CPU. Where other programs take CPUs away, fewer threads
// are faster: the rest do not wait for one that does not run.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_THREADS_TEAMSIZE_H
#define QC_RUNTIME_THREADS_TEAMSIZE_H

#include <cstdint>

namespace qc::rt {

/// Tries another number of threads when it may pay and keeps what is faster:
/// fewer when threads waited for a CPU, all again after a while.
class TeamSize {
public:
  explicit TeamSize(int64_t most) : most(most), team(most) {}
  int64_t get() const { return team; }
  /// Share of a step without a CPU from which on a thread counts as disturbed.
  static constexpr double tolerated = 0.25;
  /// A step of `tokens` tokens by get() threads took `seconds`, in which they
  /// waited for a CPU for `waited` seconds together, `disturbed` of them for
  /// more than is tolerated.
  void observe(int64_t tokens, double seconds, double waited,
               int64_t disturbed);

private:
  void tryTeam(int64_t other, double pace);
  void startWindow(int64_t tokens);

  const int64_t most;
  int64_t team;
  // Steps of equally many tokens, looked at together.
  int64_t windowTokens = 0, steps = 0;
  double seconds = 0, waited = 0, disturbed = 0;
  // The team before the one on trial, 0 when there is no trial, and its seconds
  // a step.
  int64_t before = 0;
  double paceBefore = 0;
  double pause = 0;    ///< seconds until the next trial
  double patience = 0; ///< of the pause after the next trial
};

} // namespace qc::rt

#endif // QC_RUNTIME_THREADS_TEAMSIZE_H
