//===- RowKernels.cpp - Normalization and elementwise kernels -------------===//
#include "Kernels.h"
#include "qc/Runtime/DeviceABI.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;

static std::string number(double value) {
  std::string text = llvm::formatv("{0:e}", value).str();
  for (char &c : text)
    if (!llvm::isAlnum(c))
      c = '_';
  return text;
}

/// init combined with body(i) of this thread's i in [0, n).
static Value strided(GPUBuilder &b, int64_t n, Value init,
                     function_ref<Value(Value i, Value sum)> body) {
  return b.loop(b.thread(), b.index(n), b.threads, init,
                [&](Value i, ValueRange carried) -> SmallVector<Value> {
                  return {body(i, carried[0])};
                })[0];
}

Kernel mlir::qc::gpu::rmsNormKernel(KernelContext &ctx, int64_t columns,
                                    int64_t group, double eps) {
  std::string name =
      llvm::formatv("rms_norm_{0}_{1}_{2}", columns, group, number(eps));
  Type f = ctx.floats();
  return getOrCreateKernel(
      ctx, name, {f, f, f}, [&](GPUBuilder &b, ValueRange args) {
        Value scratch = b.shared(b.threads);
        Value first =
            b.add(b.mul(b.groupY(), columns), b.mul(b.groupX(), group));
        Value squares = strided(b, group, b.f32(0), [&](Value i, Value sum) {
          Value v = b.load(args[0], b.add(first, i));
          return b.fma(v, v, sum);
        });
        squares = b.reduceSum(squares, scratch);
        Value mean = b.fdiv(squares, b.f32(static_cast<double>(group)));
        Value root = math::SqrtOp::create(b, b.fadd(mean, b.f32(eps)));
        Value factor = b.fdiv(b.f32(1.0), root);
        b.loop(b.thread(), b.index(group), b.threads, [&](Value i) {
          Value at = b.add(first, i);
          Value v = b.fmul(b.load(args[0], at), factor);
          b.store(b.fmul(v, b.load(args[1], i)), args[2], at);
        });
      });
}

Kernel mlir::qc::gpu::layerNormKernel(KernelContext &ctx, int64_t columns,
                                      double eps) {
  std::string name = llvm::formatv("layer_norm_{0}_{1}", columns, number(eps));
  Type f = ctx.floats();
  return getOrCreateKernel(
      ctx, name, {f, f, f, f}, [&](GPUBuilder &b, ValueRange args) {
        Value scratch = b.shared(b.threads);
        Value first = b.mul(b.groupY(), columns);
        Value count = b.f32(static_cast<double>(columns));
        Value sum = strided(b, columns, b.f32(0), [&](Value i, Value sum) {
          return b.fadd(sum, b.load(args[0], b.add(first, i)));
        });
        Value mean = b.fdiv(b.reduceSum(sum, scratch), count);
        // Two passes: the variance of large means would cancel in one.
        Value squares = strided(b, columns, b.f32(0), [&](Value i, Value sum) {
          Value d = b.fsub(b.load(args[0], b.add(first, i)), mean);
          return b.fma(d, d, sum);
        });
        Value variance = b.fdiv(b.reduceSum(squares, scratch), count);
        Value root = math::SqrtOp::create(b, b.fadd(variance, b.f32(eps)));
        Value factor = b.fdiv(b.f32(1.0), root);
        b.loop(b.thread(), b.index(columns), b.threads, [&](Value i) {
          Value at = b.add(first, i);
          Value v = b.fmul(b.fsub(b.load(args[0], at), mean), factor);
          b.store(b.fma(v, b.load(args[1], i), b.load(args[2], i)), args[3],
                  at);
        });
      });
}

/// body(element of the row, element of the matrix), one a thread.
static void forElement(GPUBuilder &b, int64_t columns,
                       function_ref<void(Value, Value)> body) {
  Value i = b.add(b.mul(b.groupX(), b.threads), b.thread());
  auto emit = [&] { body(i, b.add(b.mul(b.groupY(), columns), i)); };
  if (columns % b.threads == 0)
    emit();
  else
    b.ifThen(b.less(i, columns), emit);
}

Kernel mlir::qc::gpu::addKernel(KernelContext &ctx, int64_t columns) {
  Type f = ctx.floats();
  return getOrCreateKernel(
      ctx, llvm::formatv("add_{0}", columns).str(), {f, f, f},
      [&](GPUBuilder &b, ValueRange args) {
        forElement(b, columns, [&](Value, Value at) {
          b.store(b.fadd(b.load(args[0], at), b.load(args[1], at)), args[2],
                  at);
        });
      });
}

Kernel mlir::qc::gpu::gateKernel(KernelContext &ctx, int64_t columns,
                                 GateKind kind) {
  Type f = ctx.floats();
  return getOrCreateKernel(
      ctx,
      llvm::formatv("gate_{0}_{1}", stringifyGateKind(kind), columns).str(),
      {f, f, f}, [&](GPUBuilder &b, ValueRange args) {
        forElement(b, columns, [&](Value, Value at) {
          Value gate = emitActivation(b, kind, b.load(args[0], at));
          b.store(b.fmul(gate, b.load(args[1], at)), args[2], at);
        });
      });
}

Value mlir::qc::gpu::emitActivation(GPUBuilder &b, GateKind kind, Value x) {
  switch (kind) {
  case GateKind::SiLU:
    // x / (1 + exp(-x)); exp overflows to inf for very negative x: x / inf =
    // -0.
    return b.fdiv(x, b.fadd(b.f32(1.0), b.exp(b.fsub(b.f32(0.0), x))));
  case GateKind::GELU: {
    Value erf =
        math::ErfOp::create(b, b.fmul(x, b.f32(0.70710678118654752440)));
    return b.fmul(b.fmul(x, b.f32(0.5)), b.fadd(b.f32(1.0), erf));
  }
  case GateKind::GELUTanh: {
    // 0.5 x (1 + tanh(y)), y = sqrt(2/pi) (x + 0.044715 x^3), and
    // 1 + tanh(y) = 2 / (1 + exp(-2 y)).
    Value cube = b.fmul(b.fmul(x, x), x);
    Value inner = b.fma(cube, b.f32(0.044715), x);
    Value e = b.exp(b.fmul(inner, b.f32(-2 * 0.79788456080286535588)));
    return b.fdiv(x, b.fadd(b.f32(1.0), e));
  }
  case GateKind::ReLU:
    return b.fmax(x, b.f32(0.0));
  }
  llvm_unreachable("unknown activation");
}

Kernel mlir::qc::gpu::lastTokenKernel(KernelContext &ctx, int64_t columns) {
  Type f = ctx.floats();
  return getOrCreateKernel(
      ctx, llvm::formatv("last_token_{0}", columns).str(), {ctx.words(), f, f},
      [&](GPUBuilder &b, ValueRange args) {
        Value count = b.toIndex(b.load(args[0], b.index(1)));
        Value last = b.mul(b.sub(count, b.index(1)), columns);
        forElement(b, columns, [&](Value i, Value at) {
          b.store(b.load(args[1], b.add(last, i)), args[2], at);
        });
      });
}

Kernel mlir::qc::gpu::rotaryKernel(KernelContext &ctx, int64_t columns,
                                   int64_t headDim, int64_t tableColumns) {
  Type f = ctx.floats();
  return getOrCreateKernel(
      ctx,
      llvm::formatv("rotary_{0}_{1}_{2}", columns, headDim, tableColumns).str(),
      {ctx.words(), f, f, f}, [&](GPUBuilder &b, ValueRange args) {
        int64_t half = tableColumns / 2;
        Value position = b.toIndex(b.load(args[0], b.index(0)));
        Value row = b.mul(b.add(position, b.groupY()), tableColumns);
        forElement(b, columns, [&](Value i, Value at) {
          Value d = b.rem(i, headDim);
          auto rotate = [&] {
            // (u, v) -> (u c - v s, v c + u s): the partner half a table away.
            Value isLow = b.less(d, half);
            Value pair = b.select(isLow, d, b.sub(d, b.index(half)));
            Value partner =
                b.select(isLow, b.add(at, half), b.sub(at, b.index(half)));
            Value c = b.load(args[2], b.add(row, pair));
            Value s = b.load(args[2], b.add(b.add(row, pair), half));
            s = b.select(isLow, b.fsub(b.f32(0.0), s), s);
            Value own = b.fmul(b.load(args[1], at), c);
            b.store(b.fma(b.load(args[1], partner), s, own), args[3], at);
          };
          if (tableColumns == headDim)
            return rotate();
          b.ifThen(b.less(d, tableColumns), rotate);
          b.ifThen(b.less(b.index(tableColumns - 1), d),
                   [&] { b.store(b.load(args[1], at), args[3], at); });
        });
      });
}
