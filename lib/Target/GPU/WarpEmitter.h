//===- WarpEmitter.h - Products of a warp on tensor cores -------*- C++ -*-===//
#ifndef QC_TARGET_GPU_WARPEMITTER_H
#define QC_TARGET_GPU_WARPEMITTER_H

#include "Staging.h"

namespace mlir::qc::gpu {

/// Tokens of a product.
inline constexpr int64_t tileTokens = 8;
/// Rows of a lane: 4 g + r.
inline constexpr int64_t laneRows = rowsPerGroup / 8;
/// Sums of a lane in a tile of tokens: rows 4 g + r, tokens 2 (lane % 4) + i;
/// sum r * 2 + i.
inline constexpr int64_t laneSums = laneRows * 2;

/// Emits the products of a warp's row block with `tiles` tiles of tokens.
class WarpEmitter {
public:
  WarpEmitter(GPUBuilder &b, const KernelContext &ctx, WeightType weight,
              Value blob, Value lane, ValueRange activations, Value firstToken,
              int64_t tiles);

  /// Sums of tile t from element t * laneSums on, without a plan from global
  /// memory.
  SmallVector<Value> emit(Value rowBlock, const std::optional<StagePlan> &plan,
                          const StageBuffers &buffers);

  // The same in parts, for warps that share K.

  /// The warp multiplies part `part` of `ways` of the chunks of each block.
  void splitChunks(int64_t ways, Value part) {
    chunkWays = ways;
    chunkPart = part;
  }
  void beginRows(Value rowBlock);
  /// sums + block `index` of the activations, from global memory.
  SmallVector<Value> emitBlock(Value index, ValueRange sums);
  /// What is left to do when all blocks are there.
  void scaleRows(MutableArrayRef<Value> sums);
  /// Steps of a block.
  static int64_t numSteps(WeightType weight) {
    return llvm::divideCeil(ActivationBlocks::get(weight).paddedBlockK,
                            4 * laneChunks(weight) * weight.getLayout().chunkK);
  }

  /// A lane's chunks at a time: with their words in the registers of products
  /// and, where blocks are made of them, 16 bytes of activations for them.
  static int64_t laneChunks(WeightType weight) {
    int64_t chunkK = weight.getLayout().chunkK, own = 1;
    int64_t blockK = ActivationBlocks::get(weight).paddedBlockK;
    while (own * chunkK % 8 != 0)
      own *= 2;
    while (own * chunkK < 16 && blockK % (8 * own * chunkK) == 0)
      own *= 2;
    return own;
  }

private:
  /// What a block of activations needs beside products.
  struct Block {
    SmallVector<Value> scales, zeros; ///< of the lane's rows
    std::optional<int64_t> zero;      ///< the same integer in all of them
    /// Of tokens 2 (lane % 4) and the next one of a tile.
    std::function<std::array<Value, 2>(int64_t tile)> tokenScales, tokenSums;
  };
  /// [plane][word of a token][row]
  using Codes = SmallVector<SmallVector<SmallVector<Value>>>;

  Block emitParams(Value at);
  /// Codes of the lane's chunks at these byte offsets.
  Codes emitCodes(ArrayRef<Value> chunks);
  /// ints + products of `codes` with words of the lane's token of a tile.
  void emitProducts(const Codes &codes, ArrayRef<Value> x,
                    MutableArrayRef<Value> ints);
  /// What the integer sums of a tile begin with.
  SmallVector<Value> begin(const Block &block, int64_t tile);
  /// sums + ints, scaled.
  void finish(const Block &block, int64_t tile, ValueRange ints,
              MutableArrayRef<Value> sums);

  /// ints + products of a step, its first chunk `first` of those at `chunks`;
  /// `tokens`: for each tile the word of token `group`, first input.
  SmallVector<Value> emitGlobalStep(Value chunks, ArrayRef<Value> tokens,
                                    Value first, ValueRange ints);
  SmallVector<Value> emitStaged(const StageBuffers &buffers,
                                const StagePlan &plan, ValueRange sums);

  /// Chunks of the block of activations.
  int64_t numChunks() const { return input.paddedBlockK / layout.chunkK; }
  int64_t chunkWords() const { return layout.chunkK / 4; }
  int64_t laneWords() const { return ownChunks * chunkWords(); }
  int64_t rowWords() const { return input.blocks * input.paddedBlockK / 4; }

  GPUBuilder &b;
  ::qc::PackedLayout layout;
  FormatAttrInterface format;
  mlir::qc::ActivationBlocks input;
  ValueRange activations; ///< codes, scales, sums
  Value firstToken, group, quarter;
  int64_t tiles, ownChunks, chunkWays = 1;
  Value chunkPart;
  Value blocks; ///< byte offset of the first K block
  WeightType weight;
  bool hasMagic;
  /// One for all rows of the lane, or one for each.
  SmallVector<DecodeEmitter> rows;
  SmallVector<SmallVector<Value>> rowParams;
  SmallVector<Value> rowScales;
};

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_WARPEMITTER_H
