//===- TensorAttentionKernel.cpp - Attention of many tokens ---------------===//
//
// Attention on tensor cores (Dao, FlashAttention-2, arXiv 2307.08691): a
// workgroup has a query head and 64 tokens, a warp 16 of them. Keys and values
// come to shared memory a block of positions at a time. By mma.sync (PTX ISA,
// "Matrix Fragments for mma.m16n8k16 with floating point type")
//
//   S [16 tokens, 8 positions] f32 += Q [16 tokens, 16 dimensions] f16
//                                     * K^T [16 dimensions, 8 positions] f16
//   O [16 tokens, 8 dimensions] f32 += P [16 tokens, 16 positions] f16
//                                      * V [16 positions, 8 dimensions] f16
//
// with P = exp(S - m), m the largest score of a token so far; O and the sum of
// P are scaled when m grows. Queries hold scale * log2(e), so that exp is 2^x.
//
// Which positions the columns of S are does not matter as long as P and V
// agree. With g = lane / 4 and q = lane % 4, column g of product i of a tile of
// 32 positions is position 4 g + i: a lane loads a word of four neighbouring
// positions at once, as the cache has them. Its sums, of columns 2 q and 2 q +
// 1, are then those of positions 8 q to 8 q + 7, and become its elements of P
// where they are: product j of a tile takes positions 8 q + 4 j to + 3.
//
//===----------------------------------------------------------------------===//
#include "AttentionBlocks.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

#include <array>
#include <numbers>

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::asHalves;
using mlir::qc::gpu::asWord;
using mlir::qc::gpu::attentionName;
using mlir::qc::gpu::attentionTokens;
using mlir::qc::gpu::BlockLoader;
using mlir::qc::gpu::BlockShape;
using mlir::qc::gpu::CacheLayout;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::stateIndex;
using mlir::qc::gpu::toHalves;
using mlir::qc::gpu::warpThreads;
using mlir::qc::gpu::windowBegin;
using mlir::qc::gpu::workgroupThreads;

/// Sides of a product m16n8k16 and the sums of it that a lane has: two
/// neighbouring columns of row g, and of row g + 8.
static constexpr int64_t productRows = 16, productColumns = 8,
                         productDepth = 16, laneSums = 4;
/// Positions of a tile of the cache, and products that compute their scores.
static constexpr int64_t tile = CacheLayout::tile,
                         tileProducts = tile / productColumns;
/// Registers of a query that a lane has in a product.
static constexpr int64_t queryWords = 4;

static_assert(attentionTokens == workgroupThreads / warpThreads * productRows);

bool mlir::qc::gpu::canAttendOnTensorCores(const KernelContext &ctx,
                                           const CacheLayout &cache) {
  // The sums of larger heads need more registers than there are.
  constexpr int64_t mostDims = 256;
  int64_t headDim = cache.type.getHeadDim();
  return ctx.tensorCores && !cache.type.getElementType().isF32() &&
         headDim % productDepth == 0 && headDim <= mostDims;
}

namespace {

/// What a lane carries from block to block.
struct Running {
  /// Of its two tokens; sums are of the lane's positions alone.
  std::array<Value, 2> top, sum;
  SmallVector<Value> out; ///< sums of products, [8 dimensions][laneSums]

  SmallVector<Value> flatten() const {
    SmallVector<Value> all = {top[0], top[1], sum[0], sum[1]};
    return llvm::append_range(all, out), all;
  }
  static Running get(ValueRange all) {
    return {
        {all[0], all[1]}, {all[2], all[3]}, llvm::to_vector(all.drop_front(4))};
  }
};

class TensorAttention {
public:
  /// `args`: of attentionKernel().
  TensorAttention(GPUBuilder &b, const CacheLayout &cache, int64_t heads,
                  double scale, std::optional<int64_t> window, ValueRange args);
  void emit();

private:
  void loadQuery();
  /// The lane's registers of 16 dimensions of its tokens.
  SmallVector<Value> queryOf(int64_t step);
  int64_t steps() const { return shape.words * 2 / productDepth; }
  Value sharedQuery(int64_t step) {
    return b.mul(b.add(b.thread(), (step - mostSteps) * b.threads), queryWords);
  }
  SmallVector<Value> emitScores(const BlockLoader &loader);
  /// Scores of what tokens do not see become very small.
  void mask(MutableArrayRef<Value> scores, Value first);
  /// Scores become P; `running` is scaled for it, but for adding the products.
  void exponentiate(MutableArrayRef<Value> scores, Running &running);
  void addValues(const BlockLoader &loader, ArrayRef<Value> weights,
                 Running &running);
  void store(const Running &running);

  SmallVector<Value> multiply(ArrayRef<Value> a, ArrayRef<Value> c, Value low,
                              Value high);
  Value exp2(Value x) { return math::Exp2Op::create(b, x); }
  /// Scores of product `i` of tile `t`; element c of laneSums is that of token
  /// c / 2 and position 4 (c % 2) + i of the lane's eight in the tile.
  static int64_t scoreAt(int64_t t, int64_t i, int64_t c) {
    return (t * tileProducts + i) * laneSums + c;
  }

  GPUBuilder &b;
  const CacheLayout &cache;
  BlockShape shape;
  int64_t heads;
  double scale;
  std::optional<int64_t> window;
  Value state, query, memory, out;
  Value head, lane, group, quarter;
  Value position, count; ///< of the step
  Value firstToken;      ///< of the warp, in the step
  /// Steps of 16 dimensions whose queries have registers. Those of the others
  /// wait in shared memory, each lane's own.
  static constexpr int64_t mostSteps = 9;
  SmallVector<SmallVector<Value>> queries;
  Value sharedQueries;
};

} // namespace

TensorAttention::TensorAttention(GPUBuilder &b, const CacheLayout &cache,
                                 int64_t heads, double scale,
                                 std::optional<int64_t> window, ValueRange args)
    : b(b), cache(cache), shape(cache), heads(heads), scale(scale),
      window(window), state(args[0]), query(args[1]), memory(args[2]),
      out(args[3]) {
  head = b.groupX();
  lane = b.rem(b.thread(), warpThreads);
  group = b.div(lane, 4);
  quarter = b.rem(lane, 4);
  position = stateIndex(b, state, 0);
  count = stateIndex(b, state, 1);
}

/// One product of a warp: c + a * b.
SmallVector<Value> TensorAttention::multiply(ArrayRef<Value> a,
                                             ArrayRef<Value> c, Value low,
                                             Value high) {
  Type f32 = b.getF32Type();
  auto result =
      LLVM::LLVMStructType::getLiteral(b.getContext(), {f32, f32, f32, f32});
  Value sums = NVVM::MmaOp::create(
      b, result, a, ValueRange{low, high}, c,
      ArrayRef<int64_t>{productRows, productColumns, productDepth},
      std::nullopt, std::nullopt, std::nullopt,
      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  SmallVector<Value> next;
  for (int64_t i = 0; i < laneSums; ++i)
    next.push_back(LLVM::ExtractValueOp::create(b, sums, i));
  return next;
}

void TensorAttention::loadQuery() {
  int64_t headDim = cache.type.getHeadDim();
  SmallVector<Value> rows;
  for (int64_t r = 0; r < 2; ++r) {
    // Those beyond the last token are that again, and not stored.
    Value token = b.add(firstToken, b.add(group, r * productRows / 2));
    token = b.min(token, b.sub(count, b.index(1)));
    rows.push_back(
        b.add(b.add(b.mul(token, heads * headDim), b.mul(head, headDim)),
              b.mul(quarter, 2)));
  }
  Value factor = b.f32(scale * std::numbers::log2e);
  if (steps() > mostSteps)
    sharedQueries = b.shared((steps() - mostSteps) * b.threads * queryWords,
                             b.getI32Type(), 16);
  for (int64_t step = 0; step < steps(); ++step) {
    SmallVector<Value> own;
    for (int64_t half = 0; half < 2; ++half)
      for (Value row : rows) {
        Value pair =
            b.loadWide(query, b.add(row, step * productDepth + half * 8), 2);
        own.push_back(toHalves(b, b.fmul(b.element(pair, 0), factor),
                               b.fmul(b.element(pair, 1), factor)));
      }
    if (step < mostSteps) {
      queries.push_back(own);
      continue;
    }
    for (Value &halves : own)
      halves = asWord(b, halves);
    b.storeWide(own, sharedQueries, sharedQuery(step));
  }
}

SmallVector<Value> TensorAttention::queryOf(int64_t step) {
  if (step < mostSteps)
    return queries[static_cast<size_t>(step)];
  SmallVector<Value> own;
  Value words = b.loadWide(sharedQueries, sharedQuery(step), queryWords);
  for (int64_t i = 0; i < queryWords; ++i)
    own.push_back(asHalves(b, b.element(words, i)));
  return own;
}

SmallVector<Value> TensorAttention::emitScores(const BlockLoader &loader) {
  SmallVector<Value> scores(shape.tiles() * tileProducts * laneSums,
                            b.f32(0.0));
  Value from = b.add(b.mul(quarter, tile), b.mul(group, 4));
  for (int64_t step = 0; step < steps(); ++step) {
    SmallVector<Value> own = queryOf(step);
    for (int64_t t = 0; t < shape.tiles(); ++t) {
      // Four positions of the halves of 16 dimensions. All loads before the
      // first product, or LLVM splits them.
      SmallVector<Value> words[2];
      for (int64_t half = 0; half < 2; ++half) {
        int64_t word = t * shape.words + step * 8 + half * 4;
        Value four = b.loadWide(loader.keys, b.add(from, word * tile), 4);
        for (int64_t i = 0; i < tileProducts; ++i)
          words[half].push_back(asHalves(b, b.element(four, i)));
      }
      for (int64_t i = 0; i < tileProducts; ++i) {
        auto sums = MutableArrayRef(scores).slice(
            static_cast<size_t>(scoreAt(t, i, 0)), laneSums);
        llvm::copy(multiply(own, sums, words[0][i], words[1][i]), sums.begin());
      }
    }
  }
  return scores;
}

void TensorAttention::mask(MutableArrayRef<Value> scores, Value first) {
  for (int64_t row = 0; row < 2; ++row) {
    // The token's position from the lane's first one on.
    Value token = b.add(firstToken, b.add(group, row * productRows / 2));
    Value own = b.sub(b.add(position, token), b.add(first, b.mul(quarter, 8)));
    for (int64_t t = 0; t < shape.tiles(); ++t)
      for (int64_t i = 0; i < tileProducts; ++i)
        for (int64_t j = 0; j < 2; ++j) {
          int64_t offset = t * tile + 4 * j + i;
          Value &score = scores[scoreAt(t, i, 2 * row + j)];
          Value isSeen = b.less(b.index(offset - 1), own);
          if (window)
            isSeen = b.land(isSeen, b.less(own, offset + *window));
          score = b.select(isSeen, score, b.f32(-1e30));
        }
  }
}

// A token that sees nothing of its first blocks has P = 1 there; its first
// score takes all of that away.
void TensorAttention::exponentiate(MutableArrayRef<Value> scores,
                                   Running &running) {
  for (size_t row = 0; row < 2; ++row) {
    SmallVector<Value *> own;
    for (size_t i = 2 * row; i < scores.size(); i += laneSums)
      own.append({&scores[i], &scores[i + 1]});
    auto larger = [&](Value a, Value c) -> Value {
      return arith::MaxNumFOp::create(b, a, c);
    };
    Value top = *own[0];
    for (Value *score : ArrayRef(own).drop_front())
      top = larger(top, *score);
    top = larger(running.top[row], b.reduceLanes(top, 4, larger));
    Value factor = exp2(b.fsub(running.top[row], top));
    running.top[row] = top;
    Value &sum = running.sum[row];
    sum = b.fmul(sum, factor);
    for (Value *score : own) {
      *score = exp2(b.fsub(*score, top));
      sum = b.fadd(sum, *score);
    }
    for (size_t i = 2 * row; i < running.out.size(); i += laneSums)
      for (size_t j = 0; j < 2; ++j)
        running.out[i + j] = b.fmul(running.out[i + j], factor);
  }
}

void TensorAttention::addValues(const BlockLoader &loader,
                                ArrayRef<Value> weights, Running &running) {
  // ldmatrix takes the addresses of the rows of four matrices from eight lanes
  // each: both halves of the positions of a product, of 16 dimensions.
  Value matrix = b.div(lane, 8);
  Value row = b.add(b.rem(lane, 8), b.mul(b.rem(matrix, 2), 8));
  Value from = b.add(b.mul(row, 2 * shape.rowWords),
                     b.mul(b.div(matrix, 2), productColumns));
  auto type = VectorType::get({4, 2}, b.getF16Type());
  for (int64_t t = 0; t < shape.tiles(); ++t)
    for (int64_t j = 0; j < 2; ++j) {
      SmallVector<Value> p; // rows g and g + 8, of both halves
      for (int64_t u = 0; u < 2; ++u)
        for (int64_t r = 0; r < 2; ++r)
          p.push_back(toHalves(b, weights[scoreAt(t, 2 * u, 2 * r + j)],
                               weights[scoreAt(t, 2 * u + 1, 2 * r + j)]));
      int64_t firstRow = t * tile + j * productDepth;
      for (int64_t dim = 0; dim < 2 * shape.words; dim += 2 * productColumns) {
        Value at = b.add(from, firstRow * 2 * shape.rowWords + dim);
        Value v = nvgpu::LdMatrixOp::create(b, type, loader.values, at,
                                            /*transpose=*/true, 4);
        for (int64_t i = 0; i < 2; ++i) {
          auto own = MutableArrayRef(running.out)
                         .slice(static_cast<size_t>((dim / productColumns + i) *
                                                    laneSums),
                                laneSums);
          llvm::copy(
              multiply(p, own, b.element(v, 2 * i), b.element(v, 2 * i + 1)),
              own.begin());
        }
      }
    }
}

void TensorAttention::store(const Running &running) {
  int64_t headDim = cache.type.getHeadDim();
  for (int64_t r = 0; r < 2; ++r) {
    Value sum = b.reduceLanes(running.sum[r], 4,
                              [&](Value a, Value c) { return b.fadd(a, c); });
    Value inverse = b.fdiv(b.f32(1.0), sum);
    Value token = b.add(firstToken, b.add(group, r * productRows / 2));
    Value row =
        b.add(b.add(b.mul(token, heads * headDim), b.mul(head, headDim)),
              b.mul(quarter, 2));
    b.ifThen(b.less(token, count), [&] {
      for (int64_t dim = 0; dim < headDim; dim += productColumns) {
        const Value *own =
            &running.out[dim / productColumns * laneSums + 2 * r];
        b.storeWide({b.fmul(own[0], inverse), b.fmul(own[1], inverse)}, out,
                    b.add(row, dim));
      }
    });
  }
}

void TensorAttention::emit() {
  // The last tile, which sees most, starts first.
  Value tiles = b.div(b.add(count, attentionTokens - 1), attentionTokens);
  Value ownTile = b.sub(b.sub(tiles, b.index(1)), b.groupY());
  Value tileToken = b.mul(ownTile, attentionTokens);
  firstToken =
      b.add(tileToken, b.mul(b.div(b.thread(), warpThreads), productRows));
  // Positions of the tile's first and last token.
  Value oldest = b.add(position, tileToken);
  Value newest = b.min(b.add(oldest, attentionTokens - 1),
                       b.sub(b.add(position, count), b.index(1)));
  auto toBlock = [&](Value at) {
    return b.mul(b.div(at, shape.positions), shape.positions);
  };
  Value begin = toBlock(windowBegin(b, oldest, window));
  Value end = b.add(newest, 1);
  // All tokens see all of the blocks between.
  Value wholeEnd = toBlock(b.add(oldest, 1));

  BlockLoader loader(b, cache, memory, stateIndex(b, state, 2),
                     b.div(head, heads / cache.type.getHeads()), newest);
  SmallVector<Value> fetched = loader.beginKeys(begin);
  loadQuery();
  Running start;
  start.top.fill(b.f32(-1e30));
  start.sum.fill(b.f32(0.0));
  start.out.assign(shape.words * 2 / productColumns * laneSums, b.f32(0.0));
  loader.finishKeys(fetched);
  SmallVector<Value> carried = start.flatten();
  auto emitBlocks = [&](Value from, Value to, bool isMasked) {
    carried = b.loop(
        from, to, shape.positions, carried, [&](Value first, ValueRange own) {
          Running running = Running::get(own);
          b.barrier(); // keys are there, nobody reads the values before
          SmallVector<Value> values = loader.beginValues(first);
          SmallVector<Value> scores = emitScores(loader);
          loader.finishValues(values);
          b.barrier(); // values are there, nobody reads these keys
          SmallVector<Value> keys =
              loader.beginKeys(b.add(first, shape.positions));
          if (isMasked)
            mask(scores, first);
          exponentiate(scores, running);
          addValues(loader, scores, running);
          loader.finishKeys(keys);
          return running.flatten();
        });
  };
  if (window) {
    Value wholeBegin = windowBegin(b, newest, window);
    wholeBegin = toBlock(b.add(wholeBegin, shape.positions - 1));
    emitBlocks(begin, b.min(wholeBegin, end), /*isMasked=*/true);
    emitBlocks(wholeBegin, wholeEnd, /*isMasked=*/false);
    wholeEnd = b.max(wholeBegin, wholeEnd);
  } else {
    emitBlocks(begin, wholeEnd, /*isMasked=*/false);
  }
  emitBlocks(wholeEnd, end, /*isMasked=*/true);
  store(Running::get(carried));
}

Kernel mlir::qc::gpu::tensorAttentionKernel(KernelContext &ctx,
                                            const CacheLayout &cache,
                                            int64_t heads, double scale,
                                            std::optional<int64_t> window) {
  Type words = ctx.words(), floats = ctx.floats();
  return getOrCreateKernel(
      ctx, attentionName("attention", cache, heads, scale, window) + "_mma",
      {words, floats, words, floats}, [&](GPUBuilder &b, ValueRange args) {
        TensorAttention(b, cache, heads, scale, window, args).emit();
      });
}
