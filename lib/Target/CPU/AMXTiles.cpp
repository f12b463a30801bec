//===- AMXTiles.cpp - Strips of tokens by tiles of rows -------------------===//
#include "AMXTiles.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

/// CPUs with AMX have second-level caches of 2 MiB, most of which a strip's
/// activations may take.
static constexpr int64_t stripBytes = 1536 << 10;

AMXTiles::AMXTiles(KernelBuilder &b, WeightType weight, ValueRange args,
                   int64_t tokenBytes)
    : b(b), layout(weight.getLayout()), format(weight.getFormat()),
      weights(args[0]), offset(args[1]), out(args[args.size() - 3]),
      firstBlock(args[args.size() - 2]), lastBlock(args.back()) {
  stripTiles = std::clamp<int64_t>(
      stripBytes / (amxTokens * tokenBytes) / 2 * 2, 2, fullStripTiles);
  sums = scratch(storedPairs * sumsSize(), b.getF32Type());
}

Value AMXTiles::scratch(int64_t size, Type type) {
  return memref::AllocaOp::create(b, MemRefType::get({size}, type),
                                  b.getI64IntegerAttr(64));
}

void AMXTiles::rowTile(Value tile,
                       function_ref<void(DecodeEmitter &, Value)> body) {
  int64_t tiles = layout.rows / tileRows;
  Value block = tile, firstRow;
  if (tiles > 1) {
    block = b.div(tile, tiles);
    firstRow = b.mul(b.rem(tile, tiles), tileRows);
  }
  DecodeEmitter e = emitter(firstRow);
  body(e, b.add(b.add(offset, layout.headerBytes),
                b.mul(block, layout.rowBlockBytes())));
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

void AMXTiles::clear(Value buffer, Value from, Value size) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  Value none = arith::ConstantOp::create(
      b, b.getZeroAttr(VectorType::get({tileRows}, element)));
  b.loop(from, b.add(from, size), tileRows,
         [&](Value i) { b.storeVector(none, buffer, i); });
}

/// Stores the results of `count` tiles of rows whose sums are from `firstSums`
/// on, token by token.
void AMXTiles::storeTiles(Value firstTile, int64_t count, Value firstSums) {
  SmallVector<Value> scales;
  for (int64_t i = 0; i < count; ++i)
    rowTile(b.add(firstTile, i), [&](DecodeEmitter &e, Value rowBlock) {
      scales.push_back(
          format.emitRowScale(e, format.emitRowParams(e, offset, rowBlock)));
    });
  Value first = b.mul(strip, amxTokens);
  // Without the padding of the last tile.
  Value tokens =
      b.min(b.mul(stripCount, amxTokens), b.sub(b.dim(out, 0), first));
  b.loop(b.index(0), tokens, 1, [&](Value token) {
    for (auto [i, scale] : llvm::enumerate(scales)) {
      auto tile = static_cast<int64_t>(i);
      Value from = b.add(firstSums, tile / 2 * sumsSize());
      Value sum =
          b.loadVector(tileRows, sums, b.add(from, at(token, tile % 2)));
      if (scale)
        sum = b.fmul(sum, scale);
      emitStoreRows(b, layout, sum, out, b.add(first, token),
                    b.mul(b.add(firstTile, tile), tileRows));
    }
  });
}

/// Lines of one token's results are far from the next token's, and CPUs fetch
/// them one by one; where there are four of them side by side, they come
/// faster.
void AMXTiles::store(Value firstTile, Value rowTiles) {
  int64_t all = 2 * storedPairs;
  b.ifThen(b.less(b.index(all - 1), rowTiles),
           [&] { storeTiles(firstTile, all, b.index(0)); });
  b.ifThen(b.less(rowTiles, b.index(all)), [&] {
    b.loop(b.index(0), rowTiles, 1, [&](Value i) {
      storeTiles(
          b.add(firstTile, i), 1,
          b.add(b.mul(b.div(i, 2), sumsSize()), b.mul(b.rem(i, 2), tileRows)));
    });
  });
}

void AMXTiles::emit() {
  int64_t tiles = layout.rows / tileRows;
  Value first = b.mul(firstBlock, tiles);
  // The last row block may have tiles beyond the weight.
  Value last = b.min(b.mul(lastBlock, tiles),
                     b.index((layout.n + tileRows - 1) / tileRows));
  Value tokenTiles = b.div(padToAMXTiles(b, b.dim(out, 0)), amxTokens);
  b.loop(b.index(0), tokenTiles, stripTiles, [&](Value tile) {
    strip = tile;
    stripCount = b.min(b.index(stripTiles), b.sub(tokenTiles, tile));
    b.loop(first, last, 2 * storedPairs, [&](Value row) {
      Value rowTiles = b.min(b.index(2 * storedPairs), b.sub(last, row));
      b.loop(b.index(0), rowTiles, 2, [&](Value i) {
        pairSums = b.mul(b.div(i, 2), sumsSize());
        clear(sums, pairSums, b.mul(stripCount, amxTokens * 2 * tileRows));
        emitProducts(b.add(row, i), b.min(b.index(2), b.sub(rowTiles, i)));
      });
      store(row, rowTiles);
    });
  });
}
