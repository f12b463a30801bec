//===- AttentionKernels.cpp - Rotary embedding and attention --------------===//
//
// Attention runs with an online softmax (Milakov and Gimelshein, arXiv
// 1805.02867; Dao et al., arXiv 2205.14135): for each query the positions are
// taken in tiles; a running maximum m, sum l and accumulator acc are rescaled
// by exp(m_old - m_new) when the maximum grows.
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

func::FuncOp cpu::appendKernel(KernelContext &ctx, lm::KVCacheType cache) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  int64_t heads = cache.getHeads(), d = cache.getHeadDim();
  Type matrix = types.matrix(heads * d);
  return getOrCreateKernel(
      ctx.module, "append_" + cacheName(cache),
      {matrix, matrix, cacheMemory(cache), idx, idx, idx, idx, idx}, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        Value memory = args[2], layer = args[3], capacity = args[4];
        Value items = b.mul(b.dim(args[0], 0), heads);
        ItemRange range = b.partition(items, args[6], args[7]);
        Value values = b.mul(capacity, heads * d);
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value row = b.div(item, heads), head = b.rem(item, heads);
          Value from = b.mul(head, d);
          Value p = b.add(b.mul(head, capacity), b.add(args[5], row));
          Value to = b.add(layer, b.mul(p, d));
          b.forVectors(d, [&](int64_t width, Value at) {
            auto narrow = [&](Value v) -> Value {
              if (cache.getElementType().isF32())
                return v;
              return arith::TruncFOp::create(
                  b, VectorType::get({width}, cache.getElementType()), v);
            };
            Value where = b.add(to, at);
            b.storeVector(
                narrow(b.loadVector(width, args[0], {row, b.add(from, at)})),
                memory, where);
            b.storeVector(
                narrow(b.loadVector(width, args[1], {row, b.add(from, at)})),
                memory, b.add(where, values));
          });
        });
      });
}

namespace {
/// Emits the attention of one query over [start, end).
struct AttentionEmitter {
  KernelBuilder &b;
  Value memory;       ///< of the cache
  Value keys, values; ///< element offsets of position 0 of the head
  int64_t d, width;

  int64_t parts() const { return d / width; }

  Value loadCache(Value at) {
    Value v = b.loadVector(width, memory, at);
    if (cast<VectorType>(v.getType()).getElementType().isF32())
      return v;
    return arith::ExtFOp::create(b, b.f32s(width), v);
  }

  /// Dot product of the query and the key of position `t`.
  Value score(ArrayRef<Value> query, Value t) {
    Value at = b.add(keys, b.mul(t, d));
    Value dot;
    for (int64_t i = 0; i < parts(); ++i) {
      Value k = loadCache(b.add(at, i * width));
      dot = dot ? b.fma(query[i], k, dot) : b.fmul(query[i], k);
    }
    return b.sum(dot);
  }
};
} // namespace

func::FuncOp cpu::attentionKernel(KernelContext &ctx, lm::KVCacheType cache,
                                  int64_t heads, double scale,
                                  std::optional<int64_t> window) {
  int64_t kvHeads = cache.getHeads(), d = cache.getHeadDim();
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
        Value query = args[0], layer = args[2], capacity = args[3],
              position = args[4], out = args[5];
        int64_t lanes = b.target.lanes;
        constexpr double inf = std::numeric_limits<double>::infinity();
        // Heads outermost: with causal attention later tokens cost more, so a
        // split by tokens would be uneven.
        Value tokens = b.dim(query, 0);
        ItemRange range = b.partition(b.mul(tokens, heads), args[6], args[7]);
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value head = b.div(item, tokens), row = b.rem(item, tokens);
          Value kvHead = b.div(head, heads / kvHeads);
          Value base = b.add(layer, b.mul(b.mul(kvHead, capacity), d));
          AttentionEmitter e{b,    args[1],
                             base, b.add(base, b.mul(capacity, kvHeads * d)),
                             d,    vectorWidth(d, lanes)};
          Value column = b.mul(head, d);
          SmallVector<Value> q;
          for (int64_t i = 0; i < e.parts(); ++i)
            q.push_back(b.fmul(
                b.loadVector(e.width, query, {row, b.add(column, i * e.width)}),
                b.splat(e.width, scale)));
          Value end = b.add(b.add(position, row), 1);
          Value start = b.index(0);
          if (window)
            start = b.max(b.sub(end, b.index(*window)), b.index(0));
          Value last = b.sub(end, b.index(1));

          SmallVector<Value> init = {b.f32(-inf), b.f32(0.0)};
          init.append(e.parts(), b.splat(e.width, 0.0));
          SmallVector<Value> state = b.loop(
              start, end, lanes, init, [&](Value t0, ValueRange carried) {
                Value scores = b.splat(lanes, -inf);
                SmallVector<Value> at;
                for (int64_t j = 0; j < lanes; ++j) {
                  // Positions past the end repeat the last and count nothing.
                  Value t = b.add(t0, j);
                  Value clamped = b.min(t, last);
                  at.push_back(clamped);
                  Value s = e.score(q, clamped);
                  if (j)
                    s = arith::SelectOp::create(b, b.less(t, end), s,
                                                b.f32(-inf));
                  scores = vector::InsertOp::create(b, s, scores, j);
                }
                Value top = b.reduce(vector::CombiningKind::MAXNUMF, scores);
                Value newMax = b.fmax(carried[0], top);
                Value p = math::ExpOp::create(
                    b, b.fsub(scores, b.broadcast(lanes, newMax)));
                Value alpha =
                    math::ExpOp::create(b, b.fsub(carried[0], newMax));
                SmallVector<Value> next = {newMax,
                                           b.fma(carried[1], alpha, b.sum(p))};
                for (Value acc : carried.drop_front(2))
                  next.push_back(b.fmul(acc, b.broadcast(e.width, alpha)));
                for (int64_t j = 0; j < lanes; ++j) {
                  Value pj = vector::ExtractOp::create(b, p, j);
                  Value factor = b.broadcast(e.width, pj);
                  Value from = b.add(e.values, b.mul(at[j], d));
                  for (int64_t i = 0; i < e.parts(); ++i)
                    next[2 + i] =
                        b.fma(factor, e.loadCache(b.add(from, i * e.width)),
                              next[2 + i]);
                }
                return next;
              });
          Value norm = b.fdiv(b.f32(1.0), state[1]);
          for (int64_t i = 0; i < e.parts(); ++i)
            b.storeVector(b.fmul(state[2 + i], b.broadcast(e.width, norm)), out,
                          {row, b.add(column, i * e.width)});
        });
      });
}
