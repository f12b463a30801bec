//===- TensorMatmulKernel.cpp - Many tokens on tensor cores ---------------===//
//
// Each warp computes a row block of 32 rows for a tile of tokens
// (WarpEmitter.h). Codes and activations come through shared memory
// (Staging.h) where their sizes allow it, from global memory otherwise.
//
//===----------------------------------------------------------------------===//
#include "WarpEmitter.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::laneRows;
using mlir::qc::gpu::laneSums;
using mlir::qc::gpu::MatmulArguments;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::rowsPerGroup;
using mlir::qc::gpu::StageBuffers;
using mlir::qc::gpu::StagePlan;
using mlir::qc::gpu::tileTokens;
using mlir::qc::gpu::WarpEmitter;
using mlir::qc::gpu::warpThreads;
using mlir::qc::gpu::workgroupThreads;

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

static std::optional<StagePlan> planStages(WeightType weight, int64_t tokens) {
  return StagePlan::make(weight, WarpEmitter::laneChunks(weight),
                         workgroupThreads / warpThreads, tokens);
}

// Without stages every token has addresses.
int64_t mlir::qc::gpu::tensorTokens(const MatmulSignature &sig) {
  bool isFull = llvm::all_of(sig.weights(), [](WeightType weight) {
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
  SmallVector<WeightType> weights = sig.weights();
  return getOrCreateKernel(
      ctx, matmulName(sig) + "_mma", matmulBuffers(ctx, sig),
      [&](GPUBuilder &b, ValueRange args) {
        MatmulArguments all(sig, args);
        Value out = all.outs[0];
        int64_t n = sig.weight.getN(), tiles = sig.tokens / tileTokens;
        int64_t warps = b.threads / warpThreads, groups = sig.groups();
        Value lane = b.rem(b.thread(), warpThreads);
        Value own =
            b.add(b.mul(b.groupX(), warps), b.div(b.thread(), warpThreads));
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
          WarpEmitter emitter(b, ctx, weights[w], all.blobs[w], lane, all.input,
                              firstToken, tiles);
          ::qc::PackedLayout layout = weights[w].getLayout();
          Value at = b.add(b.mul(rowBlock, layout.rowBlockBytes()),
                           layout.headerBytes);
          return emitter.emit(at, plans[w], buffers);
        };
        auto load = [&](Value from, Value at, size_t count) {
          SmallVector<Value> values;
          Value wide = b.loadWide(from, at, static_cast<int64_t>(count));
          for (size_t i = 0; i < count; ++i)
            values.push_back(b.element(wide, static_cast<int64_t>(i)));
          return values;
        };
        guarded(/*isGuarded=*/!words, [&] {
          Value count = b.toIndex(b.load(all.state[0], b.index(1)));
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
                combine(all.biases[w], row, &GPUBuilder::fadd);
              if (!isLast) {
                for (Value &value : values)
                  value = emitActivation(b, *sig.gate, value);
                return;
              }
              if (weights.size() > 1)
                combine(out, at, &GPUBuilder::fmul);
              if (sig.residual)
                combine(all.residual[0], at, &GPUBuilder::fadd);
            };
            guarded(/*isGuarded=*/words != 0,
                    [&] { results.store(sums, out, update); });
          }
        });
      });
}
