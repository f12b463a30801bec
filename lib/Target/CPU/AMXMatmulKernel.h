//===- AMXMatmulKernel.h - Many tokens in tile registers --------*- C++ -*-===//
#ifndef QC_LIB_TARGET_CPU_AMXMATMULKERNEL_H
#define QC_LIB_TARGET_CPU_AMXMATMULKERNEL_H

#include "AMXTiles.h"

namespace mlir::qc::cpu {

/// The int8 product, see AMXMatmulKernel.cpp.
class AMXEmitter : public AMXTiles {
public:
  /// `args` are those of matmulKernel() in int8 arithmetic.
  AMXEmitter(KernelBuilder &b, WeightType weight, const KernelTuning &tuning,
             ValueRange args);

private:
  struct Piece {
    Value block, from; ///< index of the block, first input in it
    int64_t inputs;
    Value decoded; ///< first byte in `decoded`
  };
  /// What decodes a K block of one tile of rows.
  struct Decoder {
    DecodeEmitter e;
    SmallVector<Value> rowParams;
    Value block, chunks; ///< first bytes
    Value index, to;     ///< of the tile among those decoded, in `decoded`
  };
  /// Integer sums of a tile of tokens and a K block.
  struct Products {
    Value at;     ///< element of the first in `products`
    Value token;  ///< first token, in the strip
    Value meta;   ///< first element in `scales` and `codeSums`
    Value params; ///< first element in `params`
    SmallVector<Value> values() const { return {at, token, meta, params}; }
  };

  /// How K blocks of two tiles of rows follow each other.
  struct Pipeline {
    int64_t tokenTiles; ///< multiplied at a time; 1: all of the strip
    /// A block is decoded while the one before is multiplied with the first of
    /// them. Worth it where these are most of the strip; other products hide
    /// the decoding by themselves.
    bool decodesAhead;
  };

  int64_t countPlanes();
  void emitProducts(Value firstTile, Value rowTiles) override;
  void emitBlock(Value block, Value firstTile, Value rowTiles);
  Piece wholeBlock(Value count, bool inTurns);
  void emitPipelined(const Pipeline &pipeline, Value firstTile);
  void addTokens(ValueRange before, int64_t from, int64_t to);
  SmallVector<Value> emitTiles(const Pipeline &pipeline, Value block,
                               Value firstTile, ValueRange before);

  // AMXDecode.cpp
  void decode(const Piece &piece, Value firstTile, Value rowTiles);
  void decodeTile(const Piece &piece, Decoder tile);
  Decoder decoderOf(const Piece &piece, DecodeEmitter &e, Value rowBlock,
                    Value index);
  void decodeParams(const Piece &piece, Decoder &tile);
  void decodeChunk(Decoder &tile, Value chunk);
  void decodeRest(int64_t inputs, Value to);
  Value weightsAhead(Value firstTile, Value block);
  void prefetchBetween(Value ahead, Value tile, int64_t step, int64_t steps);
  void prefetchLines(Value ahead, int64_t part, int64_t parts);
  Value toSigned(Value codes);

  // AMXMatmulKernel.cpp
  void multiply(const Piece &piece, Shape shape, Value tile, Value first,
                function_ref<void(int64_t, int64_t)> between = nullptr);
  void accumulate(Value block, Shape shape, Value tile);
  void accumulateToken(const Products &from, int64_t rowTiles, Value m);
  /// The same of all tokens of the tile.
  void accumulateTile(const Products &from, int64_t rowTiles) {
    b.loop(b.index(0), b.index(amxTokens), 1,
           [&](Value m) { accumulateToken(from, rowTiles, m); });
  }
  Products productsOf(Value block, Value tile, Value at);
  /// The half of `products` where nothing waits to be added.
  Value otherHalf(Value used) {
    return b.sub(b.index(2 * amxTokens * 2 * tileRows), used);
  }
  Products nextTile(const Products &tile);

  /// Whether weights are fetched ahead between products, line by line: all at
  /// once they would keep activations from coming.
  bool prefetchesBetween() const {
    return prefetch > 0 && layout.rows == tileRows;
  }
  /// Inputs that do not fill an A tile.
  int64_t rest() const {
    return input.paddedBlockK < amxTileK ? 0 : input.paddedBlockK % amxTileK;
  }
  /// Inputs that a plane of `decoded` has room for: those of a piece and a last
  /// B tile.
  int64_t planeK() const { return pieceK + (rest() ? amxTileK : 0); }
  /// Bytes of one tile of rows in `decoded`.
  int64_t decodedTileBytes() const { return planes * planeK() * tileRows; }
  /// Decoding between products is straight-line code, so it must be short.
  bool canDecodeAhead() const {
    return whole && 2 * 2 * decodedTileBytes() <= decodedBytes &&
           2 * input.paddedBlockK / layout.chunkK <= 64;
  }

  ActivationLayout input; ///< Its blocks are "blocks" here.
  Value codes, scales, codeSums;
  int64_t planes;   ///< of emitCodes()
  int64_t pieceK;   ///< inputs that are decoded at a time
  int64_t prefetch; ///< KiB ahead
  bool whole;       ///< A piece is a K block: its sums stay in registers.
  /// `products` is laid out as `sums`; where they stay in registers it has room
  /// for 2x2 tiles twice.
  Value decoded, products, params;
  /// Parameters of a K block in `params`, which has room for two: the scales,
  /// then the zero points, of each tile of rows.
  static constexpr int64_t paramsSize = 2 * 2 * tileRows;
  /// The zero point of all weights, if it is one integer; 0 where codes are
  /// signed.
  std::optional<int64_t> zero;
  /// What toSigned() subtracts from the codes of each plane.
  std::optional<int64_t> codeOffset;
};

} // namespace mlir::qc::cpu

#endif // QC_LIB_TARGET_CPU_AMXMATMULKERNEL_H
