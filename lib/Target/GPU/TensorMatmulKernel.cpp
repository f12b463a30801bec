//===- TensorMatmulKernel.cpp - Many tokens on tensor cores ---------------===//
//
// int8 products by mma.sync (PTX ISA, "Matrix Fragments for mma.m16n8k32"):
//
//   C [16 rows, 8 tokens] i32 += A [16 rows, 32 inputs] u8
//                              * B [32 inputs, 8 tokens] s8
//
// Each warp computes a row block of 32 rows for a tile of tokens. A lane of the
// fragment A holds bytes of rows g, g + 8, g + 16 and g + 24, g = lane / 4, and
// of inputs that lane % 4 decides. Which inputs of the 32 these are does not
// matter as long as A and B agree; so a lane takes chunks of the packed weight
// as they are stored, its codes go from emitCodes() to the product in
// registers, and what it needs of B are as many consecutive words.
//
// Codes and activations come through shared memory (Staging.h) where their
// sizes allow it, from global memory otherwise.
//
// Sums of a block of activations become f32 as in MatmulKernels.cpp:
//   sum w x = s sx (sum c a - z sum a).
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
using mlir::qc::gpu::StagePlan;
using mlir::qc::gpu::Staging;
using mlir::qc::gpu::workgroupThreads;

namespace {

constexpr int64_t warp = 32, tileTokens = 8;
/// Rows of a lane: g + 8 r.
constexpr int64_t laneRows = rowsPerGroup / 8;

/// Emits the products of a warp's row block with `tiles` tiles of tokens.
class WarpEmitter {
public:
  WarpEmitter(GPUBuilder &b, const KernelContext &ctx, WeightType weight,
              Value blob, Value lane, ValueRange activations, Value firstToken,
              int64_t tiles)
      : b(b), layout(weight.getLayout()), format(weight.getFormat()),
        input(ActivationBlocks::get(weight)), activations(activations),
        firstToken(firstToken), tiles(tiles), ownChunks(laneChunks(weight)),
        weight(weight) {
    group = b.div(lane, 4);
    quarter = b.rem(lane, 4);
    for (int64_t r = 0; r < laneRows; ++r)
      rows.push_back({b, b.getLoc(), blob, 1, layout.rows, b.add(group, 8 * r),
                      ctx.target});
  }

  /// Sums of rows group + 8 r and tokens firstToken + 8 t + 2 quarter + i:
  /// element (r * tiles + t) * 2 + i. `buffer`: shared words for the stages of
  /// `plan`.
  SmallVector<Value> emit(Value rowBlock, const std::optional<StagePlan> &plan,
                          Value buffer);

  /// A lane's chunks at a time: their words fill the registers of a product.
  static int64_t laneChunks(WeightType weight) {
    return weight.getLayout().chunkK % 8 == 0 ? 1 : 2;
  }

private:
  /// Chunks of one block, or a part of one, and the activations for them.
  struct Part {
    Value chunks;        ///< byte offset of the first
    int64_t count;       ///< of chunks
    Value codes;         ///< memory of the activations
    Value firstRow;      ///< word of token `group` of the tile, first input
    int64_t tokenStride; ///< words from one token to the next
  };
  using Params = ArrayRef<SmallVector<Value>>;

  /// sums + products of block `index`; `products` emits those of its codes.
  SmallVector<Value>
  emitBlock(Value index, Params rowParams, ValueRange sums,
            function_ref<SmallVector<Value>(ValueRange)> products,
            Value params);
  /// ints + products of all chunks of `part`.
  SmallVector<Value> emitPart(const Part &part, Params rowParams,
                              ValueRange ints);
  /// ints + products of a chunk, or two, in each quarter of the warp.
  SmallVector<Value> emitStep(const Part &part, Value first, Params rowParams,
                              ValueRange ints);
  SmallVector<Value> emitStaged(Value blocks, Value buffer,
                                const StagePlan &plan, Params rowParams,
                                ValueRange sums);
  /// Chunks of the block of activations.
  int64_t numChunks() const { return input.paddedBlockK / layout.chunkK; }
  int64_t laneWords() const { return ownChunks * layout.chunkK / 4; }

  GPUBuilder &b;
  ::qc::PackedLayout layout;
  FormatAttrInterface format;
  mlir::qc::ActivationBlocks input;
  ValueRange activations; ///< codes, scales, sums
  Value firstToken, group, quarter;
  int64_t tiles, ownChunks;
  WeightType weight;
  SmallVector<DecodeEmitter> rows;
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

SmallVector<Value> WarpEmitter::emitStep(const Part &part, Value first,
                                         Params rowParams, ValueRange sums) {
  int64_t count = part.count, own = ownChunks, words = laneWords();
  Value chunk = b.add(first, b.mul(quarter, own));
  // Lanes that find no chunk multiply by zeros.
  bool isWhole = count % (4 * own) == 0;
  Value exists = isWhole ? Value() : b.less(chunk, count);
  if (exists)
    chunk = b.select(exists, chunk, b.index(0));

  // codes[plane][row][word]
  SmallVector<SmallVector<SmallVector<Value>>> codes;
  for (auto [r, e] : llvm::enumerate(rows))
    for (int64_t v = 0; v < own; ++v) {
      // A block of one chunk has no second one.
      Value next = v == 0 ? chunk : b.add(chunk, v);
      if (v > 0 && count % own != 0)
        next = b.select(b.less(next, count), next, b.index(0));
      Value at = b.add(part.chunks, b.mul(next, layout.chunkBytes));
      SmallVector<Value> all = format.emitCodes(e, at, rowParams[r]);
      int64_t perPlane = layout.chunkK / 4;
      codes.resize(all.size() / static_cast<size_t>(perPlane));
      for (auto [i, word] : llvm::enumerate(all)) {
        auto &plane = codes[i / static_cast<size_t>(perPlane)];
        plane.resize(rows.size());
        plane[r].push_back(b.scalar(word));
      }
    }

  SmallVector<Value> next(sums);
  Value inRow = b.add(part.firstRow, b.mul(chunk, layout.chunkK / 4));
  for (int64_t t = 0; t < tiles; ++t) {
    Value from = b.add(inRow, t * tileTokens * part.tokenStride);
    SmallVector<Value> x;
    for (int64_t i = 0; i < words; ++i) {
      Value valid = exists;
      // The words of a second chunk that is not there.
      if (i >= layout.chunkK / 4 && count % own != 0) {
        Value has = b.less(b.add(chunk, 1), count);
        valid = valid ? b.land(valid, has) : has;
      }
      Value at = b.add(from, i);
      if (valid)
        at = b.select(valid, at, from);
      Value word = b.load(part.codes, at);
      x.push_back(valid ? b.select(valid, word, b.i32(0)) : word);
    }
    for (const auto &plane : codes)
      for (int64_t i = 0; i < words; i += 2)
        for (int64_t r = 0; r < laneRows; r += 2) {
          auto slot = [&](int64_t row) { return (row * tiles + t) * 2; };
          int64_t low = slot(r), high = slot(r + 1);
          SmallVector<Value> c =
              multiply(b,
                       {plane[r][i], plane[r + 1][i], plane[r][i + 1],
                        plane[r + 1][i + 1]},
                       {x[i], x[i + 1]},
                       {next[low], next[low + 1], next[high], next[high + 1]});
          next[low] = c[0];
          next[low + 1] = c[1];
          next[high] = c[2];
          next[high + 1] = c[3];
        }
  }
  return next;
}

SmallVector<Value> WarpEmitter::emitPart(const Part &part, Params rowParams,
                                         ValueRange ints) {
  int64_t step = 4 * ownChunks;
  if (part.count <= step)
    return emitStep(part, b.index(0), rowParams, ints);
  return b.loop(b.index(0), b.index(part.count), step, ints,
                [&](Value first, ValueRange carried) {
                  return emitStep(part, first, rowParams, carried);
                });
}

SmallVector<Value>
WarpEmitter::emitBlock(Value index, Params rowParams, ValueRange sums,
                       function_ref<SmallVector<Value>(ValueRange)> products,
                       Value at) {
  SmallVector<Value> ints = products(SmallVector<Value>(sums.size(), b.i32(0)));
  SmallVector<Value> scales, zeros;
  for (auto [r, e] : llvm::enumerate(rows)) {
    SmallVector<Value> params = format.emitBlockParams(e, at);
    scales.push_back(
        b.scalar(format.emitIntegerScale(e, rowParams[r], params)));
    zeros.push_back(format.emitZero(e, params));
  }
  std::optional<int64_t> integer = mlir::qc::gpu::matchInteger(zeros[0]);
  auto toF32 = [&](Value v) -> Value {
    return arith::SIToFPOp::create(b, b.getF32Type(), v);
  };
  SmallVector<Value> next(sums);
  for (int64_t t = 0; t < tiles; ++t)
    for (int64_t i = 0; i < 2; ++i) {
      Value token =
          b.add(b.add(firstToken, t * tileTokens + i), b.mul(quarter, 2));
      Value item = b.add(b.mul(token, input.blocks), index);
      Value sx = b.load(activations[1], item);
      Value codeSum;
      if (!integer || *integer != 0)
        codeSum = b.load(activations[2], item);
      for (int64_t r = 0; r < laneRows; ++r) {
        int64_t slot = (r * tiles + t) * 2 + i;
        Value value = ints[slot];
        if (integer && *integer != 0)
          value = b.sub(value, b.mul(codeSum, b.i32(*integer)));
        value = toF32(value);
        if (!integer)
          value = b.fsub(value, b.fmul(b.scalar(zeros[r]), toF32(codeSum)));
        next[slot] = b.fma(value, b.fmul(scales[r], sx), next[slot]);
      }
    }
  return next;
}

SmallVector<Value> WarpEmitter::emitStaged(Value blocks, Value buffer,
                                           const StagePlan &plan,
                                           Params rowParams, ValueRange sums) {
  Staging staging(b, plan, weight, buffer, rows[0].blob, blocks, activations[0],
                  firstToken);
  for (DecodeEmitter &e : rows) {
    e.tables = e.blob;
    e.blob = buffer;
  }
  staging.begin();
  auto block = [&](Value index, ValueRange carried) {
    Value first = b.mul(index, plan.perBlock);
    auto products = [&](ValueRange none) {
      auto one = [&](Value part, ValueRange ints) {
        Value stage = b.add(first, part);
        staging.advance(stage);
        Value chunks = b.add(staging.weights(stage), layout.blockParamBytes);
        return emitPart({chunks, plan.chunks, buffer,
                         staging.token(stage, group), plan.tokenStride},
                        rowParams, ints);
      };
      if (plan.perBlock == 1)
        return one(b.index(0), none);
      return b.loop(b.index(0), b.index(plan.perBlock), 1, none, one);
    };
    // Each stage has the parameters.
    Value params = staging.weights(b.add(first, plan.perBlock - 1));
    return emitBlock(index, rowParams, carried, products, params);
  };
  return b.loop(b.index(0), b.index(input.blocks), 1, sums, block);
}

SmallVector<Value> WarpEmitter::emit(Value rowBlock,
                                     const std::optional<StagePlan> &plan,
                                     Value buffer) {
  SmallVector<SmallVector<Value>> rowParams;
  for (DecodeEmitter &e : rows)
    rowParams.push_back(format.emitRowParams(e, b.index(0), rowBlock));
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  int64_t perBlock = input.blocks / layout.numBlocks();
  int64_t rowWords = input.blocks * input.paddedBlockK / 4;
  auto block = [&](Value index, ValueRange carried) {
    Value at =
        b.add(blocks, b.mul(b.div(index, perBlock), layout.blockBytes()));
    Value chunks = b.add(at, layout.blockParamBytes);
    if (perBlock > 1)
      chunks = b.add(chunks, b.mul(b.rem(index, perBlock),
                                   numChunks() * layout.chunkBytes));
    Value row = b.add(b.mul(b.add(firstToken, group), rowWords),
                      b.mul(index, input.paddedBlockK / 4));
    auto products = [&](ValueRange none) {
      return emitPart({chunks, numChunks(), activations[0], row, rowWords},
                      rowParams, none);
    };
    return emitBlock(index, rowParams, carried, products, at);
  };
  SmallVector<Value> sums(laneRows * tiles * 2, b.f32(0.0));
  if (plan)
    sums = emitStaged(blocks, buffer, *plan, rowParams, sums);
  else
    sums = b.loop(b.index(0), b.index(input.blocks), 1, sums, block);
  for (auto [r, e] : llvm::enumerate(rows))
    if (Value scale = format.emitRowScale(e, rowParams[r]))
      for (int64_t i = 0; i < tiles * 2; ++i) {
        Value &sum = sums[static_cast<int64_t>(r) * tiles * 2 + i];
        sum = b.fmul(sum, b.scalar(scale));
      }
  return sums;
}

static std::optional<StagePlan> planStages(WeightType weight, int64_t tokens) {
  return StagePlan::make(weight, 4 * WarpEmitter::laneChunks(weight),
                         workgroupThreads / warp, tokens);
}

// The sums of two weights take twice the registers; without stages every token
// has addresses.
int64_t mlir::qc::gpu::tensorTokens(const MatmulSignature &sig) {
  bool isFull = !sig.gate && planStages(sig.weight, mostTensorTokens);
  return isFull ? mostTensorTokens : mostTensorTokens / 2;
}

Kernel mlir::qc::gpu::tensorMatmulKernel(KernelContext &ctx,
                                         const MatmulSignature &sig) {
  SmallVector<WeightType> weights = {sig.weight};
  if (sig.second)
    weights.push_back(*sig.second);
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
        int64_t words = 0;
        for (WeightType weight : weights) {
          plans.push_back(planStages(weight, sig.tokens));
          if (plans.back())
            words = std::max(words, plans.back()->words());
        }
        Value buffer = words ? b.shared(words, b.getI32Type()) : Value();
        // A product is of a whole warp, the barriers of a pipeline are of all:
        // warps without a row block leave at once, or compute the last one,
        // too, and do not store it.
        bool isWhole = groups % warps == 0;
        Value rowBlock =
            isWhole || !buffer ? own : b.min(own, b.index(groups - 1));
        SmallVector<SmallVector<Value>> sums;
        auto multiplyAll = [&] {
          for (auto [weight, blob, plan] :
               llvm::zip_equal(weights, blobs, plans)) {
            ::qc::PackedLayout layout = weight.getLayout();
            WarpEmitter emitter(b, ctx, weight, blob, lane, activations,
                                firstToken, tiles);
            Value at = b.add(b.mul(rowBlock, layout.rowBlockBytes()),
                             layout.headerBytes);
            sums.push_back(emitter.emit(at, plan, buffer));
          }
        };
        auto storeAll = [&] {
          Value count = b.toIndex(b.load(state, b.index(1)));
          for (int64_t r = 0; r < laneRows; ++r) {
            Value row = b.add(b.add(b.mul(rowBlock, rowsPerGroup), 8 * r),
                              b.div(lane, 4));
            auto finish = [&] {
              for (int64_t t = 0; t < tiles; ++t)
                for (int64_t i = 0; i < 2; ++i) {
                  Value token = b.add(b.add(firstToken, t * tileTokens + i),
                                      b.mul(b.rem(lane, 4), 2));
                  b.ifThen(b.less(token, count), [&] {
                    SmallVector<Value> results;
                    for (auto [w, all] : llvm::enumerate(sums)) {
                      Value sum = all[(r * tiles + t) * 2 + i];
                      if (sig.bias)
                        sum = b.fadd(sum, b.load(biases[w], row));
                      results.push_back(sum);
                    }
                    Value y = results[0];
                    if (sig.gate)
                      y = b.fmul(emitActivation(b, *sig.gate, y), results[1]);
                    Value at = b.add(b.mul(token, n), row);
                    if (residual)
                      y = b.fadd(y, b.load(residual, at));
                    b.store(y, out, at);
                  });
                }
            };
            if (n % rowsPerGroup == 0)
              finish();
            else
              b.ifThen(b.less(row, n), finish);
          }
        };
        auto guarded = [&](function_ref<void()> body) {
          if (isWhole)
            body();
          else
            b.ifThen(b.less(own, groups), body);
        };
        if (buffer) {
          multiplyAll();
          guarded(storeAll);
        } else {
          guarded([&] {
            multiplyAll();
            storeAll();
          });
        }
      });
}
