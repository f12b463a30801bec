//===- RowKernels.cpp - Normalization and elementwise kernels -------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

static std::string number(double value) {
  std::string text = llvm::formatv("{0:e}", value).str();
  for (char &c : text)
    if (!llvm::isAlnum(c))
      c = '_';
  return text;
}

/// f32 vector of a parameter at byte `offset` + 4 * `at` of the weights.
static Value loadParameter(KernelBuilder &b, int64_t width, Value weights,
                           Value offset, Value at) {
  Value raw = b.loadVector(4 * width, weights, b.add(offset, b.mul(at, 4)));
  return vector::BitCastOp::create(b, b.f32s(width), raw);
}

func::FuncOp cpu::rmsNormKernel(KernelContext &ctx, int64_t columns,
                                int64_t group, double eps) {
  std::string name =
      llvm::formatv("rms_norm_{0}_{1}_{2}", columns, group, number(eps));
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  return getOrCreateKernel(
      ctx.module, name,
      {types.matrix(columns), types.bytes(), idx, types.matrix(columns), idx,
       idx},
      ctx.target, [&](KernelBuilder &b, ValueRange args) {
        Value x = args[0], weights = args[1], gamma = args[2], out = args[3];
        int64_t groups = columns / group;
        Value items = b.mul(b.dim(x, 0), groups);
        ItemRange range = b.partition(items, args[4], args[5]);
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value row = b.div(item, groups);
          Value first = b.mul(b.rem(item, groups), group);
          Value squares = b.reduceVectors(
              group, vector::CombiningKind::ADD, 0.0,
              [&](int64_t width, Value at) {
                Value v = b.loadVector(width, x, {row, b.add(first, at)});
                return b.fmul(v, v);
              });
          Value mean = b.fdiv(squares, b.f32(static_cast<double>(group)));
          Value root = math::SqrtOp::create(b, b.fadd(mean, b.f32(eps)));
          Value factor = b.fdiv(b.f32(1.0), root);
          b.forVectors(group, [&](int64_t width, Value at) {
            Value column = b.add(first, at);
            Value v = b.loadVector(width, x, {row, column});
            v = b.fmul(v, b.broadcast(width, factor));
            v = b.fmul(v, loadParameter(b, width, weights, gamma, at));
            b.storeVector(v, out, {row, column});
          });
        });
      });
}

func::FuncOp cpu::layerNormKernel(KernelContext &ctx, int64_t columns,
                                  double eps) {
  std::string name = llvm::formatv("layer_norm_{0}_{1}", columns, number(eps));
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  return getOrCreateKernel(
      ctx.module, name,
      {types.matrix(columns), types.bytes(), idx, idx, types.matrix(columns),
       idx, idx},
      ctx.target, [&](KernelBuilder &b, ValueRange args) {
        Value x = args[0], weights = args[1], out = args[4];
        ItemRange range = b.partition(b.dim(x, 0), args[5], args[6]);
        Value count = b.f32(static_cast<double>(columns));
        b.loop(range.begin, range.end, 1, [&](Value row) {
          Value sum =
              b.reduceVectors(columns, vector::CombiningKind::ADD, 0.0,
                              [&](int64_t width, Value at) {
                                return b.loadVector(width, x, {row, at});
                              });
          Value mean = b.fdiv(sum, count);
          // Two passes: the variance of large means would cancel in one.
          Value squares =
              b.reduceVectors(columns, vector::CombiningKind::ADD, 0.0,
                              [&](int64_t width, Value at) {
                                Value d =
                                    b.fsub(b.loadVector(width, x, {row, at}),
                                           b.broadcast(width, mean));
                                return b.fmul(d, d);
                              });
          Value root = math::SqrtOp::create(
              b, b.fadd(b.fdiv(squares, count), b.f32(eps)));
          Value factor = b.fdiv(b.f32(1.0), root);
          b.forVectors(columns, [&](int64_t width, Value at) {
            Value v = b.fsub(b.loadVector(width, x, {row, at}),
                             b.broadcast(width, mean));
            v = b.fmul(v, b.broadcast(width, factor));
            v = b.fma(v, loadParameter(b, width, weights, args[2], at),
                      loadParameter(b, width, weights, args[3], at));
            b.storeVector(v, out, {row, at});
          });
        });
      });
}

/// out[i] = body(a[i], b[i]) over all elements, split by rows.
static func::FuncOp
binaryKernel(KernelContext &ctx, StringRef name, int64_t columns,
             function_ref<Value(KernelBuilder &, Value, Value)> body) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType(), matrix = types.matrix(columns);
  return getOrCreateKernel(
      ctx.module, name, {matrix, matrix, matrix, idx, idx}, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        ItemRange range = b.partition(b.dim(args[0], 0), args[3], args[4]);
        b.loop(range.begin, range.end, 1, [&](Value row) {
          b.forVectors(columns, [&](int64_t width, Value at) {
            Value result = body(b, b.loadVector(width, args[0], {row, at}),
                                b.loadVector(width, args[1], {row, at}));
            b.storeVector(result, args[2], {row, at});
          });
        });
      });
}

func::FuncOp cpu::addKernel(KernelContext &ctx, int64_t columns) {
  return binaryKernel(
      ctx, llvm::formatv("add_{0}", columns).str(), columns,
      [](KernelBuilder &b, Value x, Value y) { return b.fadd(x, y); });
}

func::FuncOp cpu::gateKernel(KernelContext &ctx, int64_t columns,
                             GateKind kind) {
  return binaryKernel(
      ctx,
      llvm::formatv("gate_{0}_{1}", stringifyGateKind(kind), columns).str(),
      columns, [&](KernelBuilder &b, Value gate, Value up) {
        return b.fmul(emitActivation(b, kind, gate), up);
      });
}

Value cpu::emitActivation(KernelBuilder &b, GateKind kind, Value x) {
  int64_t width = cast<VectorType>(x.getType()).getNumElements();
  auto constant = [&](double value) { return b.splat(width, value); };
  switch (kind) {
  case GateKind::SiLU: {
    // x / (1 + exp(-x)); exp overflows to inf for very negative x: x / inf =
    // -0.
    Value e = math::ExpOp::create(b, b.fsub(constant(0.0), x));
    return b.fdiv(x, b.fadd(constant(1.0), e));
  }
  case GateKind::GELU: {
    Value erf =
        math::ErfOp::create(b, b.fmul(x, constant(0.70710678118654752440)));
    return b.fmul(b.fmul(x, constant(0.5)), b.fadd(constant(1.0), erf));
  }
  case GateKind::GELUTanh: {
    // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    Value cube = b.fmul(b.fmul(x, x), x);
    Value inner = b.fma(cube, constant(0.044715), x);
    if (b.target.reproducible) {
      // As GPUs: 1 + tanh(y) = 2 / (1 + exp(-2 y)).
      Value e = math::ExpOp::create(
          b, b.fmul(inner, constant(-2 * 0.79788456080286535588)));
      return b.fdiv(x, b.fadd(constant(1.0), e));
    }
    Value t = math::TanhOp::create(
        b, b.fmul(inner, constant(0.79788456080286535588)));
    return b.fmul(b.fmul(x, constant(0.5)), b.fadd(constant(1.0), t));
  }
  case GateKind::ReLU:
    return b.fmax(x, constant(0.0));
  }
  llvm_unreachable("unknown activation");
}

func::FuncOp cpu::lastTokenKernel(KernelContext &ctx, int64_t columns) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType(), matrix = types.matrix(columns);
  auto one = MemRefType::get({1, columns}, types.getF32Type());
  return getOrCreateKernel(
      ctx.module, llvm::formatv("last_token_{0}", columns).str(),
      {matrix, one, idx, idx}, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        ItemRange range = b.partition(b.index(1), args[2], args[3]);
        Value last = b.sub(b.dim(args[0], 0), b.index(1));
        b.loop(range.begin, range.end, 1, [&](Value row) {
          b.forVectors(columns, [&](int64_t width, Value at) {
            b.storeVector(b.loadVector(width, args[0], {last, at}), args[1],
                          {row, at});
          });
        });
      });
}
