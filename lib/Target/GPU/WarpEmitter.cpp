//===- WarpEmitter.cpp - Products of a warp on tensor cores ---------------===//
//
// int8 products by mma.sync (PTX ISA, "Matrix Fragments for mma.m16n8k32"):
//
//   C [16 rows, 8 tokens] i32 += A [16 rows, 32 inputs] u8
//                              * B [32 inputs, 8 tokens] s8
//
// Each warp computes a row block of 32 rows for a tile of tokens. A lane of the
// fragment A holds bytes of rows g and g + 8, g = lane / 4, and of inputs that
// lane % 4 decides. Which rows of the weight, and which inputs of the 32, these
// are does not matter as long as A, B and C agree. So a lane takes four
// neighbouring rows, 4 g + r, whose words are one load of 128 bits and whose
// results are one store, and chunks of the packed weight as they are stored:
// its codes go from emitCodes() to the product in registers, and what it needs
// of B are as many consecutive words.
//
// Sums of a block of activations become f32 as in MatmulKernels.cpp:
//   sum w x = s sx (sum c a - z sum a).
// The sum begins with -z sum a where z is the same integer everywhere. Where
// |sum| < 2^22, it begins with the bits of 1.5 * 2^23, too: then it ends as the
// bits of the float 1.5 * 2^23 + sum, and a subtraction converts it.
//
//===----------------------------------------------------------------------===//
#include "WarpEmitter.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::laneRows;
using mlir::qc::gpu::laneSums;
using mlir::qc::gpu::tileTokens;
using mlir::qc::gpu::WarpEmitter;

static constexpr double magic = 0x1.8p23;
static constexpr int64_t magicBits = 0x4b400000;

/// One product of a warp; `c` are the four sums of a lane.
static SmallVector<Value> multiply(GPUBuilder &b, ArrayRef<Value> a,
                                   ArrayRef<Value> bWords, ArrayRef<Value> c) {
  Type i32 = b.getI32Type();
  auto result =
      LLVM::LLVMStructType::getLiteral(b.getContext(), {i32, i32, i32, i32});
  Value sums = NVVM::MmaOp::create(
      b, result, a, bWords, c, ArrayRef<int64_t>{16, 8, 32}, std::nullopt,
      NVVM::MMAIntOverflow::wrapped,
      std::array{NVVM::MMATypes::u8, NVVM::MMATypes::s8},
      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  SmallVector<Value> next;
  for (int64_t i = 0; i < 4; ++i)
    next.push_back(LLVM::ExtractValueOp::create(b, sums, i));
  return next;
}

WarpEmitter::WarpEmitter(GPUBuilder &b, const KernelContext &ctx,
                         WeightType weight, Value blob, Value lane,
                         ValueRange activations, Value firstToken,
                         int64_t tiles)
    : b(b), layout(weight.getLayout()), format(weight.getFormat()),
      input(ActivationBlocks::get(weight)), activations(activations),
      firstToken(firstToken), tiles(tiles), ownChunks(laneChunks(weight)),
      weight(weight) {
  group = b.div(lane, 4);
  quarter = b.rem(lane, 4);
  // Four rows load at once where arrays begin at multiples of 16 bytes.
  bool isWide = layout.rowHeaderBytes % 16 == 0 &&
                layout.blockParamBytes % 16 == 0 && layout.chunkBytes % 16 == 0;
  int64_t step = isWide ? laneRows : 1;
  for (int64_t r = 0; r < laneRows; r += step)
    rows.push_back({b, b.getLoc(), blob, step, layout.rows,
                    b.add(b.mul(group, laneRows), r), ctx.target});
  // Planes of codes come from codebooks, 8 bits each.
  int64_t planes = 1;
  if (std::optional<AdditiveTables> tables = format.getAdditiveTables())
    planes = tables->books;
  hasMagic = planes * 255 * 127 * input.paddedBlockK < int64_t(1) << 22;
}

WarpEmitter::Codes WarpEmitter::emitCodes(ArrayRef<Value> chunks) {
  auto perPlane = static_cast<size_t>(chunkWords());
  Codes codes;
  for (auto [v, at] : llvm::enumerate(chunks))
    for (auto [e, params] : llvm::zip_equal(rows, rowParams)) {
      SmallVector<Value> all = format.emitCodes(e, at, params);
      codes.resize(all.size() / perPlane);
      for (auto [i, words] : llvm::enumerate(all)) {
        auto &plane = codes[i / perPlane];
        plane.resize((v + 1) * perPlane);
        for (int64_t r = 0; r < e.rows; ++r)
          plane[v * perPlane + i % perPlane].push_back(b.element(words, r));
      }
    }
  return codes;
}

void WarpEmitter::emitProducts(const Codes &codes, ArrayRef<Value> x,
                               MutableArrayRef<Value> ints) {
  for (const auto &plane : codes)
    for (size_t i = 0; i < plane.size(); i += 2)
      for (size_t r = 0; r < laneRows; r += 2) {
        MutableArrayRef<Value> own = ints.slice(r * 2, 4);
        llvm::copy(multiply(b,
                            {plane[i][r], plane[i][r + 1], plane[i + 1][r],
                             plane[i + 1][r + 1]},
                            x.slice(i, 2), own),
                   own.begin());
      }
}

WarpEmitter::Block WarpEmitter::emitParams(Value at) {
  Block block;
  for (auto [e, own] : llvm::zip_equal(rows, rowParams)) {
    SmallVector<Value> params = format.emitBlockParams(e, at);
    Value scale = format.emitIntegerScale(e, own, params);
    Value zero = format.emitZero(e, params);
    block.zero = mlir::qc::gpu::matchInteger(zero);
    for (int64_t r = 0; r < e.rows; ++r) {
      block.scales.push_back(b.element(scale, r));
      block.zeros.push_back(b.element(zero, r));
    }
  }
  return block;
}

SmallVector<Value> WarpEmitter::begin(const Block &block, int64_t tile) {
  Value none = b.i32(hasMagic ? magicBits : 0);
  SmallVector<Value> ints(laneSums, none);
  if (block.zero && *block.zero != 0) {
    std::array<Value, 2> codeSums = block.tokenSums(tile);
    for (int64_t i = 0; i < 2; ++i) {
      Value own = b.sub(none, b.mul(codeSums[i], b.i32(*block.zero)));
      for (int64_t r = 0; r < laneRows; ++r)
        ints[r * 2 + i] = own;
    }
  }
  return ints;
}

void WarpEmitter::finish(const Block &block, int64_t tile, ValueRange ints,
                         MutableArrayRef<Value> sums) {
  auto toF32 = [&](Value v) -> Value {
    return arith::SIToFPOp::create(b, b.getF32Type(), v);
  };
  std::array<Value, 2> scales = block.tokenScales(tile), codeSums;
  if (!block.zero)
    for (auto [to, sum] : llvm::zip_equal(codeSums, block.tokenSums(tile)))
      to = toF32(sum);
  for (int64_t r = 0; r < laneRows; ++r)
    for (int64_t i = 0; i < 2; ++i) {
      Value value = ints[r * 2 + i];
      value = hasMagic ? b.fsub(b.asF32(value), b.f32(magic)) : toF32(value);
      if (!block.zero)
        value = b.fsub(value, b.fmul(block.zeros[r], codeSums[i]));
      Value &sum = sums[tile * laneSums + r * 2 + i];
      sum = b.fma(value, b.fmul(block.scales[r], scales[i]), sum);
    }
}

//===----------------------------------------------------------------------===//
// From global memory
//===----------------------------------------------------------------------===//

SmallVector<Value> WarpEmitter::emitGlobalStep(Value chunks,
                                               ArrayRef<Value> tokens,
                                               Value first, ValueRange ints) {
  int64_t count = numChunks(), own = ownChunks;
  Value chunk = b.add(first, b.mul(quarter, own));
  // Lanes that find no chunk multiply by zeros.
  bool isWhole = count % (4 * own) == 0;
  SmallVector<Value> at, exists;
  for (int64_t v = 0; v < own; ++v) {
    Value next = b.add(chunk, v);
    exists.push_back(isWhole ? Value() : b.less(next, count));
    if (!isWhole)
      next = b.select(exists[v], next, b.index(0));
    at.push_back(b.add(chunks, b.mul(next, layout.chunkBytes)));
  }
  Codes codes = emitCodes(at);
  // Rows and blocks of activations begin at multiples of what a lane needs.
  int64_t atOnce = isWhole && input.paddedBlockK / 4 % laneWords() == 0
                       ? std::min<int64_t>(laneWords() & -laneWords(), 4)
                       : 1;
  SmallVector<Value> next(ints);
  for (int64_t t = 0; t < tiles; ++t) {
    Value from = tokens[t];
    SmallVector<Value> x;
    for (int64_t i = 0; i < laneWords(); i += atOnce) {
      Value valid = exists[i / chunkWords()];
      Value word = b.add(b.add(from, b.mul(chunk, chunkWords())), i);
      if (valid)
        word = b.select(valid, word, from);
      if (atOnce > 1) {
        Value all = b.loadWide(activations[0], word, atOnce);
        for (int64_t j = 0; j < atOnce; ++j)
          x.push_back(b.element(all, j));
        continue;
      }
      Value loaded = b.load(activations[0], word);
      x.push_back(valid ? b.select(valid, loaded, b.i32(0)) : loaded);
    }
    emitProducts(codes, x,
                 MutableArrayRef(next).slice(static_cast<size_t>(t * laneSums),
                                             laneSums));
  }
  return next;
}

SmallVector<Value> WarpEmitter::emitBlock(Value index, ValueRange sums) {
  int64_t perBlock = input.blocks / layout.numBlocks();
  Value at = b.add(blocks, b.mul(b.div(index, perBlock), layout.blockBytes()));
  Value chunks = b.add(at, layout.blockParamBytes);
  if (perBlock > 1)
    chunks = b.add(
        chunks, b.mul(b.rem(index, perBlock), numChunks() * layout.chunkBytes));
  SmallVector<Value> tokens;
  Value row = b.add(b.mul(b.add(firstToken, group), rowWords()),
                    b.mul(index, input.paddedBlockK / 4));
  for (int64_t t = 0; t < tiles; ++t)
    tokens.push_back(b.add(row, t * tileTokens * rowWords()));
  Block block = emitParams(at);
  auto ofTokens = [&](Value memory) {
    return [&, memory](int64_t tile) {
      Value own = b.add(firstToken, b.mul(quarter, 2));
      Value at = b.add(b.mul(own, input.blocks), index);
      std::array<Value, 2> pair;
      for (int64_t i = 0; i < 2; ++i)
        pair[i] =
            b.load(memory, b.add(at, (tile * tileTokens + i) * input.blocks));
      return pair;
    };
  };
  block.tokenScales = ofTokens(activations[1]);
  block.tokenSums = ofTokens(activations[2]);
  // Warps that share a block subtract the zero point once.
  if (chunkWays > 1) {
    Value isFirst = b.compare(arith::CmpIPredicate::eq, chunkPart, b.index(0));
    block.tokenSums = [&, isFirst, all = block.tokenSums](int64_t tile) {
      std::array<Value, 2> pair = all(tile);
      for (Value &sum : pair)
        sum = b.select(isFirst, sum, b.i32(0));
      return pair;
    };
  }
  SmallVector<Value> ints;
  for (int64_t t = 0; t < tiles; ++t)
    ints.append(begin(block, t));
  // Some products in a loop body, to have several loads under way.
  constexpr int64_t mostSteps = 4;
  int64_t perStep = 4 * ownChunks,
          steps = llvm::divideCeil(numChunks(), perStep);
  if (chunkWays == 1 && steps <= mostSteps) {
    for (int64_t step = 0; step < steps; ++step)
      ints = emitGlobalStep(chunks, tokens, b.index(step * perStep), ints);
  } else {
    int64_t unroll = mostSteps;
    while (steps % (unroll * chunkWays) != 0 && unroll > 1)
      unroll /= 2;
    Value first =
        chunkWays > 1 ? b.mul(chunkPart, unroll * perStep) : b.index(0);
    ints = b.loop(first, b.index(numChunks()), chunkWays * unroll * perStep,
                  ints, [&](Value own, ValueRange carried) {
                    SmallVector<Value> next(carried);
                    for (int64_t u = 0; u < unroll; ++u)
                      next = emitGlobalStep(chunks, tokens,
                                            b.add(own, u * perStep), next);
                    return next;
                  });
  }
  SmallVector<Value> next(sums);
  for (int64_t t = 0; t < tiles; ++t)
    finish(block, t, ValueRange(ints).slice(t * laneSums, laneSums), next);
  return next;
}

//===----------------------------------------------------------------------===//
// In stages
//===----------------------------------------------------------------------===//

SmallVector<Value> WarpEmitter::emitStaged(const StageBuffers &buffers,
                                           const StagePlan &plan,
                                           ValueRange sums) {
  Staging staging(b, plan, weight, buffers, rows[0].blob, blocks, activations,
                  firstToken);
  for (DecodeEmitter &e : rows) {
    e.tables = e.blob;
    e.blob = buffers.words;
  }
  int64_t loaded = std::min<int64_t>(laneWords(), 4); // at once
  Value inSpan = b.mul(quarter, plan.spanStride * 4);
  Value inStep = b.mul(quarter, laneWords());
  // The codes of a stage, all steps.
  auto codesOf = [&](Value stage) {
    Value spans =
        b.add(b.add(staging.weights(stage), plan.paramWords * 4), inSpan);
    SmallVector<Codes> codes;
    for (int64_t step = 0; step < plan.steps; ++step) {
      SmallVector<Value> chunks;
      for (int64_t v = 0; v < ownChunks; ++v)
        chunks.push_back(
            b.add(spans, step * 16 * plan.spanStride + v * layout.chunkBytes));
      codes.push_back(emitCodes(chunks));
    }
    return codes;
  };
  auto emitTile = [&](Value stage, ArrayRef<Codes> codes, int64_t tile,
                      SmallVector<Value> ints) {
    Value row = b.add(staging.token(stage, group), inStep);
    for (auto [step, own] : llvm::enumerate(codes)) {
      int64_t first =
          (static_cast<int64_t>(step) * plan.tokens + tile * tileTokens) *
          plan.tokenStride;
      SmallVector<Value> x;
      for (int64_t i = 0; i < laneWords(); i += loaded) {
        Value words = b.loadWide(buffers.words, b.add(row, first + i), loaded);
        for (int64_t j = 0; j < loaded; ++j)
          x.push_back(b.element(words, j));
      }
      emitProducts(own, x, ints);
    }
    return ints;
  };

  staging.begin();
  auto emitBlock = [&](Value index, ValueRange carried) {
    Value stage = b.mul(index, plan.perBlock);
    staging.advance(stage);
    Block block = emitParams(staging.weights(stage));
    // Each stage has the scales and the sums of its block.
    Value last = b.add(stage, plan.perBlock - 1), token = b.mul(quarter, 2);
    auto pair = [&](Value memory, Value at, int64_t tile) {
      Value both = b.loadWide(memory, b.add(at, tile * tileTokens), 2);
      return std::array{b.element(both, 0), b.element(both, 1)};
    };
    block.tokenSums = [&](int64_t tile) {
      return pair(buffers.words, staging.sum(stage, token), tile);
    };
    block.tokenScales = [&](int64_t tile) {
      return pair(buffers.scales, staging.scale(last, token), tile);
    };
    SmallVector<Value> next(carried), ints;
    SmallVector<Codes> codes = codesOf(stage);
    for (int64_t t = 0; t < tiles; ++t) {
      SmallVector<Value> tile = emitTile(stage, codes, t, begin(block, t));
      if (plan.perBlock == 1)
        finish(block, t, tile, next);
      else
        ints.append(tile);
    }
    if (plan.perBlock == 1)
      return next;
    ints = b.loop(b.index(1), b.index(plan.perBlock), 1, ints,
                  [&](Value part, ValueRange carriedInts) {
                    Value own = b.add(stage, part);
                    staging.advance(own);
                    SmallVector<Codes> ownCodes = codesOf(own);
                    SmallVector<Value> all;
                    for (int64_t t = 0; t < tiles; ++t)
                      all.append(
                          emitTile(own, ownCodes, t,
                                   carriedInts.slice(t * laneSums, laneSums)));
                    return all;
                  });
    block.tokenSums = [&](int64_t tile) {
      return pair(buffers.words, staging.sum(last, token), tile);
    };
    for (int64_t t = 0; t < tiles; ++t)
      finish(block, t, ValueRange(ints).slice(t * laneSums, laneSums), next);
    return next;
  };
  return b.loop(b.index(0), b.index(input.blocks), 1, sums, emitBlock);
}

void WarpEmitter::beginRows(Value rowBlock) {
  for (DecodeEmitter &e : rows)
    rowParams.push_back(format.emitRowParams(e, b.index(0), rowBlock));
  for (auto [e, params] : llvm::zip_equal(rows, rowParams))
    if (Value scale = format.emitRowScale(e, params))
      for (int64_t r = 0; r < e.rows; ++r)
        rowScales.push_back(b.element(scale, r));
  blocks = b.add(rowBlock, layout.rowHeaderBytes);
}

void WarpEmitter::scaleRows(MutableArrayRef<Value> sums) {
  if (!rowScales.empty())
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = b.fmul(sum, rowScales[i % laneSums / 2]);
}

SmallVector<Value> WarpEmitter::emit(Value rowBlock,
                                     const std::optional<StagePlan> &plan,
                                     const StageBuffers &buffers) {
  beginRows(rowBlock);
  SmallVector<Value> sums(tiles * laneSums, b.f32(0.0));
  sums = plan ? emitStaged(buffers, *plan, sums)
              : b.loop(b.index(0), b.index(input.blocks), 1, sums,
                       [&](Value index, ValueRange carried) {
                         return emitBlock(index, carried);
                       });
  scaleRows(sums);
  return sums;
}
