//===- ReproducibleAttention.cpp - Attention with a GPU's sums ------------===//
//
// The arithmetic of lib/Target/GPU/AttentionKernels.cpp, operation by operation:
// positions are taken treeLanes at a time, which share a maximum; scores are
// sums over the dimensions in order, sums of exponentials are trees, and the
// sums of values are so many as a workgroup has threads for, added up in the
// end. The cache is that of AttentionKernels.cpp.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

namespace {

/// Attention of one query head at a time.
class ReproducibleAttention {
public:
  ReproducibleAttention(KernelBuilder &b, lm::KVCacheType cache, Value memory,
                        Value layer, Value capacity)
      : b(b), cache(cache), memory(memory), layer(layer), capacity(capacity),
        d(cache.getHeadDim()), int8(cache.getElementType().isInteger(8)),
        shares(numShares(cache)) {
    auto floats = [&](int64_t n) {
      return memref::AllocaOp::create(b, MemRefType::get({n}, b.getF32Type()),
                                      b.getI64IntegerAttr(64));
    };
    query = floats(d);
    acc = floats(shares * d);
    weights = floats(treeLanes);
    scores = floats(treeLanes + cacheTile);
    valueScales = floats(treeLanes + cacheTile);
  }

  void begin(Value x, Value row, Value column, double scale);
  /// Adds the positions [start, end) of a key/value head; returns the sum of
  /// the exponentials.
  Value positions(Value head, Value start, Value end);
  void finish(Value sum, Value out, Value row, Value column);

private:
  /// Sums that the threads of a workgroup have of each dimension: a thread has
  /// the dimensions of a 32-bit word.
  static int64_t numShares(lm::KVCacheType cache) {
    int64_t perWord = 32 / cache.getElementType().getIntOrFloatBitWidth();
    int64_t words = cache.getHeadDim() / perWord;
    return words > treeLanes ? 1 : treeLanes / words;
  }
  Value tile(Value head, Value index) {
    Value tiles = b.div(capacity, cacheTile);
    return b.add(layer, b.mul(b.add(b.mul(head, tiles), index),
                              cacheTileElements(cache)));
  }
  Value toF32(int64_t n, Value v) {
    if (cache.getElementType().isF32())
      return v;
    if (int8)
      return arith::SIToFPOp::create(b, b.f32s(n),
                                     arith::ExtSIOp::create(b, b.i32s(n), v));
    return arith::ExtFOp::create(b, b.f32s(n), v);
  }
  Value loadScales(Value tile) {
    Value raw = b.loadVector(4 * cacheTile, memory, b.add(tile, cacheTile * d));
    return vector::BitCastOp::create(b, b.f32s(cacheTile), raw);
  }
  /// Scores, and scales of values, of the tiles [first, last).
  void scoreTiles(Value head, Value first, Value last);
  /// Adds `count` values from position `first` on.
  void addValues(Value head, Value first, Value count);

  KernelBuilder &b;
  lm::KVCacheType cache;
  Value memory, layer, capacity;
  int64_t d;
  bool int8;
  int64_t shares;
  Value query, acc, weights, scores, valueScales;
};

} // namespace

void ReproducibleAttention::begin(Value x, Value row, Value column,
                                  double scale) {
  b.forVectors(d, [&](int64_t n, Value at) {
    Value q = b.loadVector(n, x, {row, b.add(column, at)});
    b.storeVector(b.fmul(q, b.splat(n, scale)), query, at);
  });
  b.forVectors(shares * d, [&](int64_t n, Value at) {
    b.storeVector(b.splat(n, 0.0), acc, at);
  });
}

void ReproducibleAttention::scoreTiles(Value head, Value first, Value last) {
  b.loop(first, last, 1, [&](Value index) {
    Value keys = tile(head, index);
    Value to = b.mul(b.sub(index, first), cacheTile);
    Value score = b.loop(
        b.index(0), b.index(d), 1, b.splat(cacheTile, 0.0),
        [&](Value i, ValueRange sum) -> SmallVector<Value> {
          Value k = toF32(cacheTile,
                          b.loadVector(cacheTile, memory,
                                       b.add(keys, b.mul(i, cacheTile))));
          Value q = b.broadcast(cacheTile, b.load(query, i));
          return {b.fma(k, q, sum[0])};
        })[0];
    if (int8) {
      score = b.fmul(score, loadScales(keys));
      Value values = tile(b.add(head, cache.getHeads()), index);
      b.storeVector(loadScales(values), valueScales, to);
    }
    b.storeVector(score, scores, to);
  });
}

void ReproducibleAttention::addValues(Value head, Value first, Value count) {
  Value own = b.add(head, cache.getHeads());
  b.loop(b.index(0), count, 1, [&](Value i) {
    Value position = b.add(first, i);
    Value row = b.add(tile(own, b.div(position, cacheTile)),
                      b.mul(b.rem(position, cacheTile), d));
    Value share = b.mul(b.rem(i, shares), d);
    Value weight = b.load(weights, i);
    b.forVectors(d, [&](int64_t n, Value at) {
      Value v = toF32(n, b.loadVector(n, memory, b.add(row, at)));
      Value to = b.add(share, at);
      b.storeVector(b.fma(b.broadcast(n, weight), v, b.loadVector(n, acc, to)),
                    acc, to);
    });
  });
}

Value ReproducibleAttention::positions(Value head, Value start, Value end) {
  auto lanes = [&](Value v) { return b.broadcast(treeLanes, v); };
  SmallVector<Value> result = b.loop(
      start, end, treeLanes, {b.f32(-1e30), b.f32(0.0)},
      [&](Value first, ValueRange carried) -> SmallVector<Value> {
        Value count = b.min(b.sub(end, first), b.index(treeLanes));
        Value firstTile = b.div(first, cacheTile);
        scoreTiles(head, firstTile,
                   b.div(b.add(b.add(first, count), cacheTile - 1), cacheTile));
        Value from = b.rem(first, cacheTile);
        Value valid = vector::CreateMaskOp::create(
            b, VectorType::get({treeLanes}, b.getI1Type()), ValueRange{count});
        Value score = arith::SelectOp::create(
            b, valid, b.loadVector(treeLanes, scores, from),
            b.splat(treeLanes, -1e30));
        Value top = b.fmax(carried[0],
                           b.reduce(vector::CombiningKind::MAXNUMF, score));
        Value factor = math::ExpOp::create(b, b.fsub(carried[0], top));
        Value p = math::ExpOp::create(b, b.fsub(score, lanes(top)));
        p = arith::SelectOp::create(b, valid, p, b.splat(treeLanes, 0.0));
        Value weight = p;
        if (int8)
          weight = b.fmul(p, b.loadVector(treeLanes, valueScales, from));
        b.storeVector(weight, weights, b.index(0));
        Value sum = b.fma(carried[1], factor, b.treeSum(p));
        b.forVectors(shares * d, [&](int64_t n, Value at) {
          b.storeVector(
              b.fmul(b.loadVector(n, acc, at), b.broadcast(n, factor)), acc,
              at);
        });
        addValues(head, first, count);
        return {top, sum};
      });
  return result[1];
}

void ReproducibleAttention::finish(Value sum, Value out, Value row,
                                   Value column) {
  Value inverse = b.fdiv(b.f32(1.0), sum);
  b.forVectors(d, [&](int64_t n, Value at) {
    Value total = b.loadVector(n, acc, at);
    for (int64_t share = 1; share < shares; ++share)
      total = b.fadd(total, b.loadVector(n, acc, b.add(at, share * d)));
    b.storeVector(b.fmul(total, b.broadcast(n, inverse)), out,
                  {row, b.add(column, at)});
  });
}

func::FuncOp cpu::reproducibleAttentionKernel(KernelContext &ctx,
                                              lm::KVCacheType cache,
                                              int64_t heads, double scale,
                                              std::optional<int64_t> window) {
  int64_t d = cache.getHeadDim(), sharing = heads / cache.getHeads();
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType(), matrix = types.matrix(heads * d);
  std::string element;
  llvm::raw_string_ostream(element) << cache.getElementType();
  std::string name = llvm::formatv(
      "attention_reproducible_{0}_{1}x{2}{3}_{4:x-}_{5}", heads,
      cache.getHeads(), d, element, llvm::bit_cast<uint64_t>(scale),
      window.value_or(0));
  auto memory =
      MemRefType::get({ShapedType::kDynamic}, cache.getElementType());
  return getOrCreateKernel(
      ctx.module, name, {matrix, memory, idx, idx, idx, matrix, idx, idx},
      ctx.target, [&](KernelBuilder &b, ValueRange args) {
        Value query = args[0], position = args[4], out = args[5];
        ReproducibleAttention e(b, cache, args[1], args[2], args[3]);
        Value tokens = b.dim(query, 0);
        ItemRange range = b.partition(b.mul(tokens, heads), args[6], args[7]);
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value head = b.div(item, tokens), row = b.rem(item, tokens);
          Value column = b.mul(head, d);
          Value end = b.add(b.add(position, row), 1), start = b.index(0);
          if (window)
            start = b.max(b.sub(end, b.index(*window)), b.index(0));
          e.begin(query, row, column, scale);
          Value sum = e.positions(b.div(head, sharing), start, end);
          e.finish(sum, out, row, column);
        });
      });
}
