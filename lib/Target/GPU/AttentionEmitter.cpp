//===- AttentionEmitter.cpp - Attention of one head and token -------------===//
//
// An online softmax (Milakov and Gimelshein, arXiv 1805.02867; Dao et al.,
// arXiv 2205.14135): positions are taken as many at a time as the workgroup has
// threads, a position a thread for the scores, then a word of the head's
// dimensions a thread for the values.
//
//===----------------------------------------------------------------------===//
#include "AttentionEmitter.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::AttentionEmitter;
using mlir::qc::gpu::CacheAddress;
using mlir::qc::gpu::CacheLayout;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::KernelContext;

/// The elements of a word of the cache.
static SmallVector<Value> unpack(GPUBuilder &b, const KernelContext &ctx,
                                 const CacheLayout &cache, Value word) {
  if (cache.perWord() == 1)
    return {b.asF32(word)};
  if (cache.isInt8()) {
    SmallVector<Value> elements;
    for (int64_t q = 0; q < 4; ++q) {
      Value code = q == 3 ? word : b.shl(word, 24 - 8 * q);
      code = arith::ShRSIOp::create(b, code, b.i32(24));
      elements.push_back(arith::SIToFPOp::create(b, b.getF32Type(), code));
    }
    return elements;
  }
  return {emitHalfToF32(b, b.getLoc(), b.land(word, b.i32(0xffff)), ctx.target),
          emitHalfToF32(b, b.getLoc(), b.shr(word, 16), ctx.target)};
}

Value mlir::qc::gpu::packElements(GPUBuilder &b, const KernelContext &ctx,
                                  ArrayRef<Value> elements) {
  if (elements.size() == 1)
    return b.asWord(elements[0]);
  Value low = emitF32ToHalf(b, b.getLoc(), elements[0], ctx.target);
  Value high = emitF32ToHalf(b, b.getLoc(), elements[1], ctx.target);
  return b.lor(low, b.shl(high, 16));
}

std::string mlir::qc::gpu::cacheName(const CacheLayout &cache) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << cache.type.getHeads() << "x" << cache.type.getHeadDim()
     << cache.type.getElementType();
  return text;
}

std::string mlir::qc::gpu::attentionName(StringRef what,
                                         const CacheLayout &cache,
                                         int64_t heads, double scale,
                                         std::optional<int64_t> window) {
  std::string name =
      llvm::formatv("{0}_{1}_{2}", what, heads, cacheName(cache));
  if (window)
    name += llvm::formatv("_window{0}", *window).str();
  return name + "_" + bitsOf(scale);
}

// Of warps, two uses must have a scratch each, or a barrier between them.
Value AttentionEmitter::reduceMax(Value value) {
  if (!ctx.hasWarps())
    return b.reduceMax(value, scratch);
  return b.reduceWarps(value, scratch,
                       [&](Value a, Value c) { return b.fmax(a, c); });
}

Value AttentionEmitter::reduceSum(Value value) {
  if (!ctx.hasWarps())
    return b.reduceSum(value, scratch);
  return b.reduceWarps(value, sumScratch,
                       [&](Value a, Value c) { return b.fadd(a, c); });
}

Value AttentionEmitter::score(Value position) {
  // Several words in a loop body, to have their loads under way.
  int64_t words = cache.words() / in.perPosition, unroll = 1;
  while (unroll < 16 && words % (2 * unroll) == 0)
    unroll *= 2;
  CacheAddress address{b, cache, in.capacity};
  Value from = b.mul(b.rem(b.thread(), in.perPosition), words);
  Value score = b.loop(
      from, b.add(from, words), unroll, b.f32(0.0),
      [&](Value first, ValueRange sum) -> SmallVector<Value> {
        SmallVector<Value> loaded;
        for (int64_t u = 0; u < unroll; ++u)
          loaded.push_back(b.load(
              in.memory, address.key(in.own, position, b.add(first, u))));
        Value total = sum[0];
        for (auto [u, word] : llvm::enumerate(loaded)) {
          Value w = b.add(first, static_cast<int64_t>(u));
          for (auto [j, k] : llvm::enumerate(unpack(b, ctx, cache, word))) {
            Value d = b.add(b.mul(w, cache.perWord()), static_cast<int64_t>(j));
            total = b.fma(k, b.load(in.query, d), total);
          }
        }
        return {total};
      })[0];
  score = b.reduceLanes(score, in.perPosition,
                        [&](Value a, Value c) { return b.fadd(a, c); });
  if (!cache.isInt8())
    return score;
  return b.fmul(score,
                b.asF32(b.load(in.memory, address.scale(in.own, position))));
}

SmallVector<Value> AttentionEmitter::addValues(ValueRange sums, Value first,
                                               Value from, Value count,
                                               int64_t stride, Value word) {
  CacheAddress address{b, cache, in.capacity};
  auto one = [&](Value i, Value p, ValueRange acc) {
    Value v = b.load(in.memory, address.value(in.own, b.add(first, i), word));
    SmallVector<Value> added;
    for (auto [j, x] : llvm::enumerate(unpack(b, ctx, cache, v)))
      added.push_back(b.fma(p, x, acc[j]));
    return added;
  };
  if (!ctx.hasWarps())
    return b.loop(from, count, stride, sums,
                  [&](Value i, ValueRange acc) -> SmallVector<Value> {
                    return one(i, b.load(probs, i), acc);
                  });
  // Several positions in a loop body; those beyond the end count nothing.
  constexpr int64_t unroll = 8;
  return b.loop(from, count, stride * unroll, sums,
                [&](Value i, ValueRange acc) -> SmallVector<Value> {
                  SmallVector<Value> next(acc);
                  for (int64_t u = 0; u < unroll; ++u) {
                    Value at = b.add(i, u * stride);
                    Value valid = u ? b.less(at, count) : Value();
                    Value read = u ? b.select(valid, at, i) : at;
                    Value p = b.load(probs, read);
                    next =
                        one(read, u ? b.select(valid, p, b.f32(0.0)) : p, next);
                  }
                  return next;
                });
}

void AttentionEmitter::emit() {
  int64_t words = cache.words(), perWord = cache.perWord();
  // Each thread has `rounds` words of the values' sum; threads beyond the words
  // take other positions.
  int64_t rounds = (words + b.threads - 1) / b.threads;
  int64_t shares = rounds > 1 ? 1 : b.threads / words;
  int64_t positions = b.threads / in.perPosition; // at a time
  probs = b.shared(b.threads);
  scratch = b.shared(b.threads);
  if (ctx.hasWarps())
    sumScratch = b.shared(b.threads);
  CacheAddress address{b, cache, in.capacity};
  Value thread = b.thread();
  Value wordOfThread = rounds > 1 ? thread : b.rem(thread, words);
  Value share = rounds > 1 ? b.index(0) : b.div(thread, words);

  // Carried: maximum, sum of exponentials, sums of values.
  SmallVector<Value> init = {b.f32(-1e30), b.f32(0.0)};
  init.append(rounds * perWord, b.f32(0.0));
  Value end = b.add(in.last, 1);
  SmallVector<Value> result = b.loop(
      in.begin, end, positions, init,
      [&](Value first, ValueRange carried) -> SmallVector<Value> {
        Value inRound = b.div(thread, in.perPosition);
        Value position = b.add(first, inRound);
        Value valid = b.less(position, end);
        Value read = b.select(valid, position, in.last);
        Value own = b.select(valid, score(read), b.f32(-1e30));
        Value top = b.fmax(carried[0], reduceMax(own));
        Value factor = b.exp(b.fsub(carried[0], top));
        Value e = b.select(valid, b.exp(b.fsub(own, top)), b.f32(0.0));
        Value weight = e;
        if (cache.isInt8()) {
          Value row = b.add(in.own, cache.type.getHeads());
          weight =
              b.fmul(e, b.asF32(b.load(in.memory, address.scale(row, read))));
        }
        // The sum's barrier lets others see it.
        if (in.perPosition == 1) {
          b.store(weight, probs, thread);
        } else {
          Value isFirst = b.less(b.rem(thread, in.perPosition), 1);
          b.ifThen(isFirst, [&] { b.store(weight, probs, inRound); });
          e = b.select(isFirst, e, b.f32(0.0));
        }
        Value sum = b.fma(carried[1], factor, reduceSum(e));
        SmallVector<Value> next = {top, sum};
        Value count = b.min(b.sub(end, first), b.index(positions));
        // Threads that are no share's have no positions.
        Value from = share;
        if (shares * words != b.threads && rounds == 1)
          from = b.select(b.less(share, shares), share, count);
        for (int64_t round = 0; round < rounds; ++round) {
          Value word = b.add(wordOfThread, round * b.threads);
          Value start = from;
          if (rounds > 1)
            start = b.select(b.less(word, words), from, count);
          SmallVector<Value> sums;
          for (int64_t j = 0; j < perWord; ++j)
            sums.push_back(b.fmul(carried[2 + round * perWord + j], factor));
          next.append(addValues(sums, first, start, count, shares, word));
        }
        // The next positions overwrite the probabilities; with warps that
        // happens behind the barrier of their maximum.
        if (!ctx.hasWarps())
          b.barrier();
        return next;
      });
  Value inverse, row = in.row;
  if (in.isPart) {
    row = b.add(row, 4);
    b.ifThen(b.less(thread, 1), [&] {
      b.store(result[0], in.out, in.row);
      b.store(result[1], in.out, b.add(in.row, 1));
    });
  } else {
    inverse = b.fdiv(b.f32(1.0), result[1]);
  }
  auto finish = [&](Value sum, Value at) {
    b.store(inverse ? b.fmul(sum, inverse) : sum, in.out, b.add(row, at));
  };
  if (rounds > 1) {
    for (int64_t round = 0; round < rounds; ++round) {
      Value word = b.add(thread, round * b.threads);
      b.ifThen(b.less(word, words), [&] {
        for (int64_t j = 0; j < perWord; ++j)
          finish(result[2 + round * perWord + j],
                 b.add(b.mul(word, perWord), j));
      });
    }
    return;
  }
  // The shares are added up, one element of the word at a time.
  for (int64_t j = 0; j < perWord; ++j) {
    b.barrier();
    b.store(result[2 + j], scratch, thread);
    b.barrier();
    b.ifThen(b.less(thread, words), [&] {
      Value sum = b.load(scratch, thread);
      for (int64_t s = 1; s < shares; ++s)
        sum = b.fadd(sum, b.load(scratch, b.add(thread, s * words)));
      finish(sum, b.add(b.mul(thread, perWord), j));
    });
  }
}
