//===- ActivationKernels.cpp - Activations in int8 ------------------------===//
//
// Each block of x becomes scale * code, code in [-127, 127], with the sum of
// the codes beside it: the arithmetic of the CPU's kernel, operation by
// operation.
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
  Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale,
                                       b.f32(0.0));
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
    Value code =
        b.land(arith::FPToSIOp::create(b, b.getI32Type(), v), b.i32(255));
    word = q ? b.lor(word, b.shl(code, 8 * static_cast<int64_t>(q))) : code;
  }
  return word;
}

Kernel mlir::qc::gpu::quantizeKernel(KernelContext &ctx,
                                     const ActivationBlocks &layout) {
  MLIRContext *context = ctx.module.getContext();
  Type words =
      MemRefType::get({ShapedType::kDynamic}, IntegerType::get(context, 32));
  Type floats =
      MemRefType::get({ShapedType::kDynamic}, Float32Type::get(context));
  std::string name =
      llvm::formatv("quantize_{0}_{1}_{2}_{3}", layout.k, layout.blockK,
                    layout.paddedBlockK, layout.blocks);
  return getOrCreateKernel(
      ctx, name, {floats, words, floats, words},
      [&](GPUBuilder &b, ValueRange args) {
        Value scratch = b.shared(b.threads);
        Value block = b.groupX(), token = b.groupY();
        Value from = b.mul(block, layout.blockK);
        Value length =
            b.min(b.index(layout.blockK), b.sub(b.index(layout.k), from));
        Value first = b.add(b.mul(token, layout.k), from);
        Value top =
            b.loop(b.thread(), length, b.threads, b.f32(0.0),
                   [&](Value i, ValueRange carried) -> SmallVector<Value> {
                     Value v = math::AbsFOp::create(
                         b, b.load(args[0], b.add(first, i)));
                     return {b.fmax(v, carried[0])};
                   })[0];
        top = b.reduceMax(top, scratch);
        Int8Scale scale = emitInt8Scale(b, top);
        Value perBlock = b.index(layout.paddedBlockK / 4);
        Value to = b.add(b.mul(token, layout.blocks * layout.paddedBlockK / 4),
                         b.mul(block, perBlock));
        Value sum = b.loop(
            b.thread(), perBlock, b.threads, b.f32(0.0),
            [&](Value w, ValueRange carried) -> SmallVector<Value> {
              Value total = carried[0];
              SmallVector<Value> values;
              for (int64_t q = 0; q < 4; ++q) {
                Value i = b.add(b.mul(w, 4), q);
                Value valid = b.less(i, length);
                Value at = b.select(valid, b.add(first, i), b.index(0));
                values.push_back(
                    b.select(valid, b.load(args[0], at), b.f32(0.0)));
              }
              Value word = emitCodes(b, scale, values, total);
              b.store(word, args[1], b.add(to, w));
              return {total};
            })[0];
        // At most 127 * blockK: exact in f32 too.
        sum = b.reduceSum(sum, scratch);
        Value item = b.add(b.mul(token, layout.blocks), block);
        b.ifThen(b.less(b.thread(), 1), [&] {
          b.store(scale.scale, args[2], item);
          b.store(arith::FPToSIOp::create(b, b.getI32Type(), sum), args[3],
                  item);
        });
      });
}
