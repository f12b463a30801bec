//===- AttentionBlocks.h - Keys and values in shared memory -----*- C++ -*-===//
#ifndef QC_TARGET_GPU_ATTENTIONBLOCKS_H
#define QC_TARGET_GPU_ATTENTIONBLOCKS_H

#include "AttentionEmitter.h"

namespace mlir::qc::gpu {

/// Sizes of a block of the cache in shared memory, whose words are two f16.
struct BlockShape {
  int64_t words;     ///< of a head
  int64_t positions; ///< of a block
  int64_t rowWords;  ///< from one position to the next in the values

  explicit BlockShape(const CacheLayout &cache);
  int64_t tiles() const { return positions / CacheLayout::tile; }
};

/// Brings blocks of keys and values to shared memory, as f16: those of a cache
/// of f16 by cp.async, those of i8 through registers. All threads call each
/// function; finish...() gets what begin...() returned, and a barrier must
/// follow it.
class BlockLoader {
public:
  /// `own`: head of the cache; `last`: position behind which nothing is. Blocks
  /// begin at multiples of their size.
  BlockLoader(GPUBuilder &b, const CacheLayout &cache, Value memory,
              Value capacity, Value own, Value last);

  SmallVector<Value> beginKeys(Value first);
  void finishKeys(ValueRange fetched);
  SmallVector<Value> beginValues(Value first);
  void finishValues(ValueRange fetched);

  /// i32: words [tile][word][32], as in the cache.
  Value keys;
  /// f16: rows of shape.rowWords words. In a tile, position 8 q + 4 j + 2 u + e
  /// is row 16 j + 8 u + 2 q + e, so that the positions of a register of P are
  /// eight consecutive rows.
  Value values;

private:
  /// body(piece, exists) for each piece of a thread of a block, `exists` null
  /// if it always does; one that does not is the last one again.
  void forPieces(function_ref<void(Value piece, Value exists)> body);
  void ifExists(Value exists, function_ref<void()> body);
  void copy(Value from, Value target, Value to);
  /// Four elements of i8, times a scale, as two words of f16.
  std::pair<Value, Value> decode(Value codes, Value scale);

  Value valuePosition(Value piece, Value first);
  /// Word of the shared values that the piece begins at.
  Value targetOfValues(Value piece);

  GPUBuilder &b;
  const CacheLayout &cache;
  CacheAddress address;
  Value memory, own, last, valueWords;
  BlockShape shape;
  int64_t tilePieces, rowPieces; ///< of a tile of keys, of a row of values
};

/// Two f32 as a vector of two f16; such a vector as a word; a word as that.
Value toHalves(GPUBuilder &b, Value low, Value high);
Value asWord(GPUBuilder &b, Value halves);
Value asHalves(GPUBuilder &b, Value word);

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_ATTENTIONBLOCKS_H
