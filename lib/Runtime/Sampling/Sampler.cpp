//===- Sampler.cpp - From logits to the next token ------------------------===//
#include "qc/Runtime/Sampling/Sampler.h"

#include <algorithm>
#include <cmath>

using namespace qc::rt;

Sampler::Sampler(const SamplerOptions &options)
    : options(options), state(options.seed) {}

// SplitMix64 (Steele, Lea, Flood 2014).
double Sampler::uniform() {
  uint64_t z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

void Sampler::penalize(std::span<const int32_t> history) {
  if (options.repetitionPenalty == 1.0 || options.penaltyWindow <= 0)
    return;
  size_t window =
      std::min(history.size(), static_cast<size_t>(options.penaltyWindow));
  // A token counts once, however often it was seen.
  seen.assign(history.end() - static_cast<long>(window), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (int32_t id : seen) {
    if (id < 0 || static_cast<size_t>(id) >= candidates.size())
      continue;
    double &value = candidates[static_cast<size_t>(id)].value;
    value = value > 0 ? value / options.repetitionPenalty
                      : value * options.repetitionPenalty;
  }
}

/// Ties go to the lower id, so that the order is the same everywhere.
static bool before(const Sampler::Candidate &a, const Sampler::Candidate &b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

std::span<const Sampler::Candidate>
Sampler::distribution(const float *logits, int64_t size,
                      std::span<const int32_t> history) {
  candidates.resize(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) {
    float value = logits[i];
    // -inf is a token that a model forbids; NaN and +inf are broken arithmetic.
    if (!(value <= 3.4028235e38f))
      return {};
    candidates[static_cast<size_t>(i)] = {static_cast<int32_t>(i), value};
  }
  penalize(history);
  return filter();
}

std::span<const Sampler::Candidate> Sampler::filter() {
  auto best = std::min_element(candidates.begin(), candidates.end(), before);
  if (best == candidates.end() || std::isinf(best->value))
    return {};
  if (options.temperature == 0) {
    candidates[0] = {best->id, 1.0};
    return {candidates.data(), 1};
  }

  auto byLogit = [&](size_t keep) {
    std::partial_sort(candidates.begin(),
                      candidates.begin() + static_cast<long>(keep),
                      candidates.end(), before);
    candidates.resize(keep);
  };
  double top = best->value;
  if (options.topK > 0 &&
      options.topK < static_cast<int64_t>(candidates.size()))
    byLogit(static_cast<size_t>(options.topK));
  double total = 0; // over what top-k left
  for (const Candidate &candidate : candidates)
    total += std::exp(candidate.value - top);
  // top-p and min-p both keep a prefix of the sorted list, the shorter one
  // decides. So min-p may go first, where it saves sorting a whole vocabulary.
  if (options.minP > 0)
    std::erase_if(candidates, [&](const Candidate &candidate) {
      return std::exp(candidate.value - top) < options.minP;
    });
  byLogit(candidates.size());
  if (options.topP < 1) {
    double sum = 0;
    size_t keep = 0;
    while (keep < candidates.size() &&
           (keep == 0 || sum < options.topP * total))
      sum += std::exp(candidates[keep++].value - top);
    candidates.resize(keep);
  }
  double sum = 0;
  for (Candidate &candidate : candidates)
    sum += candidate.value =
        std::exp((candidate.value - top) / options.temperature);
  for (Candidate &candidate : candidates)
    candidate.value /= sum;
  return candidates;
}

int32_t Sampler::sample(const float *logits, int64_t size,
                        std::span<const int32_t> history) {
  return draw(distribution(logits, size, history));
}

int32_t Sampler::sampleTop(std::span<const float> logits,
                           std::span<const int32_t> ids) {
  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] <= 3.4028235e38f))
      return -1;
    candidates.push_back({ids[i], logits[i]});
  }
  return draw(filter());
}

int32_t Sampler::draw(std::span<const Candidate> choices) {
  if (choices.empty())
    return -1;
  if (options.temperature == 0)
    return choices[0].id;
  double at = uniform();
  for (const Candidate &candidate : choices) {
    if (at < candidate.value)
      return candidate.id;
    at -= candidate.value;
  }
  // Rounding left a little behind the last one.
  return choices.back().id;
}
