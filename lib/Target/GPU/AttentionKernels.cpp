//===- AttentionKernels.cpp - The KV cache and attention over it ----------===//
//
// One workgroup a query head and token.
//
//===----------------------------------------------------------------------===//
#include "AttentionEmitter.h"
#include "qc/Runtime/DeviceABI.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::AttentionEmitter;
using mlir::qc::gpu::AttentionInput;
using mlir::qc::gpu::attentionName;
using mlir::qc::gpu::CacheAddress;
using mlir::qc::gpu::CacheLayout;
using mlir::qc::gpu::cacheName;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::packElements;
using mlir::qc::gpu::stateIndex;
using mlir::qc::gpu::windowBegin;

int64_t CacheLayout::appendGroups() const {
  return isInt8() ? type.getHeads() : elementGroups(type.getHeads() * words());
}

/// Elements of a head become scale * code, code in [-127, 127]: a workgroup a
/// head, with the arithmetic of the CPU's kernel.
static Kernel appendInt8Kernel(KernelContext &ctx, const CacheLayout &cache) {
  Type words = ctx.words(), floats = ctx.floats();
  return getOrCreateKernel(
      ctx, "append_" + cacheName(cache), {words, floats, floats, words},
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
            SmallVector<Value> values;
            for (int64_t q = 0; q < 4; ++q)
              values.push_back(b.load(from, b.add(row, b.add(b.mul(w, 4), q))));
            Value sum = b.f32(0.0); // nobody needs it
            b.store(emitCodes(b, {scale, inverse}, values, sum), args[3],
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
  Type words = ctx.words(), floats = ctx.floats();
  return getOrCreateKernel(
      ctx, "append_" + cacheName(cache), {words, floats, floats, words},
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
          SmallVector<Value> elements;
          for (int64_t i = 0; i < cache.perWord(); ++i)
            elements.push_back(b.load(from, b.add(at, i)));
          return packElements(b, ctx, elements);
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
  Type words = ctx.words(), floats = ctx.floats();
  return getOrCreateKernel(
      ctx, attentionName("attention", cache, heads, scale, window),
      {words, floats, words, floats}, [&](GPUBuilder &b, ValueRange args) {
        int64_t headDim = cache.type.getHeadDim();
        Value query = b.shared(headDim);
        Value thread = b.thread(), head = b.groupX(), token = b.groupY();
        Value last = b.add(stateIndex(b, args[0], 0), token);
        Value row = b.add(b.mul(token, heads * headDim), b.mul(head, headDim));
        b.loop(thread, b.index(headDim), b.threads, [&](Value i) {
          b.store(b.fmul(b.load(args[1], b.add(row, i)), b.f32(scale)), query,
                  i);
        });
        b.barrier();
        Value own = b.div(head, heads / cache.type.getHeads());
        AttentionInput in = {args[2],
                             stateIndex(b, args[0], 2),
                             query,
                             own,
                             windowBegin(b, last, window),
                             last,
                             args[3],
                             row};
        AttentionEmitter(b, ctx, cache, in).emit();
      });
}
