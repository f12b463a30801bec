//===- ReproducibleMatmul.cpp - Products with the bits of GPUs ------------===//
//
// Reproducible mode: the sums of lib/Target/GPU/MatmulKernels.cpp, in its
// order: four shares of K, one after the other (docs/Reproducible.md).
//
//===----------------------------------------------------------------------===//
#include "TileEmitter.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

SmallVector<Value> TileEmitter::forChunks(
    int64_t share, ValueRange init, Value chunks, int64_t count,
    function_ref<SmallVector<Value>(Value, Value, ValueRange)> body) {
  int64_t ways = splitsBlocks() ? 1 : reproducibleShares;
  int64_t unroll = 1;
  while (unroll * 2 * layout.chunkK <= 8 && count % (unroll * 2 * ways) == 0)
    unroll *= 2;
  return b.loop(b.index(ways == 1 ? 0 : share * unroll), b.index(count),
                unroll * ways, init, [&](Value c, ValueRange carried) {
                  SmallVector<Value> next(carried);
                  for (int64_t u = 0; u < unroll; ++u) {
                    Value own = b.add(c, u);
                    next = body(b.add(chunks, b.mul(own, layout.chunkBytes)),
                                b.mul(own, layout.chunkK), next);
                  }
                  return next;
                });
}

SmallVector<Value> TileEmitter::shareF32(int64_t share, Value blocks,
                                         Value index, ValueRange rowParams,
                                         Value row, ValueRange sums) {
  Value at = b.add(blocks, b.mul(index, layout.blockBytes()));
  Value firstK = b.mul(index, layout.paddedBlockK);
  SmallVector<Value> params = format.emitBlockParams(e, at);
  Value scale = format.emitBlockScale(e, params);
  SmallVector<Value> init(sums);
  if (scale)
    init.assign(sums.size(), b.splat(e.rows, 0.0));
  SmallVector<Value> part = forChunks(
      share, init, b.add(at, layout.blockParamBytes), layout.chunksPerBlock(),
      [&](Value chunk, Value inBlock, ValueRange carried) {
        SmallVector<Value> next(carried);
        for (auto [j, w] :
             llvm::enumerate(format.emitChunk(e, chunk, rowParams, params))) {
          Value k = b.add(b.add(firstK, inBlock), static_cast<int64_t>(j));
          for (auto [m, sum] : llvm::enumerate(next)) {
            Value x = b.load(activations[0],
                             {b.add(row, static_cast<int64_t>(m)), k});
            sum = b.fma(w, b.broadcast(e.rows, x), sum);
          }
        }
        return next;
      });
  if (scale)
    for (auto [value, sum] : llvm::zip_equal(part, sums))
      value = b.fma(value, scale, sum);
  return part;
}

SmallVector<Value> TileEmitter::shareOfChunksInt8(int64_t share, Value chunks,
                                                  ValueRange rowParams,
                                                  Value codes,
                                                  ValueRange init) {
  auto tokens = static_cast<int64_t>(init.size());
  int64_t perPlane = layout.chunkK / 4;
  // What dot() subtracts from codes is added for the chunks at hand.
  Value none = e.splatInt(VectorType::get({4 * e.rows}, b.getI8Type()), 0);
  return forChunks(
      share, init, chunks, input.paddedBlockK / layout.chunkK,
      [&](Value chunk, Value inBlock, ValueRange carried) {
        SmallVector<Value> next(carried);
        Value x = b.add(codes, b.mul(inBlock, tokens));
        for (auto [i, weights] :
             llvm::enumerate(format.emitCodes(e, chunk, rowParams))) {
          int64_t j = static_cast<int64_t>(i) % perPlane;
          for (auto [m, sum] : llvm::enumerate(next)) {
            int64_t from = 4 * (j * tokens + static_cast<int64_t>(m));
            Value four = b.loadVector(4, activations[0], b.add(x, from));
            Value word = vector::ExtractOp::create(
                b, vector::BitCastOp::create(b, b.i32s(1), four), 0);
            Value all = vector::BitCastOp::create(b, b.i8s(4 * e.rows),
                                                  b.broadcast(e.rows, word));
            sum = dot(sum, weights, all);
            if (dotOffset())
              sum = b.sub(sum, dot(e.splatInt(b.i32s(e.rows), 0), none, all));
          }
        }
        return next;
      });
}

SmallVector<Value> TileEmitter::shareInt8(int64_t share, Value blocks,
                                          Value index, ValueRange rowParams,
                                          Value row, ValueRange sums) {
  auto tokens = static_cast<int64_t>(sums.size());
  int64_t parts = input.numBlocks() / layout.numBlocks();
  int64_t count = input.paddedBlockK / layout.chunkK;
  Value block = b.div(index, parts), p = b.rem(index, parts);
  Value at = b.add(blocks, b.mul(block, layout.blockBytes()));
  SmallVector<Value> params = format.emitBlockParams(e, at);
  Value scale = format.emitIntegerScale(e, rowParams, params);
  Value zero = format.emitZero(e, params);
  std::optional<int64_t> integer = matchInteger(zero);
  // Several planes (codebooks) have one offset each.
  int64_t planes = integer ? *integer / 128 : 1;
  int64_t offset = splitsBlocks() && dotOffset() ? dotOffset() * planes : 0;
  int64_t start = integer.value_or(0) - offset;
  Value meta = b.add(b.mul(row, input.numBlocks()), b.mul(index, tokens));
  Value codes = b.add(b.mul(row, input.paddedK()),
                      b.add(b.mul(block, layout.paddedBlockK * tokens),
                            b.mul(p, input.paddedBlockK * tokens)));
  Value chunks = b.add(b.add(at, layout.blockParamBytes),
                       b.mul(p, count * layout.chunkBytes));
  // Shares of one block subtract the zero point once.
  bool subtracts = splitsBlocks() || share == 0;
  SmallVector<Value> init(tokens, e.splatInt(b.i32s(e.rows), 0));
  SmallVector<Value> activationSums;
  for (int64_t m = 0; m < tokens; ++m) {
    Value sum = b.broadcast(e.rows, b.load(activations[2], b.add(meta, m)));
    activationSums.push_back(sum);
    if (start != 0 && subtracts)
      init[m] = b.mul(sum, e.splatInt(b.i32s(e.rows), -start));
  }
  SmallVector<Value> dots =
      splitsBlocks() ? chunksInt8(chunks, rowParams, codes, init)
                     : shareOfChunksInt8(share, chunks, rowParams, codes, init);
  SmallVector<Value> totals;
  for (int64_t m = 0; m < tokens; ++m) {
    Value ints = arith::SIToFPOp::create(b, b.f32s(e.rows), dots[m]);
    if (!integer && subtracts)
      ints =
          b.fsub(ints, b.fmul(zero, arith::SIToFPOp::create(
                                        b, b.f32s(e.rows), activationSums[m])));
    Value sx = b.load(activations[1], b.add(meta, m));
    totals.push_back(
        b.fma(ints, b.fmul(scale, b.broadcast(e.rows, sx)), sums[m]));
  }
  return totals;
}

SmallVector<Value> TileEmitter::emitShares(Value blocks, ValueRange rowParams,
                                           Value row, int64_t tokens) {
  SmallVector<Value> totals;
  for (int64_t share = 0; share < reproducibleShares; ++share) {
    auto block = [&](Value index, ValueRange sums) {
      return arithmetic == Arithmetic::Int8
                 ? shareInt8(share, blocks, index, rowParams, row, sums)
                 : shareF32(share, blocks, index, rowParams, row, sums);
    };
    SmallVector<Value> sums(tokens, b.splat(e.rows, 0.0));
    sums = b.loop(b.index(splitsBlocks() ? share : 0), b.index(sharedBlocks()),
                  splitsBlocks() ? reproducibleShares : 1, sums, block);
    if (Value scale = format.emitRowScale(e, rowParams))
      for (Value &sum : sums)
        sum = b.fmul(sum, scale);
    if (share == 0)
      totals = sums;
    else
      for (auto [total, sum] : llvm::zip_equal(totals, sums))
        total = b.fadd(total, sum);
  }
  return totals;
}
