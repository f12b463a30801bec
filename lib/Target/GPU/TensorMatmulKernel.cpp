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
// Sums of a block of activations become f32 as in MatmulKernels.cpp:
//   sum w x = s sx (sum c a - z sum a).
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include <numeric>

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::rowsPerGroup;

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
        firstToken(firstToken), tiles(tiles) {
    group = b.div(lane, 4);
    quarter = b.rem(lane, 4);
    for (int64_t r = 0; r < laneRows; ++r)
      rows.push_back({b, b.getLoc(), blob, 1, layout.rows, b.add(group, 8 * r),
                      ctx.target});
  }

  /// Sums of rows group + 8 r and tokens firstToken + 8 t + 2 quarter + i:
  /// element (r * tiles + t) * 2 + i.
  SmallVector<Value> emit(Value rowBlock);

private:
  SmallVector<Value> emitBlock(Value at, Value index,
                               ArrayRef<SmallVector<Value>> rowParams,
                               ValueRange sums);
  /// sums + products of a chunk, or two, in each quarter of the warp.
  SmallVector<Value> emitStep(Value chunks, Value index, Value first,
                              ArrayRef<SmallVector<Value>> rowParams,
                              ValueRange sums);
  /// Chunks of the block of activations.
  int64_t numChunks() const { return input.paddedBlockK / layout.chunkK; }
  /// A lane's chunks at a time: their words fill the registers of a product.
  int64_t laneChunks() const { return layout.chunkK % 8 == 0 ? 1 : 2; }
  int64_t laneWords() const { return laneChunks() * layout.chunkK / 4; }

  GPUBuilder &b;
  ::qc::PackedLayout layout;
  FormatAttrInterface format;
  mlir::qc::ActivationBlocks input;
  ValueRange activations; ///< codes, scales, sums
  Value firstToken, group, quarter;
  int64_t tiles;
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

SmallVector<Value> WarpEmitter::emitStep(Value chunks, Value index, Value first,
                                         ArrayRef<SmallVector<Value>> rowParams,
                                         ValueRange sums) {
  int64_t count = numChunks(), own = laneChunks(), words = laneWords();
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
      Value at = b.add(chunks, b.mul(next, layout.chunkBytes));
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
  int64_t rowWords = input.blocks * input.paddedBlockK / 4;
  Value inBlock = b.add(b.mul(index, input.paddedBlockK / 4),
                        b.mul(chunk, layout.chunkK / 4));
  for (int64_t t = 0; t < tiles; ++t) {
    Value token = b.add(b.add(firstToken, t * tileTokens), group);
    Value from = b.add(b.mul(token, rowWords), inBlock);
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
      Value word = b.load(activations[0], at);
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

SmallVector<Value>
WarpEmitter::emitBlock(Value at, Value index,
                       ArrayRef<SmallVector<Value>> rowParams,
                       ValueRange sums) {
  SmallVector<Value> scales, zeros;
  for (auto [r, e] : llvm::enumerate(rows)) {
    SmallVector<Value> params = format.emitBlockParams(e, at);
    scales.push_back(
        b.scalar(format.emitIntegerScale(e, rowParams[r], params)));
    zeros.push_back(format.emitZero(e, params));
  }
  std::optional<int64_t> integer = mlir::qc::gpu::matchInteger(zeros[0]);
  int64_t count = numChunks(), step = 4 * laneChunks();
  Value chunks = b.add(at, layout.blockParamBytes);
  if (int64_t perBlock = layout.chunksPerBlock() / count; perBlock > 1)
    chunks =
        b.add(chunks, b.mul(b.rem(index, perBlock), count * layout.chunkBytes));
  SmallVector<Value> none(sums.size(), b.i32(0)), ints;
  if (count <= step)
    ints = emitStep(chunks, index, b.index(0), rowParams, none);
  else
    ints = b.loop(b.index(0), b.index(count), step, none,
                  [&](Value first, ValueRange carried) {
                    return emitStep(chunks, index, first, rowParams, carried);
                  });
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

SmallVector<Value> WarpEmitter::emit(Value rowBlock) {
  SmallVector<SmallVector<Value>> rowParams;
  for (DecodeEmitter &e : rows)
    rowParams.push_back(format.emitRowParams(e, b.index(0), rowBlock));
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  int64_t perBlock = input.blocks / layout.numBlocks();
  SmallVector<Value> none(laneRows * tiles * 2, b.f32(0.0));
  SmallVector<Value> sums =
      b.loop(b.index(0), b.index(input.blocks), 1, none,
             [&](Value index, ValueRange carried) {
               Value at = b.add(
                   blocks, b.mul(b.div(index, perBlock), layout.blockBytes()));
               return emitBlock(at, index, rowParams, carried);
             });
  for (auto [r, e] : llvm::enumerate(rows))
    if (Value scale = format.emitRowScale(e, rowParams[r]))
      for (int64_t i = 0; i < tiles * 2; ++i) {
        Value &sum = sums[static_cast<int64_t>(r) * tiles * 2 + i];
        sum = b.fmul(sum, b.scalar(scale));
      }
  return sums;
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
        Value rowBlock =
            b.add(b.mul(b.groupX(), warps), b.div(b.thread(), warp));
        Value firstToken = b.mul(b.groupY(), sig.tokens);
        auto body = [&] {
          SmallVector<SmallVector<Value>> sums;
          for (auto [weight, blob] : llvm::zip_equal(weights, blobs)) {
            ::qc::PackedLayout layout = weight.getLayout();
            WarpEmitter emitter(b, ctx, weight, blob, lane, activations,
                                firstToken, tiles);
            sums.push_back(emitter.emit(b.add(
                b.mul(rowBlock, layout.rowBlockBytes()), layout.headerBytes)));
          }
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
        // A product is of a whole warp, and so is this condition.
        if (groups % warps == 0)
          body();
        else
          b.ifThen(b.less(rowBlock, groups), body);
      });
}
