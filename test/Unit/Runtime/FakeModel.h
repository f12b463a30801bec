//===- FakeModel.h - A toy model with hand-written steps --------*- C++ -*-===//
//
// Logits of the token at position p, id i, with j the id at p - 1 (or 0):
//
//   logits[v] = W[i][v] + 0.5 * W[j][(v + p) % vocabulary]
//
// so they depend on the weights, on the KV cache and on the position. Tests
// compute the same from this formula alone.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TEST_RUNTIME_FAKEMODEL_H
#define QC_TEST_RUNTIME_FAKEMODEL_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fake {

inline constexpr int64_t vocabulary = 512; ///< of examples/stories260K
inline constexpr int64_t positions = 512, maxTokens = 32;
inline constexpr int64_t kvBytesPerToken = 64;

/// W [vocabulary, vocabulary], multiples of 1/64 in [-8, 8): every logit is
/// exact in float.
inline std::vector<float> weights() {
  std::vector<float> w(vocabulary * vocabulary);
  uint32_t state = 1;
  for (float &value : w) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state >> 22) - 512) / 64;
  }
  return w;
}

/// Row [vocabulary] of token `index` of `ids`.
inline std::vector<float> logits(const std::vector<float> &w,
                                 const std::vector<int32_t> &ids,
                                 int64_t index) {
  int64_t previous = index ? ids[static_cast<std::size_t>(index - 1)] : 0;
  std::vector<float> row(vocabulary);
  for (int64_t v = 0; v < vocabulary; ++v)
    row[static_cast<std::size_t>(v)] =
        w[static_cast<std::size_t>(
            ids[static_cast<std::size_t>(index)] * vocabulary + v)] +
        0.5f * w[static_cast<std::size_t>(previous * vocabulary +
                                          (v + index) % vocabulary)];
  return row;
}

} // namespace fake

#endif // QC_TEST_RUNTIME_FAKEMODEL_H
