//===- AttentionEmitter.h - What kernels of attention share -----*- C++ -*-===//
#ifndef QC_TARGET_GPU_ATTENTIONEMITTER_H
#define QC_TARGET_GPU_ATTENTIONEMITTER_H

#include "Kernels.h"

namespace mlir::qc::gpu {

/// Where words of the cache are.
struct CacheAddress {
  GPUBuilder &b;
  const CacheLayout &cache;
  Value capacity;

  /// Word `word` of the key of `head` at `position`.
  Value key(Value head, Value position, Value word) {
    int64_t tile = CacheLayout::tile;
    Value inHead = b.add(b.mul(b.div(position, tile), cache.words() * tile),
                         b.add(b.mul(word, tile), b.rem(position, tile)));
    return b.add(b.mul(b.mul(head, capacity), cache.words()), inHead);
  }
  Value value(Value head, Value position, Value word) {
    Value row =
        b.add(b.mul(b.add(head, cache.type.getHeads()), capacity), position);
    return b.add(b.mul(row, cache.words()), word);
  }
  /// The word with the scale of an i8 key (row: head) or value (row: heads +
  /// head).
  Value scale(Value row, Value position) {
    int64_t rows = 2 * cache.type.getHeads();
    Value first = b.mul(capacity, rows * cache.words());
    return b.add(first, b.add(b.mul(row, capacity), position));
  }
};

/// An element of QCDeviceState, as an index.
inline Value stateIndex(GPUBuilder &b, Value state, int64_t field) {
  return b.toIndex(b.load(state, b.index(field)));
}

/// The first position that the one at `last` sees.
inline Value windowBegin(GPUBuilder &b, Value last,
                         std::optional<int64_t> window) {
  if (!window)
    return b.index(0);
  return b.max(b.sub(last, b.index(*window - 1)), b.index(0));
}

/// The cache and the shape of its heads in kernel names.
std::string cacheName(const CacheLayout &cache);
std::string attentionName(StringRef what, const CacheLayout &cache,
                          int64_t heads, double scale,
                          std::optional<int64_t> window);

/// A word of the cache from perWord() elements.
Value packElements(GPUBuilder &b, const KernelContext &ctx,
                   ArrayRef<Value> elements);

/// Attention of one head and token over the cached positions [begin, last] to
/// `out`, from `row` on. The head of the cache is `own`; `query` is in shared
/// memory, scaled, and threads that wrote it have met.
struct AttentionInput {
  Value memory, capacity, query, own, begin, last, out, row;
  /// Of a part of the positions, which may be empty: the output is the largest
  /// score, the sum of the exponentials, two words that nobody reads, and the
  /// weighted values, not divided by the sum.
  bool isPart = false;
  /// Threads that compute a score together, a power of two; needs
  /// KernelContext::hasWarps().
  int64_t perPosition = 1;
};
/// Words of a head in the output of a part.
inline int64_t partWords(const CacheLayout &cache) {
  return 4 + cache.type.getHeadDim();
}
class AttentionEmitter {
public:
  AttentionEmitter(GPUBuilder &b, const KernelContext &ctx,
                   const CacheLayout &cache, const AttentionInput &input)
      : b(b), ctx(ctx), cache(cache), in(input) {}

  void emit();

private:
  Value score(Value position);
  /// Of all threads.
  Value reduceMax(Value value);
  Value reduceSum(Value value);
  /// Sums of a word of the values, weighted by `probs`, of positions
  /// from `first` + `from` on, every `stride`-th, to `first` + `count`.
  SmallVector<Value> addValues(ValueRange sums, Value first, Value from,
                               Value count, int64_t stride, Value word);

  GPUBuilder &b;
  const KernelContext &ctx;
  const CacheLayout &cache;
  AttentionInput in;
  Value probs, scratch, sumScratch;
};

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_ATTENTIONEMITTER_H
