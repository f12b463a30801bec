//===- Sampler.h - From logits to the next token ----------------*- C++ -*-===//
//
// Filters run in the order of llama.cpp's default chain: repetition penalty,
// top-k, top-p, min-p, temperature; then one draw. (transformers divides by the
// temperature before top-k; with temperature 1 both are the same.) top-p and
// min-p look at probabilities at temperature 1, so a high temperature cannot
// bring back what they removed.
//
// Source: ggerganov/llama.cpp common/sampling.cpp, src/llama-sampling.cpp;
// huggingface/transformers generation/logits_process.py (penalty).
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_SAMPLING_SAMPLER_H
#define QC_RUNTIME_SAMPLING_SAMPLER_H

#include <cstdint>
#include <span>
#include <vector>

namespace qc::rt {

struct SamplerOptions {
  double temperature = 0.8; ///< 0: the most likely token
  int64_t topK = 40;        ///< 0: off
  double topP = 0.95;       ///< 1: off; Holtzman et al., arXiv 1904.09751
  double minP = 0.05;       ///< 0: off; Nguyen et al., arXiv 2407.01082
  /// 1: off; divides positive, multiplies negative logits of seen tokens
  /// (Keskar et al., arXiv 1909.05858).
  double repetitionPenalty = 1.0;
  int64_t penaltyWindow = 64; ///< last tokens that count as seen
  uint64_t seed = 0;
};

/// Deterministic for a seed: same logits, same tokens, on every machine. After
/// the first call it allocates nothing.
class Sampler {
public:
  explicit Sampler(const SamplerOptions &options);

  /// Next token for `logits` [size] after `history`; -1 if a logit is NaN or
  /// positive infinity. Equal logits: the lower id comes first.
  int32_t sample(const float *logits, int64_t size,
                 std::span<const int32_t> history);

  /// Whether sampleTop() with `n` candidates is what sample() is.
  bool needsOnlyTop(int64_t n) const {
    return options.repetitionPenalty == 1.0 &&
           (options.temperature == 0 ||
            (options.topK >= 1 && options.topK <= n));
  }
  bool isGreedy() const { return options.temperature == 0; }
  /// As sample(), from the candidates with the largest logits out of more,
  /// largest first, of equal ones the lower id first. With needsOnlyTop().
  int32_t sampleTop(std::span<const float> logits,
                    std::span<const int32_t> ids);

  struct Candidate {
    int32_t id;
    double value; ///< logit, later probability
  };
  /// What sample() draws from: tokens with their probabilities, most likely
  /// first, valid until the next call; empty where sample() returns -1.
  std::span<const Candidate> distribution(const float *logits, int64_t size,
                                          std::span<const int32_t> history);

private:
  /// Both on `candidates`.
  std::span<const Candidate> filter();
  int32_t draw(std::span<const Candidate> choices);
  double uniform(); ///< in [0, 1)
  void penalize(std::span<const int32_t> history);
  SamplerOptions options;
  uint64_t state;
  std::vector<Candidate> candidates;
  std::vector<int32_t> seen;
};

} // namespace qc::rt

#endif // QC_RUNTIME_SAMPLING_SAMPLER_H
