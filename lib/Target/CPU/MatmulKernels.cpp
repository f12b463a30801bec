//===- MatmulKernels.cpp - Activations times packed weights ---------------===//
//
// One generator for every format. Output rows are the lanes of the
// accumulators, so there are no horizontal sums; a tile of tokens shares each
// decoded register of weights. A row block with more rows than a register has
// lanes is taken in parts.
//
//   f32 arithmetic: the format decodes a chunk to vectors of weights of one
//   input each; acc += w * x. Block and row scales multiply sums, not weights.
//
//   int8 arithmetic: with codes c, zero point z, scale s of a K block and
//   activations x ~ sx * a, a in [-127, 127],
//     sum w x = s sx (sum c a - z sum a),
//   the first sum exact in i32 by 4-way integer dot products. A zero point that
//   is the same integer everywhere starts the sum.
//
//===----------------------------------------------------------------------===//
#include "TileEmitter.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

//===----------------------------------------------------------------------===//
// Integer dot products
//===----------------------------------------------------------------------===//

Value TileEmitter::multiplyAdd(Value acc, Value unsignedBytes,
                               Value signedBytes) {
  auto pairs = VectorType::get({2 * e.rows}, b.getI16Type());
  Value ones = arith::ConstantOp::create(
      b, DenseElementsAttr::get(pairs, b.getI16IntegerAttr(1)));
  StringRef byteDot = e.rows == 16  ? "llvm.x86.avx512.pmaddubs.w.512"
                      : e.rows == 8 ? "llvm.x86.avx2.pmadd.ub.sw"
                                    : "llvm.x86.ssse3.pmadd.ub.sw.128";
  StringRef wordDot = e.rows == 16  ? "llvm.x86.avx512.pmaddw.d.512"
                      : e.rows == 8 ? "llvm.x86.avx2.pmadd.wd"
                                    : "llvm.x86.sse2.pmadd.wd";
  Value products = intrinsic(byteDot, pairs, {unsignedBytes, signedBytes});
  return b.add(acc, intrinsic(wordDot, b.i32s(e.rows), {products, ones}));
}

/// acc + 4-way dot products of (codes - 128) with signed activations.
// pmaddubsw saturates pairs at 2^15. With |w| <= 128 as the unsigned operand
// and the sign moved to a pair stays below 2 * 128 * 127 < 2^15.
Value TileEmitter::dotSigned(Value acc, Value codes, Value activations) {
  auto bytes = cast<VectorType>(codes.getType());
  Value zero = e.splatInt(bytes, 0);
  Value w = arith::XOrIOp::create(b, codes, e.splatInt(bytes, -128));
  Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, w, zero);
  Value magnitude = arith::SelectOp::create(b, negative, b.sub(zero, w), w);
  Value moved;
  if (e.rows == 16)
    moved = arith::SelectOp::create(b, negative, b.sub(zero, activations),
                                    activations);
  else
    moved = intrinsic(e.rows == 8 ? "llvm.x86.avx2.psign.b"
                                  : "llvm.x86.ssse3.psign.b.128",
                      bytes, {activations, w});
  return multiplyAdd(acc, magnitude, moved);
}

/// acc + 4-way dot products of (unsigned codes - dotOffset()) with signed
/// activations.
Value TileEmitter::dot(Value acc, Value codes, Value activations) {
  if (hasVNNI())
    return intrinsic(e.rows == 16 ? "llvm.x86.avx512.vpdpbusd.512"
                                  : "llvm.x86.avx512.vpdpbusd.256",
                     b.i32s(e.rows), {acc, codes, activations});
  if (dotOffset())
    return dotSigned(acc, codes, activations);
  // Codes up to 127: 2 * 127 * 127 < 2^15.
  return multiplyAdd(acc, codes, activations);
}

/// A code that is a shifted and masked part of bytes, nearer to where it lies:
/// `bytes` are the code times 2^shift.
struct StoredCode {
  Value bytes;
  int64_t shift = 0;
};
/// Leaves shifts by multiples of `period` bits to the code.
static std::optional<StoredCode> matchStored(KernelBuilder &b, Value code,
                                             int64_t period) {
  auto field = code.getDefiningOp<arith::AndIOp>();
  DenseIntElementsAttr mask, amount;
  if (!field || !matchPattern(field.getRhs(), m_Constant(&mask)) ||
      !mask.isSplat())
    return std::nullopt;
  auto cast = field.getLhs().getDefiningOp<vector::BitCastOp>();
  auto shifted =
      cast ? cast.getSource().getDefiningOp<arith::ShRUIOp>() : nullptr;
  if (!shifted)
    return StoredCode{code, 0};
  if (!matchPattern(shifted.getRhs(), m_Constant(&amount)) || !amount.isSplat())
    return std::nullopt;
  int64_t all = amount.getSplatValue<APInt>().getSExtValue();
  int64_t shift = all % period;
  auto high =
      static_cast<int64_t>(mask.getSplatValue<APInt>().getZExtValue() << shift);
  if (high > 255)
    return std::nullopt;
  auto type = llvm::cast<VectorType>(code.getType());
  Value words = shifted.getLhs();
  if (all != shift)
    words = arith::ShRUIOp::create(
        b, words,
        arith::ConstantOp::create(
            b, DenseElementsAttr::get(
                   llvm::cast<VectorType>(words.getType()),
                   b.getI32IntegerAttr(static_cast<int32_t>(all - shift)))));
  Value bytes = vector::BitCastOp::create(b, type, words);
  Value highMask = arith::ConstantOp::create(
      b, DenseElementsAttr::get(type,
                                b.getI8IntegerAttr(static_cast<int8_t>(high))));
  return StoredCode{arith::AndIOp::create(b, bytes, highMask), shift};
}

/// init + integer sums of one block of activations at `codes`.
SmallVector<Value> TileEmitter::chunksInt8(Value chunks, ValueRange rowParams,
                                           Value codes, ValueRange init) {
  int64_t count = input.paddedBlockK / layout.chunkK;
  int64_t perPlane = layout.chunkK / 4;
  auto tokens = static_cast<int64_t>(init.size());
  int64_t ways = std::max<int64_t>(1, tuning.sums / tokens);
  // Codes of a few bits are as good where they lie in their bytes, if those of
  // one place have a sum of their own, which is shifted in the end: for one
  // token, shifting each of them costs as much as multiplying. Four places,
  // since each sum costs something at the end of a block.
  int64_t bits = format.getIntegerBits();
  int64_t places = std::min<int64_t>(4, 8 / bits);
  bool inPlace = hasVNNI() && tokens == 1 && 8 % bits == 0 &&
                 input.paddedBlockK <= 1 << 15;
  if (inPlace)
    ways = std::max(ways, places);
  SmallVector<std::optional<int64_t>> shifts(ways);
  auto chunk = [&](Value at, Value x, SmallVector<Value> sums,
                   FetchedAhead &fetched, int64_t position) {
    SmallVector<Value> planes = format.emitCodes(e, at, rowParams);
    auto number = static_cast<int64_t>(planes.size());
    for (auto [i, decoded] : llvm::enumerate(planes)) {
      auto j = static_cast<int64_t>(i);
      fetchUpTo(fetched, position + j * layout.chunkBytes / number);
      Value weights = decoded;
      std::optional<int64_t> &shift = shifts[j % ways];
      std::optional<StoredCode> stored;
      if (inPlace)
        stored = matchStored(b, decoded, places * bits);
      if (stored && stored->shift == shift.value_or(stored->shift)) {
        weights = stored->bytes;
        shift = stored->shift;
      } else {
        assert(shift.value_or(0) == 0 && "a sum has codes of one place");
        shift = 0;
      }
      for (int64_t m = 0; m < tokens; ++m) {
        Value four = b.loadVector(4, activations[0],
                                  b.add(x, 4 * (j % perPlane * tokens + m)));
        Value word = vector::ExtractOp::create(
            b, vector::BitCastOp::create(b, b.i32s(1), four), 0);
        Value all = vector::BitCastOp::create(b, b.i8s(4 * e.rows),
                                              b.broadcast(e.rows, word));
        Value &sum = sums[m * ways + j % ways];
        sum = dot(sum, weights, all);
      }
    }
    return sums;
  };
  SmallVector<Value> sums(tokens * ways, e.splatInt(b.i32s(e.rows), 0));
  for (int64_t m = 0; m < tokens; ++m)
    sums[m * ways] = init[m];
  int64_t ahead = prefetchDistance(tokens);
  bool spreads = tokens == 1 && ahead;
  // `before` bytes of parameters lie before `at`.
  auto unrolled = [&](Value at, Value x, int64_t number, ValueRange init,
                      int64_t before) {
    int64_t bytes = number * layout.chunkBytes;
    FetchedAhead fetched{b.add(at, -before), ahead, 0,
                         spreads ? before + bytes : 0};
    SmallVector<Value> next(init);
    for (int64_t c = 0; c < number; ++c)
      next = chunk(b.add(at, c * layout.chunkBytes),
                   b.add(x, c * layout.chunkK * tokens), next, fetched,
                   before + c * layout.chunkBytes);
    fetchUpTo(fetched, fetched.end);
    return next;
  };
  // A whole block in straight code, but for dot products made of several
  // instructions: LLVM would go through it token by token, all weights on the
  // stack.
  bool straight = hasVNNI() || tokens == 1;
  if (count * perPlane <= (straight ? 32 : 4)) {
    sums = unrolled(chunks, codes, count, sums, layout.blockParamBytes);
  } else {
    int64_t products = tokens == 1 ? 16 : straight ? perPlane : 4;
    int64_t step = std::max<int64_t>(1, products / perPlane);
    while (count % step != 0)
      step /= 2;
    sums = b.loop(b.index(0), b.index(count), step, sums,
                  [&](Value c, ValueRange carried) {
                    Value at = b.add(chunks, b.mul(c, layout.chunkBytes));
                    if (!spreads)
                      prefetchPart(at, step * layout.chunkBytes, tokens);
                    return unrolled(
                        at, b.add(codes, b.mul(c, layout.chunkK * tokens)),
                        step, carried, /*before=*/0);
                  });
  }
  SmallVector<Value> totals;
  for (int64_t m = 0; m < tokens; ++m) {
    Value total;
    for (int64_t w = 0; w < ways; ++w) {
      Value sum = sums[m * ways + w];
      if (int64_t shift = shifts[w].value_or(0))
        sum = arith::ShRSIOp::create(b, sum, e.splatInt(b.i32s(e.rows), shift));
      total = total ? b.add(total, sum) : sum;
    }
    totals.push_back(total);
  }
  return totals;
}

std::optional<int64_t> cpu::matchInteger(Value vector) {
  DenseFPElementsAttr elements;
  if (!matchPattern(vector, m_Constant(&elements)) || !elements.isSplat())
    return std::nullopt;
  double value = elements.getSplatValue<APFloat>().convertToDouble();
  auto integer = static_cast<int64_t>(value);
  if (static_cast<double>(integer) != value)
    return std::nullopt;
  return integer;
}

// With a full tile of tokens the dot products of a block outlast the window of
// out-of-order execution, so that cache misses of the next blocks would not
// overlap with them. A whole block at once is better than a line with each
// chunk (Zen 4). With fewer it is some chunks that fill the window: on Intel's
// CPUs the hardware's prefetchers alone leave a fifth of the bandwidth, and
// several lines asked for at once take all the places for misses, for which
// loads wait then: a line at a time between the products is up to 1.5 times as
// fast as a block at once (2 bits in groups of 256, Granite Rapids).
int64_t TileEmitter::prefetchDistance(int64_t tokens) const {
  return (tokens < tuning.tokenTile ? tuning.decodePrefetch : tuning.prefetch)
         << 10;
}

void TileEmitter::prefetch(Value at, int64_t bytes, int64_t tokens) {
  int64_t ahead = prefetchDistance(tokens);
  if (bytes <= ahead)
    b.prefetch(e.blob, at, ahead, bytes);
}

void TileEmitter::fetchUpTo(FetchedAhead &fetched, int64_t position) {
  for (; fetched.next < fetched.end && fetched.next <= position;
       fetched.next += 64)
    b.prefetch(e.blob, fetched.from, fetched.ahead + fetched.next, 64,
               /*stays=*/true);
}

SmallVector<Value> TileEmitter::blockInt8(Value at, Value index,
                                          ValueRange rowParams, Value row,
                                          ValueRange sums) {
  auto tokens = static_cast<int64_t>(sums.size());
  if (tokens > 1)
    prefetch(at, layout.blockBytes(), tokens);
  SmallVector<Value> params = format.emitBlockParams(e, at);
  Value scale = format.emitIntegerScale(e, rowParams, params);
  Value zero = format.emitZero(e, params);
  std::optional<int64_t> integer = matchInteger(zero);
  if (dotOffset() && !integer)
    zero = b.fsub(zero, b.splat(e.rows, static_cast<double>(dotOffset())));
  // Several planes (codebooks) have one offset each.
  int64_t planes = integer && dotOffset() ? *integer / 128 : 1;
  int64_t start = integer ? *integer - planes * dotOffset() : 0;
  int64_t parts = input.numBlocks() / layout.numBlocks();
  Value firstMeta =
      b.add(b.mul(row, input.numBlocks()), b.mul(index, parts * tokens));
  Value firstCode = b.add(b.mul(row, input.paddedK()),
                          b.mul(index, layout.paddedBlockK * tokens));
  SmallVector<Value> totals(sums);
  for (int64_t p = 0; p < parts; ++p) {
    Value meta = b.add(firstMeta, p * tokens);
    SmallVector<Value> init(tokens, e.splatInt(b.i32s(e.rows), 0));
    SmallVector<Value> activationSums;
    for (int64_t m = 0; m < tokens; ++m)
      activationSums.push_back(
          b.broadcast(e.rows, b.load(activations[2], b.add(meta, m))));
    if (start != 0)
      for (auto [value, sum] : llvm::zip_equal(init, activationSums))
        value = b.mul(sum, e.splatInt(b.i32s(e.rows), -start));
    int64_t chunks = input.paddedBlockK / layout.chunkK;
    SmallVector<Value> dots = chunksInt8(
        b.add(at, layout.blockParamBytes + p * chunks * layout.chunkBytes),
        rowParams, b.add(firstCode, p * input.paddedBlockK * tokens), init);
    for (int64_t m = 0; m < tokens; ++m) {
      Value sx = b.load(activations[1], b.add(meta, m));
      Value ints = arith::SIToFPOp::create(b, b.f32s(e.rows), dots[m]);
      if (!integer) {
        Value sum =
            arith::SIToFPOp::create(b, b.f32s(e.rows), activationSums[m]);
        ints = b.fsub(ints, b.fmul(zero, sum));
      }
      totals[m] =
          b.fma(ints, b.fmul(scale, b.broadcast(e.rows, sx)), totals[m]);
    }
  }
  return totals;
}

//===----------------------------------------------------------------------===//
// f32
//===----------------------------------------------------------------------===//

/// init + sums of one K block, in units of the block scale.
SmallVector<Value> TileEmitter::chunksF32(Value chunks, ValueRange rowParams,
                                          ValueRange blockParams, Value row,
                                          Value firstK, ValueRange init) {
  int64_t count = layout.chunksPerBlock();
  auto tokens = static_cast<int64_t>(init.size());
  int64_t ways = std::max<int64_t>(1, tuning.sums / tokens);
  // Enough inputs in a loop body to fill the pipeline.
  int64_t unroll = std::max<int64_t>(1, 8 / layout.chunkK);
  int64_t main = count / unroll * unroll;
  Value tileAt = b.mul(row, input.paddedK());
  auto chunk = [&](Value at, Value k, int64_t phase, SmallVector<Value> sums) {
    for (auto [j, w] :
         llvm::enumerate(format.emitChunk(e, at, rowParams, blockParams))) {
      // Tokens are interleaved.
      Value at0 =
          b.add(tileAt, b.mul(b.add(k, static_cast<int64_t>(j)), tokens));
      for (int64_t m = 0; m < tokens; ++m) {
        Value x = b.load(activations[0], b.add(at0, m));
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
                    prefetchPart(at, unroll * layout.chunkBytes, tokens);
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

SmallVector<Value> TileEmitter::blockF32(Value at, Value index,
                                         ValueRange rowParams, Value row,
                                         ValueRange sums) {
  auto tokens = static_cast<int64_t>(sums.size());
  if (tokens < tuning.tokenTile)
    prefetch(at, layout.blockBytes(), tokens);
  Value chunks = b.add(at, layout.blockParamBytes);
  Value firstK = b.mul(index, layout.paddedBlockK);
  SmallVector<Value> params = format.emitBlockParams(e, at);
  Value scale = format.emitBlockScale(e, params);
  if (!scale)
    return chunksF32(chunks, rowParams, params, row, firstK, sums);
  SmallVector<Value> init(sums.size(), b.splat(e.rows, 0.0));
  SmallVector<Value> part =
      chunksF32(chunks, rowParams, params, row, firstK, init);
  for (auto [value, sum] : llvm::zip_equal(part, sums))
    value = b.fma(value, scale, sum);
  return part;
}

//===----------------------------------------------------------------------===//
// bf16
//===----------------------------------------------------------------------===//

/// vdpbf16ps: each lane adds the products of a pair of inputs.
SmallVector<Value> TileEmitter::blockBF16(Value at, Value row,
                                          ValueRange sums) {
  auto tokens = static_cast<int64_t>(sums.size());
  int64_t ways = std::max<int64_t>(1, tuning.sums / tokens),
          pairs = layout.k / 2;
  auto type = VectorType::get({2 * e.rows}, b.getBF16Type());
  // Inputs 2i and 2i + 1 of all rows, to pairs of each row.
  SmallVector<int64_t> interleave;
  for (int64_t lane = 0; lane < e.rows; ++lane)
    interleave.append({lane, e.rows + lane});
  Value codes = b.mul(row, input.paddedK());
  auto pair = [&](Value index, int64_t way, SmallVector<Value> next) {
    Value chunk = b.add(at, b.mul(index, 2 * layout.chunkBytes));
    Value weights = vector::ShuffleOp::create(
        b, e.loadRows(chunk, b.getBF16Type()),
        e.loadRows(b.add(chunk, layout.chunkBytes), b.getBF16Type()),
        interleave);
    Value x = b.add(codes, b.mul(index, 2 * tokens));
    for (int64_t m = 0; m < tokens; ++m) {
      Value two = b.loadVector(2, activations[0], b.add(x, 2 * m));
      Value word = vector::ExtractOp::create(
          b, vector::BitCastOp::create(b, b.i32s(1), two), 0);
      Value all = vector::BitCastOp::create(b, type, b.broadcast(e.rows, word));
      Value &sum = next[m * ways + way];
      sum = intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", b.f32s(e.rows),
                      {sum, weights, all});
    }
    return next;
  };
  SmallVector<Value> next(tokens * ways, b.splat(e.rows, 0.0));
  for (int64_t m = 0; m < tokens; ++m)
    next[m * ways] = sums[m];
  int64_t step = 4, main = pairs / step * step;
  if (main)
    next = b.loop(b.index(0), b.index(main), step, next,
                  [&](Value index, ValueRange carried) {
                    SmallVector<Value> all(carried);
                    prefetchPart(b.add(at, b.mul(index, 2 * layout.chunkBytes)),
                                 step * 2 * layout.chunkBytes, tokens);
                    for (int64_t u = 0; u < step; ++u)
                      all = pair(b.add(index, u), u % ways, all);
                    return all;
                  });
  for (int64_t i = main; i < pairs; ++i)
    next = pair(b.index(i), i % ways, next);
  SmallVector<Value> totals;
  for (int64_t m = 0; m < tokens; ++m) {
    Value total = next[m * ways];
    for (int64_t w = 1; w < ways; ++w)
      total = b.fadd(total, next[m * ways + w]);
    totals.push_back(total);
  }
  return totals;
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

SmallVector<Value> TileEmitter::emit(Value header, Value rowBlock, Value row,
                                     int64_t tokens) {
  SmallVector<Value> rowParams = format.emitRowParams(e, header, rowBlock);
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  if (b.target.reproducible)
    return emitShares(blocks, rowParams, row, tokens);
  auto block = [&](Value index, ValueRange sums) {
    Value at = b.add(blocks, b.mul(index, layout.blockBytes()));
    return arithmetic == Arithmetic::F32
               ? blockF32(at, index, rowParams, row, sums)
           : arithmetic == Arithmetic::BF16
               ? blockBF16(at, row, sums)
               : blockInt8(at, index, rowParams, row, sums);
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

void cpu::emitStoreRows(KernelBuilder &b, const ::qc::PackedLayout &layout,
                        Value sums, Value out, Value row, Value column) {
  if (layout.n % layout.rows == 0) {
    b.storeVector(sums, out, {row, column});
    return;
  }
  // The last row block is ragged.
  int64_t lanes = cast<VectorType>(sums.getType()).getNumElements();
  Value mask = vector::CreateMaskOp::create(
      b, VectorType::get({lanes}, b.getI1Type()),
      ValueRange{b.sub(b.index(layout.n), column)});
  vector::MaskedStoreOp::create(b, out, ValueRange{row, column}, mask, sums);
}

SmallVector<Type> cpu::activationTypes(KernelBuilder &b,
                                       const ActivationLayout &input) {
  if (input.arithmetic == Arithmetic::F32)
    return {b.matrix(input.paddedK())};
  if (input.arithmetic == Arithmetic::BF16)
    return {b.matrix(input.paddedK(), b.getBF16Type())};
  return {b.matrix(input.paddedK(), b.getI8Type()), b.matrix(input.numBlocks()),
          b.matrix(input.numBlocks(), b.getI32Type())};
}

SmallVector<Type> cpu::matmulArguments(KernelBuilder &b, WeightType weight,
                                       Arithmetic arithmetic,
                                       const KernelTuning &tuning) {
  Type idx = b.getIndexType();
  SmallVector<Type> arguments = {b.bytes(), idx};
  arguments.append(
      activationTypes(b, ActivationLayout::get(weight, arithmetic, tuning)));
  arguments.append({b.matrix(weight.getN()), idx, idx});
  return arguments;
}

func::FuncOp cpu::matmulKernel(KernelContext &ctx, WeightType weight,
                               Arithmetic arithmetic,
                               const KernelTuning &tuning) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  ::qc::PackedLayout layout = weight.getLayout();
  SmallVector<Type> arguments =
      matmulArguments(types, weight, arithmetic, tuning);
  func::FuncOp amx;
  if (ctx.target.amx && arithmetic == Arithmetic::Int8)
    amx = amxMatmulKernel(ctx, weight, tuning);
  if (ctx.target.amxBF16 && arithmetic == Arithmetic::BF16)
    amx = amxBF16MatmulKernel(ctx, weight, tuning);
  std::string name = llvm::formatv("matmul_{0}_{1}", weightName(weight),
                                   stringifyArithmetic(arithmetic));
  name += tuningName(ctx, tuning);
  return getOrCreateKernel(
      ctx.module, name, arguments, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        Value out = args[args.size() - 3];
        ValueRange activations = args.drop_front(2).drop_back(3);
        Value tokens = b.dim(out, 0);
        OpBuilder::InsertionGuard guard(b);
        if (amx) {
          auto branch =
              scf::IfOp::create(b, usesAMX(b, tokens), /*withElseRegion=*/true);
          b.setInsertionPointToStart(branch.thenBlock());
          func::CallOp::create(b, amx, args);
          b.setInsertionPointToStart(branch.elseBlock());
        }
        // Registers for the sums of a tile, its weights and temporaries.
        int64_t tile = tuning.tokenTile;
        int64_t lanes = b.target.lanes;
        Value firstToken, lastToken;
        auto part = [&](Value rowBlock, Value firstRow) {
          TileEmitter emitter(b, weight, arithmetic, tuning, args[0], firstRow,
                              activations);
          Value at = b.add(b.add(args[1], layout.headerBytes),
                           b.mul(rowBlock, layout.rowBlockBytes()));
          Value column = b.mul(rowBlock, layout.rows);
          if (firstRow)
            column = b.add(column, firstRow);
          b.forTiles(
              firstToken, lastToken, tile, [&](Value row, int64_t count) {
                for (auto [m, sums] :
                     llvm::enumerate(emitter.emit(args[1], at, row, count)))
                  emitStoreRows(b, layout, sums, out,
                                b.add(row, static_cast<int64_t>(m)), column);
              });
        };
        // The activations of so many tokens stay in the second-level cache
        // while all weights pass by.
        int64_t strip = std::max<int64_t>(
            1, (tuning.strip << 10) / (tile * layout.paddedK() *
                                       (arithmetic == Arithmetic::Int8   ? 1
                                        : arithmetic == Arithmetic::BF16 ? 2
                                                                         : 4)));
        b.loop(b.index(0), tokens, strip * tile, [&](Value token) {
          firstToken = token;
          lastToken = b.min(b.add(token, strip * tile), tokens);
          b.loop(args[args.size() - 2], args[args.size() - 1], 1,
                 [&](Value rowBlock) {
                   if (layout.rows == lanes)
                     return part(rowBlock, Value());
                   b.loop(b.index(0), b.index(layout.rows), lanes,
                          [&](Value firstRow) { part(rowBlock, firstRow); });
                 });
        });
      });
}
