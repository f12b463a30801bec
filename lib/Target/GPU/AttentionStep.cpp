//===- AttentionStep.cpp - Attention of one token -------------------------===//
//
// Rotates the query and the new key, appends to the cache and attends. A head's
// positions are split over several workgroups, or a few heads would leave most
// of a GPU idle; a second kernel puts the parts together (Dao et al.,
// Flash-Decoding for long-context inference, 2023).
//
//===----------------------------------------------------------------------===//
#include "AttentionEmitter.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::AttentionEmitter;
using mlir::qc::gpu::AttentionInput;
using mlir::qc::gpu::AttentionStep;
using mlir::qc::gpu::CacheAddress;
using mlir::qc::gpu::CacheLayout;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::prefetchBytes;
using mlir::qc::gpu::stateIndex;
using mlir::qc::gpu::windowBegin;

bool mlir::qc::gpu::canFuseAttention(const KernelContext &ctx,
                                     const CacheLayout &cache) {
  return ctx.fusedSteps && !cache.isInt8();
}

int64_t mlir::qc::gpu::attentionParts(int64_t heads) {
  // Workgroups of 256 threads, two on each multiprocessor of a large GPU.
  constexpr int64_t enoughGroups = 256, mostParts = 16;
  int64_t parts = 1;
  while (2 * parts * heads <= enoughGroups && parts < mostParts)
    parts *= 2;
  return parts;
}

int64_t mlir::qc::gpu::attentionPartBytes(const CacheLayout &cache,
                                          int64_t heads) {
  return attentionParts(heads) * heads * partWords(cache) * 4;
}

namespace {
/// The positions of a workgroup's part.
struct Part {
  Value begin, last; ///< of the part; last < begin: it has none
  Value hasNew;      ///< whether the new position is among them

  Part(GPUBuilder &b, Value state, std::optional<int64_t> window,
       int64_t parts) {
    Value newest = stateIndex(b, state, 0);
    Value first = windowBegin(b, newest, window);
    Value count = b.sub(b.add(newest, 1), first);
    Value size = b.div(b.add(count, parts - 1), parts);
    begin = b.add(first, b.mul(b.groupY(), size));
    last = b.min(newest, b.sub(b.add(begin, size), b.index(1)));
    hasNew = b.land(b.compare(arith::CmpIPredicate::eq, last, newest),
                    b.compare(arith::CmpIPredicate::sle, begin, newest));
  }
};
} // namespace

/// Element i of a head that begins at `row` of `x`, rotated at `position`.
static Value rotated(GPUBuilder &b, Value x, Value row, Value i, Value table,
                     int64_t columns, Value position) {
  Value at = b.add(row, i);
  Value own = b.load(x, at);
  if (!columns)
    return own;
  // As rotaryKernel(), without branches.
  int64_t half = columns / 2;
  Value isLow = b.less(i, half), isRotated = b.less(i, columns);
  Value pair = b.select(isLow, i, b.sub(i, b.index(half)));
  pair = b.select(isRotated, pair, b.index(0));
  Value partner = b.select(isLow, b.add(at, half), b.sub(at, b.index(half)));
  Value entry = b.add(b.mul(position, columns), pair);
  Value c = b.load(table, entry);
  Value s = b.load(table, b.add(entry, half));
  s = b.select(isLow, b.fsub(b.f32(0.0), s), s);
  Value turned = b.fma(b.load(x, partner), s, b.fmul(own, c));
  return b.select(isRotated, turned, own);
}

/// Begins to fetch the keys and values of the part.
static void prefetchPart(GPUBuilder &b, const CacheLayout &cache,
                         const Part &part, int64_t heads, Value memory,
                         Value capacity) {
  int64_t perHead = heads / cache.type.getHeads();
  int64_t pieceWords = prefetchBytes / 4;
  Value own = b.div(b.groupX(), perHead);
  Value words = b.mul(capacity, cache.words()); // of a head's keys or values
  // Of keys in tiles this is a part, too, but for what two parts share.
  Value from =
      b.mul(b.div(b.mul(part.begin, cache.words()), pieceWords), pieceWords);
  Value at = b.add(from, b.mul(b.thread(), pieceWords));
  Value wanted = b.land(
      b.less(at, b.mul(b.add(part.last, 1), cache.words())),
      b.compare(arith::CmpIPredicate::sle, b.add(at, pieceWords), words));
  // Heads that share them do it once.
  wanted = b.land(wanted, b.less(b.rem(b.groupX(), perHead), 1));
  b.ifThen(wanted, [&] {
    for (int64_t values = 0; values < 2; ++values) {
      Value row = b.add(own, values * cache.type.getHeads());
      emitPrefetch(b, memory, b.add(b.mul(row, words), at));
    }
  });
}

// Workgroups of heads that share keys and values all write them, the same
// words, so that none waits for another.
Kernel mlir::qc::gpu::attentionStepKernel(KernelContext &ctx,
                                          const CacheLayout &cache,
                                          int64_t heads, double scale,
                                          std::optional<int64_t> window,
                                          const AttentionStep &step) {
  Type words = ctx.words(), floats = ctx.floats();
  int64_t parts = attentionParts(heads);
  std::string name =
      attentionName("attention_step", cache, heads, scale, window) +
      llvm::formatv("_rotary_{0}_{1}", step.queryTable, step.keyTable).str();
  SmallVector<Type> buffers = {words, floats, floats, floats};
  buffers.append((step.queryTable > 0) + (step.keyTable > 0), floats);
  buffers.append({words, floats});
  auto memoryOf = [](ValueRange args) { return args[args.size() - 2]; };
  return getOrCreateKernel(
      ctx, name, buffers,
      [&](GPUBuilder &b, ValueRange args) {
        Value q = args[1], k = args[2], v = args[3], memory = memoryOf(args);
        Value queryTable = step.queryTable ? Value(args[4]) : Value();
        Value keyTable =
            step.keyTable ? Value(args[4 + (step.queryTable > 0)]) : Value();
        int64_t headDim = cache.type.getHeadDim(), perWord = cache.perWord();
        Value query = b.shared(headDim);
        Value thread = b.thread(), head = b.groupX();
        Value own = b.div(head, heads / cache.type.getHeads());
        Value newest = stateIndex(b, args[0], 0),
              capacity = stateIndex(b, args[0], 2);
        Part part(b, args[0], window, parts);
        Value row = b.mul(head, headDim), keyRow = b.mul(own, headDim);
        CacheAddress address{b, cache, capacity};
        b.loop(thread, b.index(headDim), b.threads, [&](Value i) {
          Value x = rotated(b, q, row, i, queryTable, step.queryTable, newest);
          b.store(b.fmul(x, b.f32(scale)), query, i);
        });
        b.ifThen(part.hasNew, [&] {
          b.loop(thread, b.index(cache.words()), b.threads, [&](Value word) {
            SmallVector<Value> keys, values;
            for (int64_t j = 0; j < perWord; ++j) {
              Value i = b.add(b.mul(word, perWord), j);
              keys.push_back(
                  rotated(b, k, keyRow, i, keyTable, step.keyTable, newest));
              values.push_back(b.load(v, b.add(keyRow, i)));
            }
            b.store(packElements(b, ctx, keys), memory,
                    address.key(own, newest, word));
            b.store(packElements(b, ctx, values), memory,
                    address.value(own, newest, word));
          });
        });
        b.barrier();
        AttentionInput in = {memory,     capacity,  query,       own,
                             part.begin, part.last, args.back(), row};
        in.isPart = parts > 1;
        if (in.isPart)
          in.row =
              b.mul(b.add(b.mul(head, parts), b.groupY()), partWords(cache));
        while (in.perPosition < 4 && cache.words() % (2 * in.perPosition) == 0)
          in.perPosition *= 2;
        AttentionEmitter(b, ctx, cache, in).emit();
      },
      std::min<int64_t>(ctx.maxThreads, 256),
      [&](GPUBuilder &b, ValueRange args) {
        // The position is no other kernel's of this step.
        Part part(b, args[0], window, parts);
        prefetchPart(b, cache, part, heads, memoryOf(args),
                     stateIndex(b, args[0], 2));
      });
}

Kernel mlir::qc::gpu::attentionCombineKernel(KernelContext &ctx,
                                             const CacheLayout &cache,
                                             int64_t heads) {
  Type floats = ctx.floats();
  int64_t headDim = cache.type.getHeadDim(), parts = attentionParts(heads);
  return getOrCreateKernel(
      ctx,
      llvm::formatv("attention_combine_{0}x{1}_{2}", heads, headDim, parts)
          .str(),
      {floats, floats}, [&](GPUBuilder &b, ValueRange args) {
        Value first = b.mul(b.groupX(), parts * partWords(cache));
        auto row = [&](int64_t part) {
          return b.add(first, part * partWords(cache));
        };
        b.loop(b.thread(), b.index(headDim), b.threads, [&](Value i) {
          SmallVector<Value> tops, sums, values;
          for (int64_t part = 0; part < parts; ++part) {
            tops.push_back(b.load(args[0], row(part)));
            sums.push_back(b.load(args[0], b.add(row(part), 1)));
            values.push_back(b.load(args[0], b.add(b.add(row(part), 4), i)));
          }
          Value top = tops[0];
          for (int64_t part = 1; part < parts; ++part)
            top = b.fmax(top, tops[part]);
          Value sum = b.f32(0.0), value = b.f32(0.0);
          for (int64_t part = 0; part < parts; ++part) {
            Value factor = b.exp(b.fsub(tops[part], top));
            sum = b.fma(factor, sums[part], sum);
            value = b.fma(factor, values[part], value);
          }
          b.store(b.fdiv(value, sum), args[1],
                  b.add(b.mul(b.groupX(), headDim), i));
        });
      });
}
