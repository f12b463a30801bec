//===- AMXTiles.cpp - Strips of tokens by tiles of rows -------------------===//
#include "AMXTiles.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

/// Tiles of tokens that share decoded weights. CPUs with AMX have second-level
/// caches of 2 MiB, most of which a strip's activations may take.
static constexpr int64_t maxStripTiles = 8, stripBytes = 1536 << 10;

AMXTiles::AMXTiles(KernelBuilder &b, WeightType weight, ValueRange args,
                   int64_t tokenBytes)
    : b(b), layout(weight.getLayout()), format(weight.getFormat()),
      weights(args[0]), offset(args[1]), out(args[args.size() - 3]),
      firstBlock(args[args.size() - 2]), lastBlock(args.back()) {
  stripTiles = std::clamp<int64_t>(
      stripBytes / (amxTokens * tokenBytes) / 2 * 2, 2, maxStripTiles);
  // With room for two tiles more, whose sums nobody wants.
  sums = scratch((stripTiles + 2) * amxTokens * 2 * tileRows, b.getF32Type());
}

Value AMXTiles::scratch(int64_t size, Type type) {
  return memref::AllocaOp::create(b, MemRefType::get({size}, type),
                                  b.getI64IntegerAttr(64));
}

void AMXTiles::forRowTiles(
    Value firstTile, Value count,
    function_ref<void(DecodeEmitter &, Value, Value, Value)> body) {
  int64_t tiles = layout.rows / tileRows;
  b.loop(b.index(0), count, 1, [&](Value index) {
    Value tile = b.add(firstTile, index);
    Value block = tile, firstRow;
    if (tiles > 1) {
      block = b.div(tile, tiles);
      firstRow = b.mul(b.rem(tile, tiles), tileRows);
    }
    DecodeEmitter e = emitter(firstRow);
    Value rowBlock = b.add(b.add(offset, layout.headerBytes),
                           b.mul(block, layout.rowBlockBytes()));
    body(e, index, rowBlock, b.mul(tile, tileRows));
  });
}

void AMXTiles::forShapes(Value rowTiles,
                         function_ref<void(Shape, Value)> body) {
  auto tokens = [&](int64_t rows) {
    Value even = b.mul(b.div(stripCount, 2), 2);
    b.loop(b.index(0), even, 2, [&](Value tile) { body({2, rows}, tile); });
    b.ifThen(b.less(even, stripCount), [&] { body({1, rows}, even); });
  };
  b.ifThen(b.less(b.index(1), rowTiles), [&] { tokens(2); });
  b.ifThen(b.less(rowTiles, b.index(2)), [&] { tokens(1); });
}

void AMXTiles::clear(Value buffer, Value size) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  Value none = arith::ConstantOp::create(
      b, b.getZeroAttr(VectorType::get({tileRows}, element)));
  b.loop(b.index(0), size, tileRows,
         [&](Value i) { b.storeVector(none, buffer, i); });
}

void AMXTiles::store(Value firstTile, Value rowTiles) {
  forRowTiles(
      firstTile, rowTiles,
      [&](DecodeEmitter &e, Value index, Value rowBlock, Value column) {
        SmallVector<Value> rowParams =
            format.emitRowParams(e, offset, rowBlock);
        Value scale = format.emitRowScale(e, rowParams);
        Value first = b.mul(strip, amxTokens);
        b.loop(b.index(0), b.mul(stripCount, amxTokens), 1, [&](Value token) {
          Value sum = b.loadVector(tileRows, sums,
                                   b.add(at(token, 0), b.mul(index, tileRows)));
          if (scale)
            sum = b.fmul(sum, scale);
          emitStoreRows(b, layout, sum, out, b.add(first, token), column);
        });
      });
}

void AMXTiles::emit() {
  int64_t tiles = layout.rows / tileRows;
  Value first = b.mul(firstBlock, tiles);
  // The last row block may have tiles beyond the weight.
  Value last = b.min(b.mul(lastBlock, tiles),
                     b.index((layout.n + tileRows - 1) / tileRows));
  Value tokenTiles = b.div(b.dim(out, 0), amxTokens);
  b.loop(b.index(0), tokenTiles, stripTiles, [&](Value tile) {
    strip = tile;
    stripCount = b.min(b.index(stripTiles), b.sub(tokenTiles, tile));
    b.loop(first, last, 2, [&](Value row) {
      Value rowTiles = b.min(b.index(2), b.sub(last, row));
      clear(sums, b.mul(stripCount, amxTokens * 2 * tileRows));
      emitProducts(row, rowTiles);
      store(row, rowTiles);
    });
  });
}
