//===- ActivationKernels.cpp - Activations as matmuls read them -----------===//
//
// f32: copied where blocks need padding. int8: each block of x is quantized to
// scale * code, code in [-127, 127], with the sum of the codes beside it.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

ActivationLayout ActivationLayout::get(WeightType weight,
                                       Arithmetic arithmetic) {
  ::qc::PackedLayout layout = weight.getLayout();
  return {arithmetic, layout.k, layout.blockK, layout.paddedBlockK};
}

std::string ActivationLayout::name() const {
  return llvm::formatv("{0}_{1}_{2}_{3}", stringifyArithmetic(arithmetic), k,
                       blockK, paddedBlockK);
}

/// Quantizes `length` inputs of row `row` from column `from` on to one int8
/// block.
static void emitQuantizeBlock(KernelBuilder &b, const ActivationLayout &layout,
                              ValueRange args, Value row, Value block,
                              int64_t length) {
  Value x = args[0], out = args[1];
  Value from = b.mul(block, layout.blockK);
  Value to = b.mul(block, layout.paddedBlockK);
  Value top =
      b.reduceVectors(length, vector::CombiningKind::MAXNUMF, 0.0,
                      [&](int64_t width, Value at) -> Value {
                        return math::AbsFOp::create(
                            b, b.loadVector(width, x, {row, b.add(from, at)}));
                      });
  Value scale = b.fdiv(top, b.f32(127.0));
  // An all-zero block keeps scale 0; its codes are 0 whatever the inverse is.
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, b.f32(0.0));
  Value divisor = arith::SelectOp::create(b, isZero, b.f32(1.0), scale);
  Value inverse = b.fdiv(b.f32(1.0), divisor);
  Value sum = b.reduceVectors(
      length, vector::CombiningKind::ADD, 0.0,
      [&](int64_t width, Value at) -> Value {
        Value v = b.fmul(b.loadVector(width, x, {row, b.add(from, at)}),
                         b.broadcast(width, inverse));
        // A subnormal scale has an inexact inverse: keep |code| <= 127.
        v = b.fmax(arith::MinNumFOp::create(b, math::RoundEvenOp::create(b, v),
                                            b.splat(width, 127.0)),
                   b.splat(width, -127.0));
        Value wide = arith::FPToSIOp::create(b, b.i32s(width), v);
        Value code = arith::TruncIOp::create(b, b.i8s(width), wide);
        b.storeVector(code, out, {row, b.add(to, at)});
        return v;
      });
  b.store(scale, args[2], {row, block});
  // At most 127 * blockK: exact in f32 too.
  b.store(arith::FPToSIOp::create(b, b.getI32Type(), sum), args[3],
          {row, block});
  if (int64_t padding = layout.paddedBlockK - length) {
    Value zero = arith::ConstantOp::create(b, b.getI8IntegerAttr(0));
    b.loop(b.index(0), b.index(padding), 1, [&](Value i) {
      b.store(zero, out, {row, b.add(b.add(to, length), i)});
    });
  }
}

static void emitPadBlock(KernelBuilder &b, const ActivationLayout &layout,
                         ValueRange args, Value row, Value block,
                         int64_t length) {
  Value from = b.mul(block, layout.blockK);
  Value to = b.mul(block, layout.paddedBlockK);
  b.forVectors(length, [&](int64_t width, Value at) {
    b.storeVector(b.loadVector(width, args[0], {row, b.add(from, at)}), args[1],
                  {row, b.add(to, at)});
  });
  b.forVectors(layout.paddedBlockK - length, [&](int64_t width, Value at) {
    b.storeVector(b.splat(width, 0.0), args[1],
                  {row, b.add(b.add(to, length), at)});
  });
}

func::FuncOp cpu::prepareKernel(KernelContext &ctx,
                                const ActivationLayout &layout) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  bool int8 = layout.arithmetic == Arithmetic::Int8;
  SmallVector<Type> arguments = {types.matrix(layout.k)};
  arguments.append(activationTypes(types, layout));
  arguments.append({idx, idx});
  return getOrCreateKernel(
      ctx.module, "prepare_" + layout.name(), arguments, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        auto emit = int8 ? emitQuantizeBlock : emitPadBlock;
        int64_t blocks = layout.numBlocks();
        ItemRange range =
            b.partition(b.mul(b.dim(args[0], 0), blocks), args[args.size() - 2],
                        args[args.size() - 1]);
        int64_t lastLength = layout.k - (blocks - 1) * layout.blockK;
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value row = b.div(item, blocks), block = b.rem(item, blocks);
          if (lastLength == layout.blockK) {
            emit(b, layout, args, row, block, layout.blockK);
            return;
          }
          Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                               block, b.index(blocks - 1));
          auto branch = scf::IfOp::create(b, isLast, /*withElseRegion=*/true);
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(branch.thenBlock());
          emit(b, layout, args, row, block, lastLength);
          b.setInsertionPointToStart(branch.elseBlock());
          if (blocks > 1)
            emit(b, layout, args, row, block, layout.blockK);
        });
      });
}
