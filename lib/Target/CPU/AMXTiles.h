//===- AMXTiles.h - Strips of tokens by tiles of rows -----------*- C++ -*-===//
#ifndef QC_LIB_TARGET_CPU_AMXTILES_H
#define QC_LIB_TARGET_CPU_AMXTILES_H

#include "Kernels.h"

namespace mlir::qc::cpu {

/// What products in tile registers have in common: a strip of tiles of 16
/// tokens is multiplied with one or two tiles of rows at a time, whose sums lie
/// in `sums`.
class AMXTiles {
public:
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
  void forRowTiles(Value firstTile, Value count,
                   function_ref<void(DecodeEmitter &, Value index,
                                     Value rowBlock, Value column)>
                       body);
  /// Calls body for shapes of at most 2x2 that cover the strip.
  void forShapes(Value rowTiles, function_ref<void(Shape, Value tile)> body);
  /// Sets `size` elements of `buffer`, a multiple of `tileRows`, to zero.
  void clear(Value buffer, Value size);

  /// Element of token `token` of the strip and tile of rows `rowTile` in
  /// `sums`.
  Value at(Value token, int64_t rowTile) {
    return b.add(b.mul(token, 2 * tileRows), rowTile * tileRows);
  }

  KernelBuilder &b;
  ::qc::PackedLayout layout;
  FormatAttrInterface format;
  Value weights, offset, out, firstBlock, lastBlock;
  int64_t stripTiles; ///< most tiles of tokens of a strip
  Value sums;
  Value strip, stripCount; ///< first tile of tokens, number of tiles

private:
  void store(Value firstTile, Value rowTiles);
};

} // namespace mlir::qc::cpu

#endif // QC_LIB_TARGET_CPU_AMXTILES_H
