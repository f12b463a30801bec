//===- FusedMatmulKernel.cpp - Several weights and an epilogue ------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

/// Calls body(width, column) over the columns [first, last).
static void forColumns(KernelBuilder &b, Value first, Value last,
                       function_ref<void(int64_t, Value)> body) {
  int64_t lanes = b.target.lanes;
  Value length = b.sub(last, first);
  Value full = b.add(first, b.mul(b.div(length, lanes), lanes));
  b.loop(first, full, lanes, [&](Value column) { body(lanes, column); });
  b.loop(full, last, 1, [&](Value column) { body(1, column); });
}

/// out[0, column] = sum over the first `parts` rows of `partial`.
static void emitAddPartials(KernelBuilder &b, Value parts, Value partial,
                            Value out, Value first, Value last) {
  forColumns(b, first, last, [&](int64_t width, Value column) {
    Value sum = b.loadVector(width, partial, {b.index(0), column});
    SmallVector<Value> total =
        b.loop(b.index(1), parts, 1, sum,
               [&](Value part, ValueRange carried) -> SmallVector<Value> {
                 return {b.fadd(carried[0],
                                b.loadVector(width, partial, {part, column}))};
               });
    b.storeVector(total[0], out, {b.index(0), column});
  });
}

bool cpu::hasOneDNNLayout(WeightType weight, Arithmetic arithmetic) {
  auto format = dyn_cast<FloatFormatAttr>(Attribute(weight.getFormat()));
  return arithmetic == Arithmetic::F32 && format && format.getType().isF32() &&
         weight.getPackedRows() == 16 && weight.getK() % 16 == 0;
}

/// Calls qc_onednn_matmul_f32 of the runtime for the row blocks of `own`:
/// whether it did them.
static Value emitOneDNN(KernelContext &ctx, KernelBuilder &b, WeightType weight,
                        Value weights, Value offset, Value x, Value out,
                        ItemRange own) {
  Type i64 = b.getI64Type(), i32 = b.getI32Type();
  StringRef name = "qc_onednn_matmul_f32";
  if (!ctx.module.lookupSymbol(name)) {
    OpBuilder top = OpBuilder::atBlockBegin(ctx.module.getBody());
    SmallVector<Type> types(7, i64);
    func::FuncOp::create(top, b.getLoc(), name,
                         b.getFunctionType(types, TypeRange{i32}))
        .setPrivate();
  }
  Value tokens = b.dim(out, 0);
  Value many = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, tokens,
                                     b.index(oneDNNTokens));
  auto branch =
      scf::IfOp::create(b, TypeRange{b.getI1Type()}, many, /*else=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.elseBlock());
  Value no = arith::ConstantOp::create(b, b.getBoolAttr(false));
  scf::YieldOp::create(b, no);
  b.setInsertionPointToStart(branch.thenBlock());
  ::qc::PackedLayout layout = weight.getLayout();
  auto pointer = [&](Value memory) -> Value {
    return memref::ExtractAlignedPointerAsIndexOp::create(b, memory);
  };
  Value first = b.mul(own.begin, layout.rows);
  Value last = b.min(b.mul(own.end, layout.rows), b.index(layout.n));
  Value at = b.add(b.add(b.add(pointer(weights), offset), layout.headerBytes),
                   b.mul(own.begin, layout.rowBlockBytes()));
  SmallVector<Value> operands = {at,
                                 pointer(x),
                                 b.add(pointer(out), b.mul(first, 4)),
                                 tokens,
                                 b.index(layout.k),
                                 b.sub(last, first),
                                 b.index(layout.n)};
  for (Value &operand : operands)
    operand = arith::IndexCastOp::create(b, i64, operand);
  Value result =
      func::CallOp::create(b, name, TypeRange{i32}, operands).getResult(0);
  Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
  Value did = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, result, zero);
  scf::YieldOp::create(b, did);
  return branch.getResult(0);
}

func::FuncOp cpu::fusedMatmulKernel(KernelContext &ctx,
                                    const MatmulSignature &sig) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  int64_t count = static_cast<int64_t>(sig.weights.size());
  ActivationLayout input =
      ActivationLayout::get(sig.weights.front(), sig.arithmetic, sig.tuning);
  SmallVector<Type> inputTypes = activationTypes(types, input);
  auto inputs = static_cast<int64_t>(inputTypes.size());

  SmallVector<Type> arguments = {types.bytes()};
  arguments.append(inputTypes);
  std::string name = "fused";
  for (WeightType weight : sig.weights)
    name += "_" + weightName(weight);
  name += llvm::formatv("_{0}", stringifyArithmetic(sig.arithmetic));
  name += tuningName(ctx, sig.tuning);
  if (sig.oneDNN) {
    name += "_onednn";
    arguments.push_back(types.matrix(input.k));
  }
  arguments.append(count, idx);
  if (sig.tables) {
    name += "_tables";
    for (WeightType weight : sig.weights)
      arguments.push_back(types.matrix(weight.getN()));
  }
  if (sig.bias) {
    name += "_bias";
    arguments.append(count, idx);
  }
  if (sig.residual) {
    name += "_residual";
    arguments.push_back(types.matrix(sig.weights.front().getN()));
  }
  if (sig.gate)
    name += llvm::formatv("_{0}", stringifyGateKind(*sig.gate));
  for (WeightType weight : sig.weights)
    arguments.push_back(types.matrix(weight.getN()));
  arguments.append(
      {LLVM::LLVMPointerType::get(ctx.module.getContext()), idx, idx});

  SmallVector<func::FuncOp> kernels;
  for (WeightType weight : sig.weights)
    kernels.push_back(matmulKernel(ctx, weight, sig.arithmetic, sig.tuning));

  return getOrCreateKernel(
      ctx.module, name, arguments, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        Value weights = args[0];
        ValueRange activations = args.slice(1, inputs);
        size_t next = 1 + inputs;
        Value x = sig.oneDNN ? args[next++] : Value();
        ValueRange offsets = args.slice(next, count);
        next += count;
        ValueRange partials = args.slice(next, sig.tables ? count : 0);
        next += partials.size();
        ValueRange biases = args.slice(next, sig.bias ? count : 0);
        next += biases.size();
        Value residual = sig.residual ? args[next++] : Value();
        ValueRange outs = args.slice(next, count);

        // The row blocks of all weights, one after the other; with a gate both
        // weights are split alike, so that a thread has both factors.
        SmallVector<int64_t> starts = {0};
        for (WeightType weight : sig.weights)
          starts.push_back(starts.back() + weight.getLayout().numRowBlocks());
        int64_t total = sig.gate ? starts[1] : starts.back();
        Value tokens = b.dim(outs[0], 0);
        b.forClaims(
            args[args.size() - 3], args[args.size() - 2], args.back(), total,
            tokens, [&](ItemRange range) {
              for (int64_t i = 0; i < count; ++i) {
                WeightType weight = sig.weights[i];
                int64_t blocks = weight.getLayout().numRowBlocks();
                ItemRange own = range;
                if (!sig.gate && count > 1) {
                  auto clamp = [&](Value v) {
                    return b.min(
                        b.max(b.sub(v, b.index(starts[i])), b.index(0)),
                        b.index(blocks));
                  };
                  own = {clamp(range.begin), clamp(range.end)};
                }
                SmallVector<Value> operands = {weights, offsets[i]};
                operands.append(activations.begin(), activations.end());
                operands.append({outs[i], own.begin, own.end});
                if (sig.tables) {
                  Value isOne =
                      arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                            b.dim(outs[i], 0), b.index(1));
                  auto branch =
                      scf::IfOp::create(b, isOne, /*withElseRegion=*/true);
                  OpBuilder::InsertionGuard guard(b);
                  b.setInsertionPointToStart(branch.thenBlock());
                  TableLayout t =
                      *TableLayout::get(ctx.target, weight, sig.arithmetic);
                  emitAddPartials(b, emitNumParts(b, t, args.back()),
                                  partials[i], outs[i],
                                  b.mul(own.begin, weight.getPackedRows()),
                                  b.min(b.mul(own.end, weight.getPackedRows()),
                                        b.index(weight.getN())));
                  b.setInsertionPointToStart(branch.elseBlock());
                  func::CallOp::create(b, kernels[i], operands);
                } else if (sig.oneDNN &&
                           hasOneDNNLayout(weight, sig.arithmetic)) {
                  Value did = emitOneDNN(ctx, b, weight, weights, offsets[i], x,
                                         outs[i], own);
                  Value no = arith::ConstantOp::create(b, b.getBoolAttr(false));
                  Value rest = arith::CmpIOp::create(
                      b, arith::CmpIPredicate::eq, did, no);
                  b.ifThen(rest, [&] {
                    func::CallOp::create(b, kernels[i], operands);
                  });
                } else {
                  func::CallOp::create(b, kernels[i], operands);
                }
                if (!sig.bias && !sig.residual && !sig.gate)
                  continue;
                if (sig.gate && i == 0 && !sig.bias)
                  continue;
                int64_t rows = weight.getPackedRows();
                Value first = b.mul(own.begin, rows);
                Value last =
                    b.min(b.mul(own.end, rows), b.index(weight.getN()));
                b.loop(b.index(0), b.dim(outs[i], 0), 1, [&](Value row) {
                  forColumns(b, first, last, [&](int64_t width, Value column) {
                    Value y = b.loadVector(width, outs[i], {row, column});
                    if (sig.bias) {
                      Value raw =
                          b.loadVector(4 * width, weights,
                                       b.add(biases[i], b.mul(column, 4)));
                      y = b.fadd(
                          y, vector::BitCastOp::create(b, b.f32s(width), raw));
                    }
                    if (sig.residual)
                      y = b.fadd(y,
                                 b.loadVector(width, residual, {row, column}));
                    Value out = outs[i];
                    if (sig.gate && i == 1) {
                      Value g = b.loadVector(width, outs[0], {row, column});
                      y = b.fmul(emitActivation(b, *sig.gate, g), y);
                      out = outs[0];
                    }
                    b.storeVector(y, out, {row, column});
                  });
                });
              }
            });
      });
}
