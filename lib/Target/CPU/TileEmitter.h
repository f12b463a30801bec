//===- TileEmitter.h - Products of row blocks and tokens --------*- C++ -*-===//
//
// The class of MatmulKernels.cpp, which says how products are computed, and of
// ReproducibleMatmul.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_TARGET_CPU_TILEEMITTER_H
#define QC_LIB_TARGET_CPU_TILEEMITTER_H

#include "Kernels.h"

namespace mlir::qc::cpu {

/// Parts of K that a GPU's workgroup sums up in parallel.
inline constexpr int64_t reproducibleShares = 4;

/// Emits the product of the lanes of one row block with a tile of tokens.
class TileEmitter {
public:
  /// `firstRow` of the row block is lane 0.
  TileEmitter(KernelBuilder &b, WeightType weight, Arithmetic arithmetic,
              const KernelTuning &tuning, Value weights, Value firstRow,
              ValueRange activations)
      : b(b), layout(weight.getLayout()),
        input(ActivationLayout::get(weight, arithmetic, tuning)),
        e{b,           b.getLoc(), weights, b.target.lanes,
          layout.rows, firstRow,   b.target},
        format(weight.getFormat()), arithmetic(arithmetic), tuning(tuning),
        activations(activations) {
    // Tokens are interleaved, see prepareKernel().
    if (input.tile)
      for (Value &part : this->activations)
        part = b.flatten(part);
  }

  /// Sums of `tokens` rows from `row` on: vector<lanes x f32> each. `header`
  /// and `rowBlock` are byte offsets of the weight and of the row block.
  SmallVector<Value> emit(Value header, Value rowBlock, Value row,
                          int64_t tokens);

private:
  SmallVector<Value> blockF32(Value at, Value index, ValueRange rowParams,
                              Value row, ValueRange sums);
  SmallVector<Value> chunksF32(Value chunks, ValueRange rowParams,
                               ValueRange blockParams, Value row, Value firstK,
                               ValueRange init);
  // Reproducible mode: a GPU's four shares of K, one after the other.
  SmallVector<Value> emitShares(Value blocks, ValueRange rowParams, Value row,
                                int64_t tokens);
  SmallVector<Value> shareF32(int64_t share, Value blocks, Value index,
                              ValueRange rowParams, Value row, ValueRange sums);
  SmallVector<Value> shareInt8(int64_t share, Value blocks, Value index,
                               ValueRange rowParams, Value row,
                               ValueRange sums);
  /// Integer sums of a share's chunks of a block that is split by chunks.
  SmallVector<Value> shareOfChunksInt8(int64_t share, Value chunks,
                                       ValueRange rowParams, Value codes,
                                       ValueRange init);
  SmallVector<Value>
  forChunks(int64_t share, ValueRange init, Value chunks, int64_t count,
            function_ref<SmallVector<Value>(Value, Value, ValueRange)> body);
  int64_t sharedBlocks() const {
    return arithmetic == Arithmetic::Int8 ? input.numBlocks()
                                          : layout.numBlocks();
  }
  bool splitsBlocks() const { return sharedBlocks() >= reproducibleShares; }

  SmallVector<Value> blockBF16(Value at, Value row, ValueRange sums);
  SmallVector<Value> blockInt8(Value at, Value index, ValueRange rowParams,
                               Value row, ValueRange sums);
  SmallVector<Value> chunksInt8(Value chunks, ValueRange rowParams, Value codes,
                                ValueRange init);
  Value dot(Value acc, Value codes, Value activations);
  /// Bytes ahead of use that weights are fetched; 0: not at all.
  int64_t prefetchDistance(int64_t tokens) const;
  /// Asks for as many bytes of weights, prefetchDistance() behind `at`, unless
  /// they begin before that.
  void prefetch(Value at, int64_t bytes, int64_t tokens);
  /// Weights that straight code asks for between its products, a line at a
  /// time.
  struct FetchedAhead {
    Value from;
    int64_t ahead;     ///< bytes behind `from` that the first line lies
    int64_t next, end; ///< bytes behind that
  };
  /// Asks for what is left up to `position`.
  void fetchUpTo(FetchedAhead &fetched, int64_t position);
  /// The same as prefetch() for a part of a block that is too large, for less
  /// than a full tile of tokens.
  void prefetchPart(Value at, int64_t bytes, int64_t tokens) {
    if (tokens < tuning.tokenTile &&
        layout.blockBytes() > prefetchDistance(tokens))
      prefetch(at, bytes, tokens);
  }
  Value dotSigned(Value acc, Value codes, Value activations);
  bool hasVNNI() const {
    return e.rows == 16 ? b.target.vnni512 : e.rows == 8 && b.target.vnni256;
  }
  /// What dot() subtracts from each code.
  int64_t dotOffset() const {
    return format.getIntegerBits() == 8 && !hasVNNI() ? 128 : 0;
  }
  Value intrinsic(StringRef name, Type result, ValueRange operands) {
    return LLVM::CallIntrinsicOp::create(b, result, b.getStringAttr(name),
                                         operands)
        .getResult(0);
  }
  /// pmaddubsw and pmaddwd of the register width, acc + sums of 4 products.
  Value multiplyAdd(Value acc, Value unsignedBytes, Value signedBytes);

  KernelBuilder &b;
  ::qc::PackedLayout layout;
  ActivationLayout input;
  DecodeEmitter e;
  FormatAttrInterface format;
  Arithmetic arithmetic;
  KernelTuning tuning;
  SmallVector<Value> activations;
};

} // namespace mlir::qc::cpu

#endif // QC_LIB_TARGET_CPU_TILEEMITTER_H
