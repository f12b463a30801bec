//===- Continuation.cpp - Tokens one after the other ----------------------===//
#include "qc/Runtime/Session/Continuation.h"

using namespace qc::rt;

Continuation::Continuation(Session &session, Sampler &sampler)
    : session(session), sampler(sampler),
      onDevice(session.choosesOnDevice() &&
               sampler.needsOnlyTop(QC_TOP_CANDIDATES)),
      used(session.position()) {}

bool Continuation::begin(std::span<const int32_t> ids, std::string &error) {
  logits = session.append(ids, error);
  used = session.position();
  return logits;
}

int32_t Continuation::next(std::span<const int32_t> history) {
  if (taken < count)
    return ahead[taken++];
  if (hasTop)
    return sampler.sampleTop(top.logits, top.ids);
  return sampler.sample(logits, session.model().vocab_size, history);
}

bool Continuation::accept(int32_t id, int64_t more, std::string &error) {
  // The sequence has it already.
  if (used < session.position()) {
    ++used;
    return true;
  }
  bool good;
  if (onDevice && sampler.isGreedy() && session.goesAheadOnDevice()) {
    size_t most = more < 0 ? QC_RECENT_TOKENS
                           : static_cast<size_t>(std::clamp<int64_t>(
                                 more, 1, QC_RECENT_TOKENS));
    taken = 0;
    count = session.appendGreedy(id, std::span(ahead).first(most), error);
    good = count > 0;
  } else if (onDevice) {
    good = hasTop = session.appendTop(id, top, error);
  } else {
    good = logits = session.append(std::span(&id, 1), error);
  }
  used += good;
  return good;
}
