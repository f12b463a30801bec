//===- AttentionKernels.cpp - The KV cache and attention over it ----------===//
//
// One workgroup a query head and token, with an online softmax (Milakov and
// Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135): positions are
// taken as many at a time as the workgroup has threads, a position a thread for
// the scores, then a word of the head's dimensions a thread for the values.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"
#include "qc/Runtime/DeviceABI.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::CacheLayout;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;

namespace {

struct Types {
  explicit Types(KernelContext &ctx)
      : words(MemRefType::get({ShapedType::kDynamic},
                              IntegerType::get(ctx.module.getContext(), 32))),
        floats(MemRefType::get({ShapedType::kDynamic},
                               Float32Type::get(ctx.module.getContext()))) {}
  Type words, floats;
};

/// Where words of the cache are.
struct CacheAddress {
  GPUBuilder &b;
  const CacheLayout &cache;
  Value capacity;

  /// Word `word` of the key of `head` at `position`.
  Value key(Value head, Value position, Value word) {
    int64_t tile = CacheLayout::tile;
    Value inHead = b.add(b.mul(b.div(position, tile), cache.words() * tile),
                         b.add(b.mul(word, tile), b.rem(position, tile)));
    return b.add(b.mul(b.mul(head, capacity), cache.words()), inHead);
  }
  Value value(Value head, Value position, Value word) {
    Value row =
        b.add(b.mul(b.add(head, cache.type.getHeads()), capacity), position);
    return b.add(b.mul(row, cache.words()), word);
  }
  /// The word with the scale of an i8 key (row: head) or value (row: heads +
  /// head).
  Value scale(Value row, Value position) {
    int64_t rows = 2 * cache.type.getHeads();
    Value first = b.mul(capacity, rows * cache.words());
    return b.add(first, b.add(b.mul(row, capacity), position));
  }
};

} // namespace

static Value stateIndex(GPUBuilder &b, Value state, int64_t field) {
  return b.toIndex(b.load(state, b.index(field)));
}

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

static std::string cacheName(const CacheLayout &cache) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << cache.type.getHeads() << "x" << cache.type.getHeadDim()
     << cache.type.getElementType();
  return text;
}

int64_t CacheLayout::appendGroups() const {
  return isInt8() ? type.getHeads() : elementGroups(type.getHeads() * words());
}

/// Elements of a head become scale * code, code in [-127, 127]: a workgroup a
/// head, with the arithmetic of the CPU's kernel.
static Kernel appendInt8Kernel(KernelContext &ctx, const CacheLayout &cache) {
  Types t(ctx);
  return getOrCreateKernel(
      ctx, "append_" + cacheName(cache), {t.words, t.floats, t.floats, t.words},
      [&](GPUBuilder &b, ValueRange args) {
        CacheAddress address{b, cache, stateIndex(b, args[0], 2)};
        int64_t headDim = cache.type.getHeadDim(),
                heads = cache.type.getHeads();
        Value scratch = b.shared(b.threads);
        Value head = b.groupX(), token = b.groupY(), thread = b.thread();
        Value position = b.add(stateIndex(b, args[0], 0), token);
        Value row = b.add(b.mul(token, heads * headDim), b.mul(head, headDim));
        for (int64_t part = 0; part < 2; ++part) {
          Value from = args[1 + part];
          Value top =
              b.loop(thread, b.index(headDim), b.threads, b.f32(0.0),
                     [&](Value i, ValueRange carried) -> SmallVector<Value> {
                       return {b.fmax(
                           math::AbsFOp::create(b, b.load(from, b.add(row, i))),
                           carried[0])};
                     })[0];
          top = b.reduceMax(top, scratch);
          Value scale = b.fdiv(top, b.f32(127.0));
          // The smallest normal number keeps the inverse finite.
          Value inverse = b.fdiv(b.f32(1.0), b.fmax(scale, b.f32(0x1p-126)));
          b.loop(thread, b.index(cache.words()), b.threads, [&](Value w) {
            Value word;
            for (int64_t q = 0; q < 4; ++q) {
              Value v = b.load(from, b.add(row, b.add(b.mul(w, 4), q)));
              v = math::RoundEvenOp::create(b, b.fmul(v, inverse));
              v = b.fmax(
                  b.f32(-127.0),
                  b.select(arith::CmpFOp::create(b, arith::CmpFPredicate::OLT,
                                                 v, b.f32(127.0)),
                           v, b.f32(127.0)));
              Value code = b.land(arith::FPToSIOp::create(b, b.getI32Type(), v),
                                  b.i32(255));
              word = q ? b.lor(word, b.shl(code, 8 * q)) : code;
            }
            b.store(word, args[3],
                    part ? address.value(head, position, w)
                         : address.key(head, position, w));
          });
          b.ifThen(b.less(thread, 1), [&] {
            b.store(b.asWord(scale), args[3],
                    address.scale(b.add(head, part * heads), position));
          });
        }
      });
}

Kernel mlir::qc::gpu::appendKernel(KernelContext &ctx,
                                   const CacheLayout &cache) {
  if (cache.isInt8())
    return appendInt8Kernel(ctx, cache);
  Types t(ctx);
  return getOrCreateKernel(
      ctx, "append_" + cacheName(cache), {t.words, t.floats, t.floats, t.words},
      [&](GPUBuilder &b, ValueRange args) {
        CacheAddress address{b, cache, stateIndex(b, args[0], 2)};
        int64_t headDim = cache.type.getHeadDim();
        int64_t columns = cache.type.getHeads() * headDim;
        int64_t items = cache.type.getHeads() * cache.words();
        Value token = b.groupY();
        Value position = b.add(stateIndex(b, args[0], 0), token);
        Value item = b.add(b.mul(b.groupX(), b.threads), b.thread());
        auto pack = [&](Value from) {
          Value at = b.add(b.mul(token, columns), b.mul(item, cache.perWord()));
          if (cache.perWord() == 1)
            return b.asWord(b.load(from, at));
          Value low =
              emitF32ToHalf(b, b.getLoc(), b.load(from, at), ctx.target);
          Value high = emitF32ToHalf(b, b.getLoc(), b.load(from, b.add(at, 1)),
                                     ctx.target);
          return b.lor(low, b.shl(high, 16));
        };
        b.ifThen(b.less(item, items), [&] {
          Value head = b.div(item, cache.words());
          Value word = b.rem(item, cache.words());
          b.store(pack(args[1]), args[3], address.key(head, position, word));
          b.store(pack(args[2]), args[3], address.value(head, position, word));
        });
      });
}

Kernel mlir::qc::gpu::attentionKernel(KernelContext &ctx,
                                      const CacheLayout &cache, int64_t heads,
                                      double scale,
                                      std::optional<int64_t> window) {
  Types t(ctx);
  std::string name =
      llvm::formatv("attention_{0}_{1}", heads, cacheName(cache));
  if (window)
    name += llvm::formatv("_window{0}", *window).str();
  name += llvm::formatv("_{0:x-}",
                        llvm::bit_cast<uint32_t>(static_cast<float>(scale)))
              .str();
  return getOrCreateKernel(
      ctx, name, {t.words, t.floats, t.words, t.floats},
      [&](GPUBuilder &b, ValueRange args) {
        int64_t headDim = cache.type.getHeadDim(), words = cache.words();
        int64_t perWord = cache.perWord();
        // Each thread has `rounds` words of the values' sum; threads beyond the
        // words take other positions.
        int64_t rounds = (words + b.threads - 1) / b.threads;
        int64_t shares = rounds > 1 ? 1 : b.threads / words;
        Value query = b.shared(headDim), probs = b.shared(b.threads),
              scratch = b.shared(b.threads);
        CacheAddress address{b, cache, stateIndex(b, args[0], 2)};
        Value thread = b.thread(), head = b.groupX(), token = b.groupY();
        Value own = b.div(head, heads / cache.type.getHeads());
        Value last = b.add(stateIndex(b, args[0], 0), token);
        Value row = b.add(b.mul(token, heads * headDim), b.mul(head, headDim));
        b.loop(thread, b.index(headDim), b.threads, [&](Value i) {
          b.store(b.fmul(b.load(args[1], b.add(row, i)), b.f32(scale)), query,
                  i);
        });
        b.barrier();
        Value begin = b.index(0);
        if (window)
          begin = b.max(b.sub(last, b.index(*window - 1)), b.index(0));
        Value wordOfThread = rounds > 1 ? thread : b.rem(thread, words);
        Value share = rounds > 1 ? b.index(0) : b.div(thread, words);

        // Carried: maximum, sum of exponentials, sums of values.
        SmallVector<Value> init = {b.f32(-1e30), b.f32(0.0)};
        init.append(rounds * perWord, b.f32(0.0));
        Value end = b.add(last, 1);
        SmallVector<Value> result = b.loop(
            begin, end, b.threads, init,
            [&](Value first, ValueRange carried) -> SmallVector<Value> {
              Value position = b.add(first, thread);
              Value valid = b.less(position, end);
              Value read = b.select(valid, position, last);
              Value score = b.loop(
                  b.index(0), b.index(words), 1, b.f32(0.0),
                  [&](Value w, ValueRange sum) -> SmallVector<Value> {
                    Value word = b.load(args[2], address.key(own, read, w));
                    Value total = sum[0];
                    for (auto [j, k] :
                         llvm::enumerate(unpack(b, ctx, cache, word))) {
                      Value d =
                          b.add(b.mul(w, perWord), static_cast<int64_t>(j));
                      total = b.fma(k, b.load(query, d), total);
                    }
                    return {total};
                  })[0];
              if (cache.isInt8())
                score = b.fmul(
                    score, b.asF32(b.load(args[2], address.scale(own, read))));
              score = b.select(valid, score, b.f32(-1e30));
              Value top = b.fmax(carried[0], b.reduceMax(score, scratch));
              Value factor = b.exp(b.fsub(carried[0], top));
              Value e = b.select(valid, b.exp(b.fsub(score, top)), b.f32(0.0));
              Value weight = e;
              if (cache.isInt8())
                weight = b.fmul(
                    e, b.asF32(b.load(
                           args[2],
                           address.scale(b.add(own, cache.type.getHeads()),
                                         read))));
              b.store(weight, probs, thread);
              Value sum = b.fma(carried[1], factor, b.reduceSum(e, scratch));
              SmallVector<Value> next = {top, sum};
              Value count = b.min(b.sub(end, first), b.index(b.threads));
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
                  sums.push_back(
                      b.fmul(carried[2 + round * perWord + j], factor));
                sums = b.loop(
                    start, count, shares, sums,
                    [&](Value i, ValueRange acc) -> SmallVector<Value> {
                      Value p = b.load(probs, i);
                      Value v = b.load(
                          args[2], address.value(own, b.add(first, i), word));
                      SmallVector<Value> added;
                      for (auto [j, x] :
                           llvm::enumerate(unpack(b, ctx, cache, v)))
                        added.push_back(b.fma(p, x, acc[j]));
                      return added;
                    });
                next.append(sums);
              }
              // The next positions overwrite the probabilities.
              b.barrier();
              return next;
            });
        Value inverse = b.fdiv(b.f32(1.0), result[1]);
        if (rounds > 1) {
          for (int64_t round = 0; round < rounds; ++round) {
            Value word = b.add(thread, round * b.threads);
            b.ifThen(b.less(word, words), [&] {
              for (int64_t j = 0; j < perWord; ++j)
                b.store(b.fmul(result[2 + round * perWord + j], inverse),
                        args[3], b.add(row, b.add(b.mul(word, perWord), j)));
            });
          }
          return;
        }
        // The shares are added up, one element of the word at a time.
        for (int64_t j = 0; j < perWord; ++j) {
          b.store(result[2 + j], scratch, thread);
          b.barrier();
          b.ifThen(b.less(thread, words), [&] {
            Value sum = b.load(scratch, thread);
            for (int64_t s = 1; s < shares; ++s)
              sum = b.fadd(sum, b.load(scratch, b.add(thread, s * words)));
            b.store(b.fmul(sum, inverse), args[3],
                    b.add(row, b.add(b.mul(thread, perWord), j)));
          });
          b.barrier();
        }
      });
}
