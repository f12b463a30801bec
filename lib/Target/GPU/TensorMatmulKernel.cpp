//===- TensorMatmulKernel.cpp - Many tokens on tensor cores ---------------===//
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
// Codes and activations come through shared memory (Staging.h) where their
// sizes allow it, from global memory otherwise.
//
// Sums of a block of activations become f32 as in MatmulKernels.cpp:
//   sum w x = s sx (sum c a - z sum a).
// The sum begins with -z sum a where z is the same integer everywhere. Where
// |sum| < 2^22, it begins with the bits of 1.5 * 2^23, too: then it ends as the
// bits of the float 1.5 * 2^23 + sum, and a subtraction converts it.
//
//===----------------------------------------------------------------------===//
#include "Staging.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include <numeric>

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::rowsPerGroup;
using mlir::qc::gpu::StageBuffers;
using mlir::qc::gpu::StagePlan;
using mlir::qc::gpu::Staging;
using mlir::qc::gpu::workgroupThreads;

namespace {

constexpr int64_t warp = 32, tileTokens = 8;
/// Rows of a lane: 4 g + r.
constexpr int64_t laneRows = rowsPerGroup / 8;
/// Sums of a lane in a tile of tokens: rows 4 g + r, tokens 2 (lane % 4) + i;
/// sum r * 2 + i.
constexpr int64_t laneSums = laneRows * 2;

constexpr double magic = 0x1.8p23;
constexpr int64_t magicBits = 0x4b400000;

/// Emits the products of a warp's row block with `tiles` tiles of tokens.
class WarpEmitter {
public:
  WarpEmitter(GPUBuilder &b, const KernelContext &ctx, WeightType weight,
              Value blob, Value lane, ValueRange activations, Value firstToken,
              int64_t tiles);

  /// Sums of tile t from element t * laneSums on, without a plan from global
  /// memory.
  SmallVector<Value> emit(Value rowBlock, const std::optional<StagePlan> &plan,
                          const StageBuffers &buffers);

  /// A lane's chunks at a time: with their words in the registers of products
  /// and, where blocks are made of them, 16 bytes of activations for them.
  static int64_t laneChunks(WeightType weight) {
    int64_t chunkK = weight.getLayout().chunkK, own = 1;
    int64_t blockK = ActivationBlocks::get(weight).paddedBlockK;
    while (own * chunkK % 8 != 0)
      own *= 2;
    while (own * chunkK < 16 && blockK % (8 * own * chunkK) == 0)
      own *= 2;
    return own;
  }

private:
  /// What a block of activations needs beside products.
  struct Block {
    SmallVector<Value> scales, zeros; ///< of the lane's rows
    std::optional<int64_t> zero;      ///< the same integer in all of them
    /// Of tokens 2 (lane % 4) and the next one of a tile.
    std::function<std::array<Value, 2>(int64_t tile)> tokenScales, tokenSums;
  };
  /// [plane][word of a token][row]
  using Codes = SmallVector<SmallVector<SmallVector<Value>>>;

  Block emitParams(Value at);
  /// Codes of the lane's chunks at these byte offsets.
  Codes emitCodes(ArrayRef<Value> chunks);
  /// ints + products of `codes` with words of the lane's token of a tile.
  void emitProducts(const Codes &codes, ArrayRef<Value> x,
                    MutableArrayRef<Value> ints);
  /// What the integer sums of a tile begin with.
  SmallVector<Value> begin(const Block &block, int64_t tile);
  /// sums + ints, scaled.
  void finish(const Block &block, int64_t tile, ValueRange ints,
              MutableArrayRef<Value> sums);

  SmallVector<Value> emitGlobal(Value blocks, ValueRange sums);
  /// ints + products of a step, its first chunk `first` of those at `chunks`;
  /// `row`: word of token `group` of the tile, first input.
  SmallVector<Value> emitGlobalStep(Value chunks, Value row, Value first,
                                    ValueRange ints);
  SmallVector<Value> emitStaged(Value blocks, const StageBuffers &buffers,
                                const StagePlan &plan, ValueRange sums);

  /// Chunks of the block of activations.
  int64_t numChunks() const { return input.paddedBlockK / layout.chunkK; }
  int64_t chunkWords() const { return layout.chunkK / 4; }
  int64_t laneWords() const { return ownChunks * chunkWords(); }
  int64_t rowWords() const { return input.blocks * input.paddedBlockK / 4; }

  GPUBuilder &b;
  ::qc::PackedLayout layout;
  FormatAttrInterface format;
  mlir::qc::ActivationBlocks input;
  ValueRange activations; ///< codes, scales, sums
  Value firstToken, group, quarter;
  int64_t tiles, ownChunks;
  WeightType weight;
  bool hasMagic;
  /// One for all rows of the lane, or one for each.
  SmallVector<DecodeEmitter> rows;
  SmallVector<SmallVector<Value>> rowParams;
};

} // namespace

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

SmallVector<Value> WarpEmitter::emitGlobalStep(Value chunks, Value row,
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
  SmallVector<Value> next(ints);
  for (int64_t t = 0; t < tiles; ++t) {
    Value from = b.add(row, t * tileTokens * rowWords());
    SmallVector<Value> x;
    for (int64_t i = 0; i < laneWords(); ++i) {
      Value valid = exists[i / chunkWords()];
      Value word = b.add(b.add(from, b.mul(chunk, chunkWords())), i);
      if (valid)
        word = b.select(valid, word, from);
      Value loaded = b.load(activations[0], word);
      x.push_back(valid ? b.select(valid, loaded, b.i32(0)) : loaded);
    }
    emitProducts(codes, x,
                 MutableArrayRef(next).slice(static_cast<size_t>(t * laneSums),
                                             laneSums));
  }
  return next;
}

SmallVector<Value> WarpEmitter::emitGlobal(Value blocks, ValueRange sums) {
  int64_t perBlock = input.blocks / layout.numBlocks();
  auto emitBlock = [&](Value index, ValueRange carried) {
    Value at =
        b.add(blocks, b.mul(b.div(index, perBlock), layout.blockBytes()));
    Value chunks = b.add(at, layout.blockParamBytes);
    if (perBlock > 1)
      chunks = b.add(chunks, b.mul(b.rem(index, perBlock),
                                   numChunks() * layout.chunkBytes));
    Value row = b.add(b.mul(b.add(firstToken, group), rowWords()),
                      b.mul(index, input.paddedBlockK / 4));
    Block block = emitParams(at);
    auto ofTokens = [&](Value memory) {
      return [&, memory](int64_t tile) {
        std::array<Value, 2> pair;
        for (int64_t i = 0; i < 2; ++i) {
          Value token = b.add(b.add(firstToken, tile * tileTokens + i),
                              b.mul(quarter, 2));
          pair[i] = b.load(memory, b.add(b.mul(token, input.blocks), index));
        }
        return pair;
      };
    };
    block.tokenScales = ofTokens(activations[1]);
    block.tokenSums = ofTokens(activations[2]);
    SmallVector<Value> ints;
    for (int64_t t = 0; t < tiles; ++t)
      ints.append(begin(block, t));
    if (numChunks() <= 4 * ownChunks)
      ints = emitGlobalStep(chunks, row, b.index(0), ints);
    else
      ints = b.loop(b.index(0), b.index(numChunks()), 4 * ownChunks, ints,
                    [&](Value first, ValueRange carriedInts) {
                      return emitGlobalStep(chunks, row, first, carriedInts);
                    });
    SmallVector<Value> next(carried);
    for (int64_t t = 0; t < tiles; ++t)
      finish(block, t, ValueRange(ints).slice(t * laneSums, laneSums), next);
    return next;
  };
  return b.loop(b.index(0), b.index(input.blocks), 1, sums, emitBlock);
}

//===----------------------------------------------------------------------===//
// In stages
//===----------------------------------------------------------------------===//

SmallVector<Value> WarpEmitter::emitStaged(Value blocks,
                                           const StageBuffers &buffers,
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

SmallVector<Value> WarpEmitter::emit(Value rowBlock,
                                     const std::optional<StagePlan> &plan,
                                     const StageBuffers &buffers) {
  for (DecodeEmitter &e : rows)
    rowParams.push_back(format.emitRowParams(e, b.index(0), rowBlock));
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  SmallVector<Value> sums(tiles * laneSums, b.f32(0.0)), scales;
  for (auto [e, params] : llvm::zip_equal(rows, rowParams))
    if (Value scale = format.emitRowScale(e, params))
      for (int64_t r = 0; r < e.rows; ++r)
        scales.push_back(b.element(scale, r));
  sums = plan ? emitStaged(blocks, buffers, *plan, sums)
              : emitGlobal(blocks, sums);
  if (!scales.empty())
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = b.fmul(sum, scales[i % laneSums / 2]);
  return sums;
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

static std::optional<StagePlan> planStages(WeightType weight, int64_t tokens) {
  return StagePlan::make(weight, WarpEmitter::laneChunks(weight),
                         workgroupThreads / warp, tokens);
}

static SmallVector<WeightType> weightsOf(const MatmulSignature &sig) {
  SmallVector<WeightType> weights = {sig.weight};
  if (sig.second)
    weights.push_back(*sig.second);
  return weights;
}

// Without stages every token has addresses.
int64_t mlir::qc::gpu::tensorTokens(const MatmulSignature &sig) {
  bool isFull = llvm::all_of(weightsOf(sig), [](WeightType weight) {
    return planStages(weight, mostTensorTokens).has_value();
  });
  return isFull ? mostTensorTokens : mostTensorTokens / 2;
}

namespace {

/// What becomes of sums.
struct Results {
  GPUBuilder &b;
  int64_t n;
  Value firstRow;   ///< of the lane
  Value firstToken; ///< of the lane in its tile
  Value count;      ///< of tokens
  int64_t tiles;

  /// update(values, at) makes of the values of rows firstRow + r of a token
  /// what is stored from element `at` of `out` on; one, or all four at once.
  void
  store(ValueRange sums, Value out,
        function_ref<void(MutableArrayRef<Value>, Value row, Value at)> update);
};

} // namespace

void Results::store(
    ValueRange sums, Value out,
    function_ref<void(MutableArrayRef<Value>, Value, Value)> update) {
  // Rows of four are stored or not, or each by itself.
  int64_t step = n % laneRows == 0 ? laneRows : 1;
  for (int64_t t = 0; t < tiles; ++t)
    for (int64_t i = 0; i < 2; ++i) {
      Value token = b.add(firstToken, t * tileTokens + i);
      b.ifThen(b.less(token, count), [&] {
        for (int64_t r = 0; r < laneRows; r += step) {
          Value row = b.add(firstRow, r);
          auto finish = [&] {
            SmallVector<Value> values;
            for (int64_t j = 0; j < step; ++j)
              values.push_back(sums[t * laneSums + (r + j) * 2 + i]);
            Value at = b.add(b.mul(token, n), row);
            update(values, row, at);
            b.storeWide(values, out, at);
          };
          if (n % rowsPerGroup == 0)
            finish();
          else
            b.ifThen(b.less(row, n), finish);
        }
      });
    }
}

Kernel mlir::qc::gpu::tensorMatmulKernel(KernelContext &ctx,
                                         const MatmulSignature &sig) {
  SmallVector<WeightType> weights = weightsOf(sig);
  return getOrCreateKernel(
      ctx, matmulName(sig) + "_mma", matmulBuffers(ctx, sig),
      [&](GPUBuilder &b, ValueRange args) {
        size_t next = 1;
        Value state = args[0];
        ValueRange blobs = args.slice(next, weights.size());
        next += weights.size();
        ValueRange activations = args.slice(next, 3);
        next += 3;
        ValueRange biases = args.slice(next, sig.bias ? weights.size() : 0);
        next += biases.size();
        Value residual = sig.residual ? args[next++] : Value();
        Value out = args[next];

        int64_t n = sig.weight.getN(), tiles = sig.tokens / tileTokens;
        int64_t warps = b.threads / warp, groups = sig.groups();
        Value lane = b.rem(b.thread(), warp);
        Value own = b.add(b.mul(b.groupX(), warps), b.div(b.thread(), warp));
        Value firstToken = b.mul(b.groupY(), sig.tokens);
        SmallVector<std::optional<StagePlan>> plans;
        int64_t words = 0, scaleWords = 0;
        for (WeightType weight : weights)
          if (plans.push_back(planStages(weight, sig.tokens)); plans.back()) {
            words = std::max(words, plans.back()->words());
            scaleWords = std::max(scaleWords, plans.back()->scaleWords());
          }
        StageBuffers buffers;
        if (words)
          buffers = {b.shared(words, b.getI32Type()), b.shared(scaleWords)};
        // A product is of a whole warp, the barriers of a pipeline are of all:
        // warps without a row block leave at once, or compute the last one,
        // too, and do not store it.
        bool isWhole = groups % warps == 0;
        Value rowBlock =
            isWhole || !words ? own : b.min(own, b.index(groups - 1));
        auto guarded = [&](bool isGuarded, function_ref<void()> body) {
          if (isWhole || !isGuarded)
            body();
          else
            b.ifThen(b.less(own, groups), body);
        };
        auto multiply = [&](size_t w) {
          WarpEmitter emitter(b, ctx, weights[w], blobs[w], lane, activations,
                              firstToken, tiles);
          ::qc::PackedLayout layout = weights[w].getLayout();
          Value at = b.add(b.mul(rowBlock, layout.rowBlockBytes()),
                           layout.headerBytes);
          return emitter.emit(at, plans[w], buffers);
        };
        auto load = [&](Value from, Value at, size_t count) {
          SmallVector<Value> values;
          Value all = b.loadWide(from, at, static_cast<int64_t>(count));
          for (size_t i = 0; i < count; ++i)
            values.push_back(b.element(all, static_cast<int64_t>(i)));
          return values;
        };
        guarded(/*isGuarded=*/!words, [&] {
          Value count = b.toIndex(b.load(state, b.index(1)));
          Results results = {b,
                             n,
                             b.add(b.mul(rowBlock, rowsPerGroup),
                                   b.mul(b.div(lane, 4), laneRows)),
                             b.add(firstToken, b.mul(b.rem(lane, 4), 2)),
                             count,
                             tiles};
          // The first product of a gate waits in `out` for the second: sums of
          // both would take twice the registers.
          for (size_t w = 0; w < weights.size(); ++w) {
            SmallVector<Value> sums = multiply(w);
            bool isLast = w + 1 == weights.size();
            auto update = [&](MutableArrayRef<Value> values, Value row,
                              Value at) {
              auto combine = [&](Value from, Value first,
                                 Value (GPUBuilder::*op)(Value, Value)) {
                for (auto [value, other] :
                     llvm::zip_equal(values, load(from, first, values.size())))
                  value = (b.*op)(value, other);
              };
              if (sig.bias)
                combine(biases[w], row, &GPUBuilder::fadd);
              if (!isLast) {
                for (Value &value : values)
                  value = emitActivation(b, *sig.gate, value);
                return;
              }
              if (weights.size() > 1)
                combine(out, at, &GPUBuilder::fmul);
              if (residual)
                combine(residual, at, &GPUBuilder::fadd);
            };
            guarded(/*isGuarded=*/words != 0,
                    [&] { results.store(sums, out, update); });
          }
        });
      });
}
