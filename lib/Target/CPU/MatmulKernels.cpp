//===- MatmulKernels.cpp - Activations times packed weights ---------------===//
//
// One generator for every format. `rows` outputs of a row block are the lanes
// of the accumulators, so there are no horizontal sums; a tile of tokens shares
// each decoded register of weights.
//
//   f32 arithmetic: the format decodes a chunk to vectors of weights of one
//   input each; acc += w * x. Block and row scales multiply sums, not weights.
//
//   int8 arithmetic, affine formats: with codes c, zero point z, scale s of a K
//   block and activations x ~ sx * a, a in [-127, 127],
//     sum w x = s sx (sum c a - z sum a),
//   the first sum exact in i32 by 4-way integer dot products.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

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
  b.store(sum, args[3], {row, block});
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
  if (int8)
    arguments.append({types.matrix(layout.paddedK(), types.getI8Type()),
                      types.matrix(layout.numBlocks()),
                      types.matrix(layout.numBlocks())});
  else
    arguments.push_back(types.matrix(layout.paddedK()));
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

//===----------------------------------------------------------------------===//
// Row blocks
//===----------------------------------------------------------------------===//

namespace {

/// Emits the product of one row block with a tile of tokens.
class RowBlockEmitter {
public:
  RowBlockEmitter(KernelBuilder &b, WeightType weight, Arithmetic arithmetic,
                  Value weights)
      : b(b), e{b, b.getLoc(), weights, weight.getPackedRows(), b.target},
        format(weight.getFormat()), layout(weight.getLayout()),
        arithmetic(arithmetic) {}

  /// sums of `tokens` rows from `row` on: vector<rows x f32> each. `header` and
  /// `block` are byte offsets of the weight and of the row block.
  SmallVector<Value> emit(Value header, Value rowBlock, ValueRange activations,
                          Value row, int64_t tokens);

private:
  Value token(Value row, int64_t m) { return b.add(row, m); }
  SmallVector<Value> blockF32(Value chunks, ValueRange rowParams,
                              ValueRange blockParams, ValueRange activations,
                              Value row, Value firstK, int64_t tokens,
                              ValueRange init);
  SmallVector<Value> blockInt8(Value chunks, ValueRange activations, Value row,
                               Value firstK, int64_t tokens);
  Value dot(Value acc, Value codes, Value activations);

  KernelBuilder &b;
  DecodeEmitter e;
  FormatAttrInterface format;
  ::qc::PackedLayout layout;
  Arithmetic arithmetic;
};

} // namespace

/// acc + 4-way dot products of unsigned codes with signed activations.
Value RowBlockEmitter::dot(Value acc, Value codes, Value activations) {
  const TargetFeatures &t = b.target;
  auto call = [&](StringRef name, Type result, ValueRange operands) -> Value {
    return LLVM::CallIntrinsicOp::create(b, result, b.getStringAttr(name),
                                         operands)
        .getResult(0);
  };
  int64_t rows = e.rows;
  if (rows == 16 && t.vnni512)
    return call("llvm.x86.avx512.vpdpbusd.512", b.i32s(16),
                {acc, codes, activations});
  if (rows == 8 && t.vnni256)
    return call("llvm.x86.avx512.vpdpbusd.256", b.i32s(8),
                {acc, codes, activations});
  // pmaddubsw saturates pairs at 2^15: safe for codes up to 127, since
  // 2 * 127 * 127 < 2^15. 8-bit codes are widened instead.
  if (format.getAffineBits() <= 7) {
    auto pairs = VectorType::get({2 * rows}, b.getI16Type());
    Value ones = arith::ConstantOp::create(
        b, DenseElementsAttr::get(pairs, b.getI16IntegerAttr(1)));
    StringRef byteDot, wordDot;
    if (rows == 16 && t.avx512) {
      byteDot = "llvm.x86.avx512.pmaddubs.w.512";
      wordDot = "llvm.x86.avx512.pmaddw.d.512";
    } else if (rows == 8 && t.avx2) {
      byteDot = "llvm.x86.avx2.pmadd.ub.sw";
      wordDot = "llvm.x86.avx2.pmadd.wd";
    } else if (rows == 4) {
      byteDot = "llvm.x86.ssse3.pmadd.ub.sw.128";
      wordDot = "llvm.x86.sse2.pmadd.wd";
    }
    if (!byteDot.empty())
      return b.add(acc,
                   call(wordDot, b.i32s(rows),
                        {call(byteDot, pairs, {codes, activations}), ones}));
  }
  Value sum = acc;
  Value c = vector::BitCastOp::create(b, b.i32s(rows), codes);
  Value a = vector::BitCastOp::create(b, b.i32s(rows), activations);
  auto shift = [&](int64_t amount) { return e.splatInt(b.i32s(rows), amount); };
  for (int64_t q = 0; q < 4; ++q) {
    Value cq = arith::ShRUIOp::create(
        b, arith::ShLIOp::create(b, c, shift(24 - 8 * q)), shift(24));
    Value aq = arith::ShRSIOp::create(
        b, arith::ShLIOp::create(b, a, shift(24 - 8 * q)), shift(24));
    sum = b.add(sum, b.mul(cq, aq));
  }
  return sum;
}

/// Integer sums of one K block.
SmallVector<Value> RowBlockEmitter::blockInt8(Value chunks,
                                              ValueRange activations, Value row,
                                              Value firstK, int64_t tokens) {
  int64_t count = layout.chunksPerBlock();
  // One token alone would wait for each dot product: keep several sums.
  int64_t ways = tokens == 1 ? 4 : 1;
  Value zero = e.splatInt(b.i32s(e.rows), 0);
  auto chunk = [&](Value at, Value k, SmallVector<Value> sums) {
    for (auto [j, codes] : llvm::enumerate(format.emitCodes(e, at))) {
      Value from = b.add(k, 4 * static_cast<int64_t>(j));
      for (int64_t m = 0; m < tokens; ++m) {
        Value four = b.loadVector(4, activations[0], {token(row, m), from});
        Value word = vector::ExtractOp::create(
            b, vector::BitCastOp::create(b, b.i32s(1), four), 0);
        Value all = vector::BitCastOp::create(b, b.i8s(4 * e.rows),
                                              b.broadcast(e.rows, word));
        Value &sum = sums[m * ways + static_cast<int64_t>(j) % ways];
        sum = dot(sum, codes, all);
      }
    }
    return sums;
  };
  SmallVector<Value> sums(tokens * ways, zero);
  int64_t registers = layout.chunkK / 4;
  if (count * registers <= 32) {
    for (int64_t c = 0; c < count; ++c)
      sums = chunk(b.add(chunks, c * layout.chunkBytes),
                   b.add(firstK, c * layout.chunkK), sums);
  } else {
    sums = b.loop(b.index(0), b.index(count), 1, sums,
                  [&](Value c, ValueRange carried) {
                    return chunk(b.add(chunks, b.mul(c, layout.chunkBytes)),
                                 b.add(firstK, b.mul(c, layout.chunkK)),
                                 SmallVector<Value>(carried));
                  });
  }
  SmallVector<Value> totals;
  for (int64_t m = 0; m < tokens; ++m) {
    Value total = sums[m * ways];
    for (int64_t w = 1; w < ways; ++w)
      total = b.add(total, sums[m * ways + w]);
    totals.push_back(total);
  }
  return totals;
}

/// init + sums of one K block, in units of the block scale.
SmallVector<Value> RowBlockEmitter::blockF32(Value chunks, ValueRange rowParams,
                                             ValueRange blockParams,
                                             ValueRange activations, Value row,
                                             Value firstK, int64_t tokens,
                                             ValueRange init) {
  int64_t count = layout.chunksPerBlock();
  int64_t ways = tokens == 1 ? 4 : 1;
  // Enough inputs in a loop body to fill the pipeline.
  int64_t unroll = std::max<int64_t>(1, 8 / layout.chunkK);
  int64_t main = count / unroll * unroll;
  auto chunk = [&](Value at, Value k, int64_t phase, SmallVector<Value> sums) {
    for (auto [j, w] :
         llvm::enumerate(format.emitChunk(e, at, rowParams, blockParams))) {
      Value from = b.add(k, static_cast<int64_t>(j));
      for (int64_t m = 0; m < tokens; ++m) {
        Value x = b.load(activations[0], {token(row, m), from});
        Value &sum = sums[m * ways + (phase + static_cast<int64_t>(j)) % ways];
        sum = b.fma(w, b.broadcast(e.rows, x), sum);
      }
    }
    return sums;
  };
  SmallVector<Value> sums(tokens * ways, b.splat(e.rows, 0.0));
  for (int64_t m = 0; m < tokens; ++m)
    sums[m * ways] = init[m];
  if (main)
    sums = b.loop(b.index(0), b.index(main), unroll, sums,
                  [&](Value c, ValueRange carried) {
                    SmallVector<Value> next(carried);
                    Value at = b.add(chunks, b.mul(c, layout.chunkBytes));
                    Value k = b.add(firstK, b.mul(c, layout.chunkK));
                    for (int64_t u = 0; u < unroll; ++u)
                      next = chunk(b.add(at, u * layout.chunkBytes),
                                   b.add(k, u * layout.chunkK),
                                   u * layout.chunkK, next);
                    return next;
                  });
  for (int64_t c = main; c < count; ++c)
    sums = chunk(b.add(chunks, c * layout.chunkBytes),
                 b.add(firstK, c * layout.chunkK), c * layout.chunkK, sums);
  SmallVector<Value> totals;
  for (int64_t m = 0; m < tokens; ++m) {
    Value total = sums[m * ways];
    for (int64_t w = 1; w < ways; ++w)
      total = b.fadd(total, sums[m * ways + w]);
    totals.push_back(total);
  }
  return totals;
}

SmallVector<Value> RowBlockEmitter::emit(Value header, Value rowBlock,
                                         ValueRange activations, Value row,
                                         int64_t tokens) {
  SmallVector<Value> rowParams = format.emitRowParams(e, header, rowBlock);
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  auto block = [&](Value index, ValueRange sums) {
    Value at = b.add(blocks, b.mul(index, layout.blockBytes()));
    Value chunks = b.add(at, layout.blockParamBytes);
    Value firstK = b.mul(index, layout.paddedBlockK);
    SmallVector<Value> params = format.emitBlockParams(e, at);
    Value scale = format.emitBlockScale(e, params);
    if (arithmetic == Arithmetic::F32) {
      if (!scale)
        return blockF32(chunks, rowParams, params, activations, row, firstK,
                        tokens, sums);
      SmallVector<Value> init(tokens, b.splat(e.rows, 0.0));
      SmallVector<Value> part = blockF32(chunks, rowParams, params, activations,
                                         row, firstK, tokens, init);
      for (int64_t m = 0; m < tokens; ++m)
        part[m] = b.fma(part[m], scale, sums[m]);
      return part;
    }
    SmallVector<Value> part =
        blockInt8(chunks, activations, row, firstK, tokens);
    Value zero = format.emitZero(e, params);
    for (int64_t m = 0; m < tokens; ++m) {
      Value sx = b.load(activations[1], {token(row, m), index});
      Value sum = b.load(activations[2], {token(row, m), index});
      Value ints = arith::SIToFPOp::create(b, b.f32s(e.rows), part[m]);
      Value shifted = b.fsub(ints, b.fmul(zero, b.broadcast(e.rows, sum)));
      part[m] = b.fma(shifted, b.fmul(scale, b.broadcast(e.rows, sx)), sums[m]);
    }
    return part;
  };
  SmallVector<Value> sums(tokens, b.splat(e.rows, 0.0));
  if (layout.numBlocks() == 1)
    sums = block(b.index(0), sums);
  else
    sums = b.loop(b.index(0), b.index(layout.numBlocks()), 1, sums, block);
  if (Value scale = format.emitRowScale(e, rowParams))
    for (Value &sum : sums)
      sum = b.fmul(sum, scale);
  return sums;
}

/// Stores one vector of outputs; the last row block may be ragged.
static void emitStore(KernelBuilder &b, const ::qc::PackedLayout &layout,
                      Value sum, Value out, Value row, Value rowBlock) {
  Value column = b.mul(rowBlock, layout.rows);
  if (layout.n % layout.rows == 0) {
    b.storeVector(sum, out, {row, column});
    return;
  }
  Value left = b.sub(b.index(layout.n), column);
  Value mask = vector::CreateMaskOp::create(
      b, VectorType::get({layout.rows}, b.getI1Type()), ValueRange{left});
  vector::MaskedStoreOp::create(b, out, ValueRange{row, column}, mask, sum);
}

func::FuncOp cpu::matmulKernel(KernelContext &ctx, WeightType weight,
                               Arithmetic arithmetic) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  ::qc::PackedLayout layout = weight.getLayout();
  ActivationLayout input = ActivationLayout::get(weight, arithmetic);
  Type idx = types.getIndexType();
  bool int8 = arithmetic == Arithmetic::Int8;
  SmallVector<Type> arguments = {types.bytes(), idx};
  if (int8)
    arguments.append({types.matrix(input.paddedK(), types.getI8Type()),
                      types.matrix(input.numBlocks()),
                      types.matrix(input.numBlocks())});
  else
    arguments.push_back(types.matrix(input.paddedK()));
  arguments.append({types.matrix(layout.n), idx, idx});
  std::string name = llvm::formatv("matmul_{0}_{1}", weightName(weight),
                                   stringifyArithmetic(arithmetic));
  return getOrCreateKernel(
      ctx.module, name, arguments, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        Value out = args[args.size() - 3];
        ValueRange activations = args.slice(2, int8 ? 3 : 1);
        Value tokens = b.dim(out, 0);
        // Registers for the sums of a tile, its weights and temporaries.
        int64_t tile = b.target.avx512 ? 8 : 4;
        Value tiled = b.mul(b.div(tokens, tile), tile);
        RowBlockEmitter emitter(b, weight, arithmetic, args[0]);
        b.loop(args[args.size() - 2], args[args.size() - 1], 1,
               [&](Value rowBlock) {
                 Value at = b.add(b.add(args[1], layout.headerBytes),
                                  b.mul(rowBlock, layout.rowBlockBytes()));
                 auto rows = [&](Value row, int64_t count) {
                   SmallVector<Value> sums =
                       emitter.emit(args[1], at, activations, row, count);
                   for (int64_t m = 0; m < count; ++m)
                     emitStore(b, layout, sums[m], out, b.add(row, m),
                               rowBlock);
                 };
                 b.loop(b.index(0), tiled, tile,
                        [&](Value row) { rows(row, tile); });
                 b.loop(tiled, tokens, 1, [&](Value row) { rows(row, 1); });
               });
      });
}

//===----------------------------------------------------------------------===//
// Several weights and an epilogue
//===----------------------------------------------------------------------===//

/// Calls body(width, column) over the columns [first, last).
static void forColumns(KernelBuilder &b, Value first, Value last,
                       function_ref<void(int64_t, Value)> body) {
  int64_t lanes = b.target.lanes;
  Value length = b.sub(last, first);
  Value full = b.add(first, b.mul(b.div(length, lanes), lanes));
  b.loop(first, full, lanes, [&](Value column) { body(lanes, column); });
  b.loop(full, last, 1, [&](Value column) { body(1, column); });
}

func::FuncOp cpu::fusedMatmulKernel(KernelContext &ctx,
                                    const MatmulSignature &sig) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  int64_t count = static_cast<int64_t>(sig.weights.size());
  bool int8 = sig.arithmetic == Arithmetic::Int8;
  ActivationLayout input =
      ActivationLayout::get(sig.weights.front(), sig.arithmetic);
  int64_t inputs = int8 ? 3 : 1;

  SmallVector<Type> arguments = {types.bytes()};
  if (int8)
    arguments.append({types.matrix(input.paddedK(), types.getI8Type()),
                      types.matrix(input.numBlocks()),
                      types.matrix(input.numBlocks())});
  else
    arguments.push_back(types.matrix(input.paddedK()));
  std::string name = "fused";
  for (WeightType weight : sig.weights)
    name += "_" + weightName(weight);
  name += llvm::formatv("_{0}", stringifyArithmetic(sig.arithmetic));
  arguments.append(count, idx);
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
  arguments.append({idx, idx});

  SmallVector<func::FuncOp> kernels;
  for (WeightType weight : sig.weights)
    kernels.push_back(matmulKernel(ctx, weight, sig.arithmetic));

  return getOrCreateKernel(
      ctx.module, name, arguments, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        Value weights = args[0];
        ValueRange activations = args.slice(1, inputs);
        size_t next = 1 + inputs;
        ValueRange offsets = args.slice(next, count);
        next += count;
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
        ItemRange range = b.partition(b.index(total), args[args.size() - 2],
                                      args[args.size() - 1]);
        for (int64_t i = 0; i < count; ++i) {
          WeightType weight = sig.weights[i];
          int64_t blocks = weight.getLayout().numRowBlocks();
          ItemRange own = range;
          if (!sig.gate && count > 1) {
            auto clamp = [&](Value v) {
              return b.min(b.max(b.sub(v, b.index(starts[i])), b.index(0)),
                           b.index(blocks));
            };
            own = {clamp(range.begin), clamp(range.end)};
          }
          SmallVector<Value> operands = {weights, offsets[i]};
          operands.append(activations.begin(), activations.end());
          operands.append({outs[i], own.begin, own.end});
          func::CallOp::create(b, kernels[i], operands);
          if (!sig.bias && !sig.residual && !sig.gate)
            continue;
          if (sig.gate && i == 0 && !sig.bias)
            continue;
          int64_t rows = weight.getPackedRows();
          Value first = b.mul(own.begin, rows);
          Value last = b.min(b.mul(own.end, rows), b.index(weight.getN()));
          b.loop(b.index(0), b.dim(outs[i], 0), 1, [&](Value row) {
            forColumns(b, first, last, [&](int64_t width, Value column) {
              Value y = b.loadVector(width, outs[i], {row, column});
              if (sig.bias) {
                Value raw = b.loadVector(4 * width, weights,
                                         b.add(biases[i], b.mul(column, 4)));
                y = b.fadd(y, vector::BitCastOp::create(b, b.f32s(width), raw));
              }
              if (sig.residual)
                y = b.fadd(y, b.loadVector(width, residual, {row, column}));
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
}
