//===- DeviceAttention.h - Attention on a GPU against softmax ---*- C++ -*-===//
#ifndef QC_TEST_UNIT_TARGET_DEVICEATTENTION_H
#define QC_TEST_UNIT_TARGET_DEVICEATTENTION_H

#include "DeviceKernels.h"

#include <optional>

namespace qc::test {

struct AttentionCase {
  const char *element; ///< of the KV cache: f32, f16 or i8
  int64_t headDim, heads, cacheHeads;
  std::optional<int64_t> window = std::nullopt;
};

/// GoogleTest failures if attention over the KV cache is further from softmax
/// in double than its roundings take it: steps of 62, 17, 64, 70, 129, 1 and 5
/// tokens, one behind the other. `isHalf`: the target multiplies f16 (queries
/// and probabilities are rounded), else f32.
void checkAttention(const DeviceTarget &target, const AttentionCase &attention,
                    Arithmetic arithmetic, bool isHalf);

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_DEVICEATTENTION_H
