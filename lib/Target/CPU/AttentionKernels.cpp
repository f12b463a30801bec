//===- AttentionKernels.cpp - Rotary embedding and attention --------------===//
//
// Attention runs with an online softmax (Milakov and Gimelshein, arXiv
// 1805.02867; Dao et al., arXiv 2205.14135): for each query the positions are
// taken in tiles; a running maximum m, sum l and accumulator acc are rescaled
// by exp(m_old - m_new) when the maximum grows. Several query heads of one
// key/value head share each load of the cache.
//
// The cache of a layer: tiles of 16 positions, for keys of head 0, 1, ..., then
// for values. A tile of keys is [headDim][16] elements, so that the scores of
// 16 positions are the lanes of a vector; a tile of values [16][headDim]. With
// i8 elements 16 f32 scales follow, one a position.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

#include <limits>

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

func::FuncOp cpu::rotaryTableKernel(KernelContext &ctx, lm::RopeAttr rope) {
  SmallVector<float> frequencies;
  for (double f : rope.getInverseFrequencies())
    frequencies.push_back(static_cast<float>(f));
  int64_t half = rope.getDim() / 2;
  // FNV-1a: hash_combine is seeded per process, names must not be.
  uint64_t hash = 1469598103934665603ull;
  for (float f : frequencies)
    hash = (hash ^ llvm::bit_cast<uint32_t>(f)) * 1099511628211ull;
  std::string name =
      llvm::formatv("rotary_table_{0}_{1:x-}", rope.getDim(), hash).str();

  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  std::string global = name + "_frequencies";
  auto type = MemRefType::get({half}, types.getF32Type());
  if (!ctx.module.lookupSymbol(global)) {
    types.setInsertionPointToStart(ctx.module.getBody());
    memref::GlobalOp::create(
        types, global, types.getStringAttr("private"), type,
        DenseElementsAttr::get(
            RankedTensorType::get({half}, types.getF32Type()),
            ArrayRef<float>(frequencies)),
        /*constant=*/true, types.getI64IntegerAttr(64));
  }
  return getOrCreateKernel(
      ctx.module, name, {idx, types.matrix(rope.getDim()), idx, idx},
      ctx.target, [&](KernelBuilder &b, ValueRange args) {
        Value out = args[1];
        Value table = memref::GetGlobalOp::create(b, type, global);
        ItemRange range = b.partition(b.dim(out, 0), args[2], args[3]);
        b.loop(range.begin, range.end, 1, [&](Value row) {
          Value p = arith::IndexCastOp::create(b, b.getI64Type(),
                                               b.add(args[0], row));
          Value position = arith::SIToFPOp::create(b, b.getF32Type(), p);
          b.loop(b.index(0), b.index(half), 1, [&](Value i) {
            Value angle = b.fmul(position, b.load(table, i));
            b.store(math::CosOp::create(b, angle), out, {row, i});
            b.store(math::SinOp::create(b, angle), out, {row, b.add(i, half)});
          });
        });
      });
}

func::FuncOp cpu::rotaryKernel(KernelContext &ctx, int64_t columns,
                               int64_t headDim, int64_t tableColumns) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  return getOrCreateKernel(
      ctx.module,
      llvm::formatv("rotary_{0}_{1}_{2}", columns, headDim, tableColumns).str(),
      {types.matrix(columns), types.matrix(tableColumns), types.matrix(columns),
       idx, idx},
      ctx.target, [&](KernelBuilder &b, ValueRange args) {
        Value x = args[0], table = args[1], out = args[2];
        int64_t heads = columns / headDim, half = tableColumns / 2;
        Value items = b.mul(b.dim(x, 0), heads);
        ItemRange range = b.partition(items, args[3], args[4]);
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value row = b.div(item, heads);
          Value first = b.mul(b.rem(item, heads), headDim);
          b.forVectors(half, [&](int64_t width, Value at) {
            Value lo = b.add(first, at), hi = b.add(lo, half);
            Value c = b.loadVector(width, table, {row, at});
            Value s = b.loadVector(width, table, {row, b.add(at, half)});
            Value u = b.loadVector(width, x, {row, lo});
            Value v = b.loadVector(width, x, {row, hi});
            b.storeVector(b.fsub(b.fmul(u, c), b.fmul(v, s)), out, {row, lo});
            b.storeVector(b.fadd(b.fmul(v, c), b.fmul(u, s)), out, {row, hi});
          });
          Value rest = b.add(first, tableColumns);
          b.forVectors(headDim - tableColumns, [&](int64_t width, Value at) {
            Value where = b.add(rest, at);
            b.storeVector(b.loadVector(width, x, {row, where}), out,
                          {row, where});
          });
        });
      });
}

static std::string cacheName(lm::KVCacheType cache) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << cache.getHeads() << "x" << cache.getHeadDim() << cache.getElementType();
  return text;
}

static MemRefType cacheMemory(lm::KVCacheType cache) {
  return MemRefType::get({ShapedType::kDynamic}, cache.getElementType());
}

int64_t cpu::cacheTileElements(lm::KVCacheType cache) {
  int64_t scales = cache.getElementType().isInteger(8) ? 4 * cacheTile : 0;
  return cacheTile * cache.getHeadDim() + scales;
}

namespace {
/// Where the tiles of a layer are, in elements of the cache's memory.
struct CacheAddress {
  KernelBuilder &b;
  lm::KVCacheType cache;
  Value layer, capacity;

  Value tile(Value head, Value index) {
    Value tiles = b.div(capacity, cacheTile);
    return b.add(layer, b.mul(b.add(b.mul(head, tiles), index),
                              cacheTileElements(cache)));
  }
  Value keys(Value head, Value index) { return tile(head, index); }
  Value values(Value head, Value index) {
    return tile(b.add(head, cache.getHeads()), index);
  }
  /// Offset of the scales in an i8 tile.
  int64_t scales() const { return cacheTile * cache.getHeadDim(); }
};
} // namespace

/// Quantizes `d` values from x[row, from] on; returns the inverse scale and
/// stores the scale as the one of `lane` of the tile.
static Value emitCacheScale(KernelBuilder &b, CacheAddress &address, Value x,
                            Value row, Value from, Value memory, Value tile,
                            Value lane) {
  int64_t d = address.cache.getHeadDim();
  Value top =
      b.reduceVectors(d, vector::CombiningKind::MAXNUMF, 0.0,
                      [&](int64_t width, Value at) -> Value {
                        return math::AbsFOp::create(
                            b, b.loadVector(width, x, {row, b.add(from, at)}));
                      });
  Value scale = b.fdiv(top, b.f32(127.0));
  Value bytes = vector::BitCastOp::create(b, b.i8s(4), b.broadcast(1, scale));
  b.storeVector(bytes, memory,
                b.add(b.add(tile, address.scales()), b.mul(lane, 4)));
  // The smallest normal number keeps the inverse finite; codes are clamped.
  return b.fdiv(b.f32(1.0), b.fmax(scale, b.f32(0x1p-126)));
}

func::FuncOp cpu::appendKernel(KernelContext &ctx, lm::KVCacheType cache) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType(), element = cache.getElementType();
  int64_t heads = cache.getHeads(), d = cache.getHeadDim();
  Type matrix = types.matrix(heads * d);
  bool int8 = element.isInteger(8);
  return getOrCreateKernel(
      ctx.module, "append_" + cacheName(cache),
      {matrix, matrix, cacheMemory(cache), idx, idx, idx, idx, idx}, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        Value memory = args[2];
        CacheAddress address{b, cache, args[3], args[4]};
        Value items = b.mul(b.dim(args[0], 0), heads);
        ItemRange range = b.partition(items, args[6], args[7]);
        auto narrow = [&](int64_t width, Value v, Value inverse) -> Value {
          auto type = VectorType::get({width}, element);
          if (element.isF32())
            return v;
          if (!int8)
            return arith::TruncFOp::create(b, type, v);
          v = math::RoundEvenOp::create(b,
                                        b.fmul(v, b.broadcast(width, inverse)));
          v = b.fmax(arith::MinNumFOp::create(b, v, b.splat(width, 127.0)),
                     b.splat(width, -127.0));
          return arith::TruncIOp::create(
              b, type, arith::FPToSIOp::create(b, b.i32s(width), v));
        };
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value row = b.div(item, heads), head = b.rem(item, heads);
          Value from = b.mul(head, d);
          Value p = b.add(args[5], row);
          Value index = b.div(p, cacheTile), lane = b.rem(p, cacheTile);
          Value keys = address.keys(head, index);
          Value values = address.values(head, index);
          Value keyScale, valueScale;
          if (int8) {
            keyScale = emitCacheScale(b, address, args[0], row, from, memory,
                                      keys, lane);
            valueScale = emitCacheScale(b, address, args[1], row, from, memory,
                                        values, lane);
          }
          b.loop(b.index(0), b.index(d), 1, [&](Value i) {
            Value k = b.loadVector(1, args[0], {row, b.add(from, i)});
            b.storeVector(narrow(1, k, keyScale), memory,
                          b.add(b.add(keys, b.mul(i, cacheTile)), lane));
          });
          b.forVectors(d, [&](int64_t width, Value at) {
            Value v = b.loadVector(width, args[1], {row, b.add(from, at)});
            b.storeVector(narrow(width, v, valueScale), memory,
                          b.add(b.add(values, b.mul(lane, d)), at));
          });
        });
      });
}

namespace {
/// Emits the attention of `count` query heads that share a key/value head.
class AttentionEmitter {
public:
  AttentionEmitter(KernelBuilder &b, const KernelTuning &tuning,
                   CacheAddress address, Value memory, int64_t count)
      : b(b), address(address), memory(memory), count(count),
        d(address.cache.getHeadDim()), width(vectorWidth(d, b.target.lanes)),
        tilesTogether(std::max<int64_t>(1, tuning.scoreRegisters *
                                               b.target.lanes / 16 / count)) {
    auto floats = [&](int64_t n) {
      return memref::AllocaOp::create(b, MemRefType::get({n}, b.getF32Type()),
                                      b.getI64IntegerAttr(64));
    };
    query = floats(count * d);
    acc = floats(count * d);
    weights = floats(count * tilesTogether * cacheTile);
    maxima = floats(count);
    sums = floats(count);
    factors = floats(count);
  }

  /// Loads the queries of columns [column, column + count * d), scaled.
  void begin(Value x, Value row, Value column, double scale);
  /// Adds the positions [start, end) from tile `first` on.
  void positions(Value kvHead, Value first, Value start, Value end,
                 bool window);
  void finish(Value out, Value row, Value column);

private:
  /// Adds the positions [start, end) of tile `index`.
  void tile(Value kvHead, Value index, Value start, Value end, bool window);
  /// Adds all positions of tilesTogether tiles.
  void fullTiles(Value kvHead, Value index);

  Value toF32(int64_t n, Value v);
  Value loadScales(Value tile);
  SmallVector<Value> scores(Value keys, int64_t tiles);
  void softmax(int64_t g, ArrayRef<Value> scores, ArrayRef<Value> valueScales);
  void accumulate(Value values, Value first, Value last, int64_t tiles);
  Value scalar(double value) { return b.f32(value); }

  int64_t tileElements() const { return cacheTileElements(address.cache); }

  KernelBuilder &b;
  CacheAddress address;
  Value memory;
  int64_t count, d, width, tilesTogether;
  Value query, acc, weights, maxima, sums, factors;
};
} // namespace

static constexpr double infinity = std::numeric_limits<double>::infinity();

Value AttentionEmitter::toF32(int64_t n, Value v) {
  Type element = cast<VectorType>(v.getType()).getElementType();
  if (element.isF32())
    return v;
  if (element.isInteger(8))
    return arith::SIToFPOp::create(b, b.f32s(n),
                                   arith::ExtSIOp::create(b, b.i32s(n), v));
  return arith::ExtFOp::create(b, b.f32s(n), v);
}

Value AttentionEmitter::loadScales(Value tile) {
  if (!address.cache.getElementType().isInteger(8))
    return Value();
  Value raw =
      b.loadVector(4 * cacheTile, memory, b.add(tile, address.scales()));
  return vector::BitCastOp::create(b, b.f32s(cacheTile), raw);
}

void AttentionEmitter::begin(Value x, Value row, Value column, double scale) {
  b.forVectors(count * d, [&](int64_t n, Value at) {
    Value q = b.loadVector(n, x, {row, b.add(column, at)});
    b.storeVector(b.fmul(q, b.splat(n, scale)), query, at);
    b.storeVector(b.splat(n, 0.0), acc, at);
  });
  for (int64_t g = 0; g < count; ++g) {
    b.store(scalar(-infinity), maxima, b.index(g));
    b.store(scalar(0.0), sums, b.index(g));
  }
}

/// Dot products of the queries with 16 keys of each tile: [query][tile].
SmallVector<Value> AttentionEmitter::scores(Value keys, int64_t tiles) {
  // Enough independent sums to hide the latency of a multiply-add.
  int64_t ways = std::max<int64_t>(1, vectorWidth(d, 4) / (count * tiles));
  int64_t step = vectorWidth(d, 4);
  int64_t numSums = count * tiles;
  SmallVector<Value> init(numSums * ways, b.splat(cacheTile, 0.0));
  SmallVector<Value> sums = b.loop(
      b.index(0), b.index(d), step, init, [&](Value i, ValueRange carried) {
        SmallVector<Value> next(carried);
        for (int64_t u = 0; u < step; ++u) {
          Value at = b.add(i, u);
          Value from = b.add(keys, b.mul(at, cacheTile));
          SmallVector<Value> k;
          for (int64_t t = 0; t < tiles; ++t)
            k.push_back(toF32(cacheTile,
                              b.loadVector(cacheTile, memory,
                                           b.add(from, t * tileElements()))));
          for (int64_t g = 0; g < count; ++g) {
            Value q = b.broadcast(cacheTile, b.load(query, b.add(at, g * d)));
            for (int64_t t = 0; t < tiles; ++t) {
              Value &sum = next[(g * tiles + t) * ways + u % ways];
              sum = b.fma(k[t], q, sum);
            }
          }
        }
        return next;
      });
  SmallVector<Value> totals;
  for (int64_t i = 0; i < numSums; ++i) {
    Value total = sums[i * ways];
    for (int64_t w = 1; w < ways; ++w)
      total = b.fadd(total, sums[i * ways + w]);
    totals.push_back(total);
  }
  return totals;
}

/// Weights of query `g` from the scores of tiles; -infinity where masked.
void AttentionEmitter::softmax(int64_t g, ArrayRef<Value> scores,
                               ArrayRef<Value> valueScales) {
  Value largest = scores[0];
  for (Value score : scores.drop_front())
    largest = b.fmax(largest, score);
  Value old = b.load(maxima, b.index(g));
  Value top = b.fmax(old, b.reduce(vector::CombiningKind::MAXNUMF, largest));
  Value factor = math::ExpOp::create(b, b.fsub(old, top));
  Value sum;
  for (auto [t, score] : llvm::enumerate(scores)) {
    Value p =
        math::ExpOp::create(b, b.fsub(score, b.broadcast(cacheTile, top)));
    sum = sum ? b.fadd(sum, p) : p;
    if (!valueScales.empty())
      p = b.fmul(p, valueScales[t]);
    b.storeVector(
        p, weights,
        b.index((g * tilesTogether + static_cast<int64_t>(t)) * cacheTile));
  }
  b.store(top, maxima, b.index(g));
  b.store(factor, factors, b.index(g));
  b.store(b.fma(b.load(sums, b.index(g)), factor, b.sum(sum)), sums,
          b.index(g));
}

/// acc = acc * factor + sum over lanes [first, last) of each tile of
/// weight * value.
void AttentionEmitter::accumulate(Value values, Value first, Value last,
                                  int64_t tiles) {
  int64_t registers = b.target.avx512 ? 16 : 8;
  int64_t together = std::min<int64_t>(count, 4);
  int64_t parts = std::max<int64_t>(1, registers / together);
  for (int64_t g0 = 0; g0 < count; g0 += together)
    for (int64_t p0 = 0; p0 < d / width; p0 += parts) {
      int64_t gs = std::min(together, count - g0);
      int64_t ps = std::min(parts, d / width - p0);
      auto at = [&](int64_t g, int64_t p) {
        return b.index((g0 + g) * d + (p0 + p) * width);
      };
      SmallVector<Value> sums;
      for (int64_t g = 0; g < gs; ++g) {
        Value factor = b.broadcast(width, b.load(factors, b.index(g0 + g)));
        for (int64_t p = 0; p < ps; ++p)
          sums.push_back(b.fmul(b.loadVector(width, acc, at(g, p)), factor));
      }
      auto position = [&](Value from, Value weight, ValueRange carried) {
        SmallVector<Value> next(carried), v;
        for (int64_t p = 0; p < ps; ++p)
          v.push_back(
              toF32(width, b.loadVector(width, memory,
                                        b.add(from, (p0 + p) * width))));
        for (int64_t g = 0; g < gs; ++g) {
          Value w = b.broadcast(
              width, b.load(weights, b.add(weight, (g0 + g) * tilesTogether *
                                                       cacheTile)));
          for (int64_t p = 0; p < ps; ++p)
            next[g * ps + p] = b.fma(w, v[p], next[g * ps + p]);
        }
        return next;
      };
      sums = b.loop(
          b.index(0), b.index(tiles), 1, sums, [&](Value t, ValueRange outer) {
            Value from = b.add(values, b.mul(t, tileElements()));
            Value weight = b.mul(t, cacheTile);
            return b.loop(first, last, 1, outer,
                          [&](Value j, ValueRange carried) {
                            return position(b.add(from, b.mul(j, d)),
                                            b.add(weight, j), carried);
                          });
          });
      for (int64_t g = 0; g < gs; ++g)
        for (int64_t p = 0; p < ps; ++p)
          b.storeVector(sums[g * ps + p], acc, at(g, p));
    }
}

void AttentionEmitter::fullTiles(Value kvHead, Value index) {
  Value keys = address.keys(kvHead, index);
  Value values = address.values(kvHead, index);
  SmallVector<Value> dots = scores(keys, tilesTogether);
  SmallVector<Value> keyScales, valueScales;
  if (address.cache.getElementType().isInteger(8))
    for (int64_t t = 0; t < tilesTogether; ++t) {
      keyScales.push_back(loadScales(b.add(keys, t * tileElements())));
      valueScales.push_back(loadScales(b.add(values, t * tileElements())));
    }
  for (int64_t g = 0; g < count; ++g) {
    auto own = MutableArrayRef(dots).slice(g * tilesTogether, tilesTogether);
    for (auto [dot, scale] : llvm::zip(own, keyScales))
      dot = b.fmul(dot, scale);
    softmax(g, own, valueScales);
  }
  accumulate(values, b.index(0), b.index(cacheTile), tilesTogether);
}

void AttentionEmitter::positions(Value kvHead, Value first, Value start,
                                 Value end, bool window) {
  auto single = [&](Value from, Value to, bool hasStart) {
    b.loop(from, to, 1,
           [&](Value index) { tile(kvHead, index, start, end, hasStart); });
  };
  Value last = b.div(b.add(end, cacheTile - 1), cacheTile);
  // Only the first tile can begin before the window.
  if (window) {
    Value next = b.add(first, 1);
    single(first, next, true);
    first = next;
  }
  Value groups = b.div(b.max(b.sub(b.div(end, cacheTile), first), b.index(0)),
                       tilesTogether);
  Value rest = b.add(first, b.mul(groups, tilesTogether));
  b.loop(first, rest, tilesTogether,
         [&](Value index) { fullTiles(kvHead, index); });
  single(rest, last, false);
}

void AttentionEmitter::tile(Value kvHead, Value index, Value start, Value end,
                            bool window) {
  Value keys = address.keys(kvHead, index);
  Value values = address.values(kvHead, index);
  Value position = b.mul(index, cacheTile);
  auto mask = VectorType::get({cacheTile}, b.getI1Type());
  Value last = b.min(b.sub(end, position), b.index(cacheTile));
  Value valid = vector::CreateMaskOp::create(b, mask, ValueRange{last});
  Value first = b.index(0);
  if (window) {
    first = b.max(b.sub(start, position), first);
    Value before = vector::CreateMaskOp::create(b, mask, ValueRange{first});
    Value all =
        arith::ConstantOp::create(b, DenseElementsAttr::get(mask, true));
    valid =
        arith::AndIOp::create(b, valid, arith::XOrIOp::create(b, before, all));
  }
  SmallVector<Value> dots = scores(keys, 1);
  Value keyScales = loadScales(keys);
  SmallVector<Value> valueScales;
  // Lanes behind the end hold anything.
  if (Value scales = loadScales(values))
    valueScales.push_back(
        arith::SelectOp::create(b, valid, scales, b.splat(cacheTile, 0.0)));
  for (int64_t g = 0; g < count; ++g) {
    if (keyScales)
      dots[g] = b.fmul(dots[g], keyScales);
    dots[g] = arith::SelectOp::create(b, valid, dots[g],
                                      b.splat(cacheTile, -infinity));
    softmax(g, dots[g], valueScales);
  }
  accumulate(values, first, last, 1);
}

void AttentionEmitter::finish(Value out, Value row, Value column) {
  for (int64_t g = 0; g < count; ++g) {
    Value norm = b.fdiv(scalar(1.0), b.load(sums, b.index(g)));
    b.forVectors(d, [&](int64_t n, Value at) {
      Value from = b.add(at, g * d);
      b.storeVector(b.fmul(b.loadVector(n, acc, from), b.broadcast(n, norm)),
                    out, {row, b.add(column, from)});
    });
  }
}

/// Query heads that are taken together: a divisor of those that share keys.
static int64_t headsTogether(const TargetFeatures &target, int64_t sharing) {
  int64_t most = target.avx512 || target.avx2 ? 4 : 2;
  // 5 and 7 heads have no smaller divisor but 1.
  if (target.avx512 && sharing <= 7 && sharing % 4 != 0 && sharing % 2 != 0 &&
      sharing % 3 != 0)
    return sharing;
  while (sharing % most != 0)
    --most;
  return most;
}

func::FuncOp cpu::attentionKernel(KernelContext &ctx, lm::KVCacheType cache,
                                  int64_t heads, double scale,
                                  std::optional<int64_t> window) {
  if (ctx.target.reproducible)
    return reproducibleAttentionKernel(ctx, cache, heads, scale, window);
  int64_t d = cache.getHeadDim(), sharing = heads / cache.getHeads();
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType(), matrix = types.matrix(heads * d);
  uint64_t scaleBits = llvm::bit_cast<uint64_t>(scale);
  std::string name =
      llvm::formatv("attention_{0}_{1}_{2:x-}_{3}", heads, cacheName(cache),
                    scaleBits, window.value_or(0));
  return getOrCreateKernel(
      ctx.module, name,
      {matrix, cacheMemory(cache), idx, idx, idx, matrix, idx, idx}, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        Value query = args[0], position = args[4], out = args[5];
        int64_t together = headsTogether(ctx.target, sharing);
        AttentionEmitter e(b, ctx.tuning.get(), {b, cache, args[2], args[3]},
                           args[1], together);
        // Heads outermost: with causal attention later tokens cost more, so a
        // split by tokens would be uneven.
        Value tokens = b.dim(query, 0);
        ItemRange range =
            b.partition(b.mul(tokens, heads / together), args[6], args[7]);
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value group = b.div(item, tokens), row = b.rem(item, tokens);
          Value kvHead = b.div(b.mul(group, together), sharing);
          Value column = b.mul(group, together * d);
          Value end = b.add(b.add(position, row), 1);
          Value start = b.index(0);
          if (window)
            start = b.max(b.sub(end, b.index(*window)), b.index(0));
          e.begin(query, row, column, scale);
          e.positions(kvHead, b.div(start, cacheTile), start, end,
                      window.has_value());
          e.finish(out, row, column);
        });
      });
}
