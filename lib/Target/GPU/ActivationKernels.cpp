//===- ActivationKernels.cpp - Activations in int8 ------------------------===//
//
// Each block of x becomes scale * code, code in [-127, 127], with the sum of
// the codes beside it: the arithmetic of the CPU's kernel, operation by
// operation. The largest |x| and the sum do not depend on an order, so both
// kernels here compute the same bits.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::emitInt8Scale;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Int8Scale;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;

mlir::qc::gpu::Int8Scale mlir::qc::gpu::emitInt8Scale(GPUBuilder &b,
                                                      Value top) {
  Value scale = b.fdiv(top, b.f32(127.0));
  // An all-zero block keeps scale 0; its codes are 0 whatever the inverse is.
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, b.f32(0.0));
  return {scale, b.fdiv(b.f32(1.0), b.select(isZero, b.f32(1.0), scale))};
}

Value mlir::qc::gpu::emitCodes(GPUBuilder &b, const Int8Scale &scale,
                               ArrayRef<Value> values, Value &total) {
  Value word;
  for (auto [q, value] : llvm::enumerate(values)) {
    Value v = math::RoundEvenOp::create(b, b.fmul(value, scale.inverse));
    // A subnormal scale has an inexact inverse: keep |code| <= 127.
    v = b.fmax(b.f32(-127.0),
               b.select(arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, v,
                                              b.f32(127.0)),
                        v, b.f32(127.0)));
    total = b.fadd(total, v);
    Value code = arith::FPToSIOp::create(b, b.getI32Type(), v);
    if (q < 3)
      code = b.land(code, b.i32(255));
    code = q ? b.shl(code, 8 * static_cast<int64_t>(q)) : code;
    word = q ? b.lor(word, code) : code;
  }
  return word;
}

static Value toInteger(GPUBuilder &b, Value v) {
  return arith::FPToSIOp::create(b, b.getI32Type(), v);
}

/// Lanes that share a block where a lane has one word of it: all of a warp, or
/// a part of one. 0 if blocks are not made like that.
static int64_t quantizeLanes(const KernelContext &ctx,
                             const ActivationBlocks &layout) {
  // Nor is there an empty block behind the last one, where the last group of
  // the weight is not full.
  bool isWhole = layout.blockK == layout.paddedBlockK &&
                 layout.blocks * layout.blockK == layout.k;
  bool fits = layout.blockK >= 4 && layout.blockK <= 128 &&
              llvm::isPowerOf2_64(static_cast<uint64_t>(layout.blockK));
  return ctx.hasWarps() && isWhole && fits ? layout.blockK / 4 : 0;
}

int64_t mlir::qc::gpu::quantizeGroups(const KernelContext &ctx,
                                      const ActivationBlocks &layout) {
  int64_t lanes = quantizeLanes(ctx, layout);
  return lanes ? llvm::divideCeil(layout.blocks * lanes, workgroupThreads)
               : layout.blocks;
}

/// Lanes of a warp have four neighbouring inputs each, blocks several lanes.
static void quantizeInWarps(GPUBuilder &b, const ActivationBlocks &layout,
                            ValueRange args, int64_t lanes) {
  int64_t words = layout.k / 4;
  Value own = b.add(b.mul(b.groupX(), b.threads), b.thread());
  bool isWhole = words % b.threads == 0;
  // All lanes of a warp exchange.
  Value word = isWhole ? own : b.min(own, b.index(words - 1));
  Value at = b.add(b.mul(b.groupY(), words), word);
  Value all = b.loadWide(args[0], b.mul(at, 4), 4);
  SmallVector<Value> x;
  Value top = b.f32(0.0), sum = b.f32(0.0);
  for (int64_t q = 0; q < 4; ++q) {
    x.push_back(b.element(all, q));
    top = b.fmax(math::AbsFOp::create(b, x.back()), top);
  }
  top = b.reduceLanes(top, lanes,
                      [&](Value own, Value far) { return b.fmax(far, own); });
  Int8Scale scale = emitInt8Scale(b, top);
  Value codes = emitCodes(b, scale, x, sum);
  sum = b.reduceLanes(sum, lanes,
                      [&](Value own, Value far) { return b.fadd(own, far); });
  auto store = [&] {
    b.store(codes, args[1], at);
    b.ifThen(b.less(b.rem(own, lanes), 1), [&] {
      Value item = b.add(b.mul(b.groupY(), layout.blocks), b.div(own, lanes));
      b.store(scale.scale, args[2], item);
      b.store(toInteger(b, sum), args[3], item);
    });
  };
  if (isWhole)
    store();
  else
    b.ifThen(b.less(own, words), store);
}

/// A workgroup computes a block of any length.
static void quantizeInGroup(GPUBuilder &b, const ActivationBlocks &layout,
                            ValueRange args) {
  Value scratch = b.shared(b.threads);
  Value block = b.groupX(), token = b.groupY();
  Value from = b.mul(block, layout.blockK);
  Value length = b.min(b.index(layout.blockK), b.sub(b.index(layout.k), from));
  Value first = b.add(b.mul(token, layout.k), from);
  Value top = b.loop(b.thread(), length, b.threads, b.f32(0.0),
                     [&](Value i, ValueRange carried) -> SmallVector<Value> {
                       Value v = math::AbsFOp::create(
                           b, b.load(args[0], b.add(first, i)));
                       return {b.fmax(v, carried[0])};
                     })[0];
  Int8Scale scale = emitInt8Scale(b, b.reduceMax(top, scratch));
  Value perBlock = b.index(layout.paddedBlockK / 4);
  Value to = b.add(b.mul(token, layout.blocks * layout.paddedBlockK / 4),
                   b.mul(block, perBlock));
  Value sum = b.loop(
      b.thread(), perBlock, b.threads, b.f32(0.0),
      [&](Value w, ValueRange carried) -> SmallVector<Value> {
        SmallVector<Value> values;
        for (int64_t q = 0; q < 4; ++q) {
          Value i = b.add(b.mul(w, 4), q);
          Value valid = b.less(i, length);
          Value at = b.select(valid, b.add(first, i), b.index(0));
          values.push_back(b.select(valid, b.load(args[0], at), b.f32(0.0)));
        }
        Value total = carried[0];
        b.store(emitCodes(b, scale, values, total), args[1], b.add(to, w));
        return {total};
      })[0];
  // At most 127 * blockK: exact in f32 too.
  sum = b.reduceSum(sum, scratch);
  Value item = b.add(b.mul(token, layout.blocks), block);
  b.ifThen(b.less(b.thread(), 1), [&] {
    b.store(scale.scale, args[2], item);
    b.store(toInteger(b, sum), args[3], item);
  });
}

Kernel mlir::qc::gpu::quantizeKernel(KernelContext &ctx,
                                     const ActivationBlocks &layout) {
  Type words = ctx.words(), floats = ctx.floats();
  std::string name =
      llvm::formatv("quantize_{0}_{1}_{2}_{3}", layout.k, layout.blockK,
                    layout.paddedBlockK, layout.blocks);
  return getOrCreateKernel(ctx, name, {floats, words, floats, words},
                           [&](GPUBuilder &b, ValueRange args) {
                             if (int64_t lanes = quantizeLanes(ctx, layout))
                               quantizeInWarps(b, layout, args, lanes);
                             else
                               quantizeInGroup(b, layout, args);
                           });
}
