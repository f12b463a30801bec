//===- Arithmetic.cpp - The same bits on every device ---------------------===//
#include "qc/Target/Reproducible/Arithmetic.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace {

/// Emits f32 and i32 arithmetic of the shape of a scalar or vector.
class Emitter {
public:
  Emitter(OpBuilder &b, Location loc, Value like) : b(b), loc(loc) {
    vector = dyn_cast<VectorType>(like.getType());
  }

  Value f(float value) { return constant(b.getF32FloatAttr(value)); }
  Value i(int32_t value) { return constant(b.getI32IntegerAttr(value)); }
  Value fadd(Value x, Value y) { return make<arith::AddFOp>(x, y); }
  Value fsub(Value x, Value y) { return make<arith::SubFOp>(x, y); }
  Value fmul(Value x, Value y) { return make<arith::MulFOp>(x, y); }
  Value add(Value x, Value y) { return make<arith::AddIOp>(x, y); }
  Value sub(Value x, Value y) { return make<arith::SubIOp>(x, y); }
  Value land(Value x, Value y) { return make<arith::AndIOp>(x, y); }
  Value lor(Value x, Value y) { return make<arith::OrIOp>(x, y); }
  Value shr(Value x, int32_t y) { return make<arith::ShRUIOp>(x, i(y)); }
  Value shl(Value x, int32_t y) { return make<arith::ShLIOp>(x, i(y)); }
  Value select(Value condition, Value x, Value y) {
    return make<arith::SelectOp>(condition, x, y);
  }
  Value greater(Value x, Value y) {
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x, y);
  }
  Value max(Value x, Value y) { return select(greater(x, y), x, y); }
  Value min(Value x, Value y) { return select(greater(y, x), x, y); }
  Value above(Value x, int32_t y) {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, x, i(y));
  }
  Value asI32(Value x) {
    return arith::BitcastOp::create(b, loc, shaped(b.getI32Type()), x);
  }
  Value asF32(Value x) {
    return arith::BitcastOp::create(b, loc, shaped(b.getF32Type()), x);
  }
  Value toI32(Value x) {
    return arith::FPToSIOp::create(b, loc, shaped(b.getI32Type()), x);
  }
  Value roundEven(Value x) { return math::RoundEvenOp::create(b, loc, x); }

  Value reciprocal(Value x);
  Value sqrt(Value x);
  Value exp(Value x);

private:
  template <typename Op, typename... Args>
  Value make(Args... args) {
    return Op::create(b, loc, args...);
  }
  Type shaped(Type element) {
    return vector ? Type(vector.clone(element)) : element;
  }
  Value constant(TypedAttr value) {
    if (vector)
      value = DenseElementsAttr::get(
          cast<ShapedType>(shaped(value.getType())), Attribute(value));
    return arith::ConstantOp::create(b, loc, value);
  }

  OpBuilder &b;
  Location loc;
  VectorType vector;
};

} // namespace

/// 1 / x: of x = m 2^e, 1 <= m < 2, by Newton's method from the line that is at
/// most 1/17 off, whose error is squared three times.
Value Emitter::reciprocal(Value x) {
  Value bits = asI32(x);
  Value exponent = land(shr(bits, 23), i(255));
  Value m = asF32(lor(land(bits, i(0x7fffff)), i(0x3f800000)));
  Value r = fsub(f(24.0f / 17.0f), fmul(f(8.0f / 17.0f), m));
  for (int step = 0; step < 3; ++step)
    r = fmul(r, fsub(f(2.0f), fmul(m, r)));
  Value isHuge = above(exponent, 252);
  Value scale = shl(sub(i(254), select(isHuge, i(252), exponent)), 23);
  Value sign = land(bits, i(INT32_MIN));
  Value result = fmul(r, asF32(lor(scale, sign)));
  return select(isHuge, f(0.0f), result);
}

/// x times 1 / sqrt(x), by Newton's method from halving the exponent: 3.4 % off
/// (Lomont, Fast Inverse Square Root, 2003).
Value Emitter::sqrt(Value x) {
  Value y = asF32(sub(i(0x5f3759df), shr(asI32(x), 1)));
  Value half = fmul(x, f(0.5f));
  for (int step = 0; step < 3; ++step)
    y = fmul(y, fsub(f(1.5f), fmul(fmul(half, y), y)));
  return fmul(x, y);
}

/// 2^n exp(r), |r| <= ln(2) / 2, with the polynomial of Cephes' expf (Moshier).
/// n ln(2) is subtracted in two parts, of which n times the first is exact.
Value Emitter::exp(Value x) {
  x = min(max(x, f(-87.0f)), f(88.0f));
  Value n = roundEven(fmul(x, f(1.44269504088896341f)));
  Value r = fsub(x, fmul(n, f(0.693359375f)));
  r = fsub(r, fmul(n, f(-2.12194440e-4f)));
  Value p = f(1.9875691500e-4f);
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                  1.6666665459e-1f, 5.0000001201e-1f})
    p = fadd(fmul(p, r), f(c));
  Value y = fadd(fadd(fmul(p, fmul(r, r)), r), f(1.0f));
  return asF32(add(asI32(y), shl(toI32(n), 23)));
}

namespace {

bool isF32(Operation *op) {
  return getElementTypeOrSelf(op->getResult(0).getType()).isF32();
}

/// Replaces an operation by what `emit` makes of its operands.
template <typename Op>
struct Expand : OpRewritePattern<Op> {
  using Emit = Value (*)(Emitter &, Op);
  Expand(MLIRContext *context, Emit emit)
      : OpRewritePattern<Op>(context), emit(emit) {}
  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    if (!isF32(op))
      return failure();
    Emitter e(rewriter, op.getLoc(), op->getResult(0));
    rewriter.replaceOp(op, emit(e, op));
    return success();
  }
  Emit emit;
};

template <typename Op>
void add(RewritePatternSet &patterns, Value (*emit)(Emitter &, Op)) {
  patterns.add<Expand<Op>>(patterns.getContext(), emit);
}

} // namespace

void mlir::qc::populateReproducibleArithmeticPatterns(
    RewritePatternSet &patterns) {
  add<math::FmaOp>(patterns, [](Emitter &e, math::FmaOp op) {
    return e.fadd(e.fmul(op.getA(), op.getB()), op.getC());
  });
  add<arith::DivFOp>(patterns, [](Emitter &e, arith::DivFOp op) {
    return e.fmul(op.getLhs(), e.reciprocal(op.getRhs()));
  });
  add<math::SqrtOp>(patterns, [](Emitter &e, math::SqrtOp op) {
    return e.sqrt(op.getOperand());
  });
  add<math::ExpOp>(patterns, [](Emitter &e, math::ExpOp op) {
    return e.exp(op.getOperand());
  });
  add<arith::MaxNumFOp>(patterns, [](Emitter &e, arith::MaxNumFOp op) {
    return e.max(op.getLhs(), op.getRhs());
  });
  add<arith::MaximumFOp>(patterns, [](Emitter &e, arith::MaximumFOp op) {
    return e.max(op.getLhs(), op.getRhs());
  });
  add<arith::MinNumFOp>(patterns, [](Emitter &e, arith::MinNumFOp op) {
    return e.min(op.getLhs(), op.getRhs());
  });
  add<arith::MinimumFOp>(patterns, [](Emitter &e, arith::MinimumFOp op) {
    return e.min(op.getLhs(), op.getRhs());
  });
  // A quotient of polynomials in the operations above.
  populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
    return name == math::ErfOp::getOperationName();
  });
}

LogicalResult mlir::qc::verifyReproducible(Operation *kernels) {
  WalkResult result = kernels->walk([](Operation *op) {
    // cos and sin: the rotary tables of CPUs, by the libm that fills those of
    // GPUs.
    bool isMath = op->getName().getDialectNamespace() == "math" &&
                  !isa<math::RoundEvenOp, math::AbsFOp, math::CopySignOp,
                       math::FloorOp, math::CosOp, math::SinOp>(op);
    bool disagrees =
        isMath || (isa<arith::DivFOp, arith::RemFOp>(op) && isF32(op));
    if (auto reduction = dyn_cast<vector::ReductionOp>(op))
      disagrees = reduction.getKind() == vector::CombiningKind::ADD && isF32(op);
    if (auto fast = dyn_cast<arith::ArithFastMathInterface>(op))
      disagrees |= fast.getFastMathFlagsAttr() &&
                   fast.getFastMathFlagsAttr().getValue() !=
                       arith::FastMathFlags::none;
    if (!disagrees)
      return WalkResult::advance();
    op->emitOpError("is not the same on every device");
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}
