//===- AMXTiles.h - Strips of tokens by tiles of rows -----------*- C++ -*-===//
#ifndef QC_LIB_TARGET_CPU_AMXTILES_H
#define QC_LIB_TARGET_CPU_AMXTILES_H

#include "Kernels.h"

namespace mlir::qc::cpu {

/// What products in tile registers have in common: a strip of tiles of 16
/// tokens is multiplied with one or two tiles of rows at a time, whose sums lie
/// in `sums`. Those of two pairs of tiles are stored at once.
class AMXTiles {
public:
  /// Tiles of tokens of a strip, if its activations are not too large: their
  /// sums fit the first-level cache.
  static constexpr int64_t fullStripTiles = 8;
  /// Output rows of a tile: the lanes of a register.
  static constexpr int64_t tileRows = 16;
  /// Decoded weights of two tiles of rows: they and what streams past them fit
  /// a first-level cache of 48 KiB.
  static constexpr int64_t decodedBytes = 32 << 10;

  /// `args` are those of matmulKernel(); a token has `tokenBytes` of
  /// activations.
  AMXTiles(KernelBuilder &b, WeightType weight, ValueRange args,
           int64_t tokenBytes);
  virtual ~AMXTiles() = default;
  void emit();

protected:
  /// Sizes of what one thread works on at a time: `tokenTiles` x `rowTiles`.
  struct Shape {
    int64_t tokenTiles, rowTiles;
  };

  /// Adds the products of the strip with `rowTiles` tiles to `sums`.
  virtual void emitProducts(Value firstTile, Value rowTiles) = 0;

  Value scratch(int64_t size, Type type);
  DecodeEmitter emitter(Value firstRow) {
    return {b, b.getLoc(), weights, tileRows, layout.rows, firstRow, b.target};
  }
  /// Calls body with the decoder of a tile of rows and its row block's bytes.
  void rowTile(Value tile, function_ref<void(DecodeEmitter &, Value)> body);
  /// Calls body for shapes of at most 2x2 that cover the strip.
  void forShapes(Value rowTiles, function_ref<void(Shape, Value tile)> body);
  /// Sets `size` elements of `buffer`, a multiple of `tileRows`, to zero.
  void clear(Value buffer, Value size) { clear(buffer, b.index(0), size); }
  void clear(Value buffer, Value from, Value size);

  /// Element of row `token` and tile of rows `rowTile` in tiles side by side.
  Value at(Value token, int64_t rowTile) {
    return b.add(b.mul(token, 2 * tileRows), rowTile * tileRows);
  }
  /// The same of a token of the strip in `sums`.
  Value sumsAt(Value token, int64_t rowTile) {
    return b.add(pairSums, at(token, rowTile));
  }

  KernelBuilder &b;
  ::qc::PackedLayout layout;
  FormatAttrInterface format;
  Value weights, offset, out, firstBlock, lastBlock;
  int64_t stripTiles;      ///< most tiles of tokens of a strip
  Value sums;              ///< two times sumsSize()
  Value pairSums;          ///< first element of the pair of tiles at work
  Value strip, stripCount; ///< first tile of tokens, number of tiles

private:
  /// Pairs of tiles of rows whose results are stored at once.
  static constexpr int64_t storedPairs = 2;

  /// Elements of `sums` of a pair of tiles of rows, with room for two tiles of
  /// tokens more, whose sums nobody wants.
  int64_t sumsSize() const {
    return (stripTiles + 2) * amxTokens * 2 * tileRows;
  }
  void store(Value firstTile, Value rowTiles);
  void storeTiles(Value firstTile, int64_t count, Value firstSums);
};

} // namespace mlir::qc::cpu

#endif // QC_LIB_TARGET_CPU_AMXTILES_H
