//===- Continuation.h - Tokens one after the other --------------*- C++ -*-===//
#ifndef QC_RUNTIME_SESSION_CONTINUATION_H
#define QC_RUNTIME_SESSION_CONTINUATION_H

#include "qc/Runtime/Sampling/Sampler.h"
#include "qc/Runtime/Session/Session.h"

namespace qc::rt {

/// Continues the sequence of a session by what a sampler draws. Where the
/// device chooses among the logits and the sampler asks for no more, the same
/// tokens come with fewer bytes from it; the most likely ones some steps ahead.
///
///   begin(prompt); while (... next() ...) accept(it)
class Continuation {
public:
  Continuation(Session &session, Sampler &sampler);
  /// Takes back the steps that ran ahead.
  ~Continuation() { session.truncate(used); }
  Continuation(const Continuation &) = delete;
  Continuation &operator=(const Continuation &) = delete;

  /// Appends `ids`. False as Session::append().
  bool begin(std::span<const int32_t> ids, std::string &error);
  /// Draws the next token after `history`, once each; -1 if the logits are not
  /// numbers.
  int32_t next(std::span<const int32_t> history);
  /// Appends what next() said; `more` tokens are wanted after it, -1: no limit.
  bool accept(int32_t id, int64_t more, std::string &error);
  /// Tokens in the sequence.
  int64_t position() const { return used; }

private:
  Session &session;
  Sampler &sampler;
  bool onDevice; ///< for single tokens
  int64_t used;
  const float *logits = nullptr; ///< of the last token, or
  bool hasTop = false;           ///< its candidates, or
  QCDeviceTop top;
  int32_t ahead[QC_RECENT_TOKENS]; ///< the tokens after it, [taken, count)
  size_t taken = 0, count = 0;
};

} // namespace qc::rt

#endif // QC_RUNTIME_SESSION_CONTINUATION_H
