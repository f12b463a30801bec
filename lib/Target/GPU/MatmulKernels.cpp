//===- MatmulKernels.cpp - Activations times packed weights ---------------===//
//
// A workgroup computes one row block: thread `lane` of 32 owns an output row,
// so that neighbouring threads read neighbouring words of the packed weight.
// The threads of a workgroup split K in four: by blocks where there are enough
// of them, by the chunks of each block otherwise; the partial sums meet in
// shared memory and are added in a fixed order.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::rowsPerGroup;

namespace {

/// Ways to split K.
constexpr int64_t splits = mlir::qc::gpu::workgroupThreads / rowsPerGroup;

/// Emits the products of a thread's row with a tile of tokens.
class TileEmitter {
public:
  TileEmitter(GPUBuilder &b, const TargetFeatures &target, WeightType weight,
              Value blob, Value lane, Value split, Value x, Value firstToken)
      : b(b), layout(weight.getLayout()),
        e{b, b.getLoc(), blob, 1, layout.rows, lane, target},
        format(weight.getFormat()), split(split), x(x),
        firstX(b.mul(firstToken, layout.k)) {}

  /// Partial sums of `tokens` tokens, f32 each.
  SmallVector<Value> emit(Value rowBlock, int64_t tokens);

private:
  SmallVector<Value> block(Value at, Value index, ValueRange rowParams,
                           ValueRange sums);
  SmallVector<Value> chunk(Value at, Value index, Value inBlock,
                           ValueRange rowParams, ValueRange params,
                           ValueRange sums);
  /// x[token][feature j of the block + inBlock], 0 beyond the end.
  Value activation(int64_t token, Value index, Value inBlock, int64_t j);

  bool splitsBlocks() const { return layout.numBlocks() >= splits; }

  GPUBuilder &b;
  ::qc::PackedLayout layout;
  DecodeEmitter e;
  FormatAttrInterface format;
  Value split, x, firstX;
};

} // namespace

Value TileEmitter::activation(int64_t token, Value index, Value inBlock,
                              int64_t j) {
  Value k = b.add(b.add(b.mul(index, layout.blockK), inBlock), j);
  Value row = b.add(firstX, token * layout.k);
  if (layout.paddedK() == layout.k)
    return b.load(x, b.add(row, k));
  Value valid = b.less(k, layout.k);
  if (layout.paddedBlockK != layout.blockK)
    valid = b.land(valid, b.less(b.add(inBlock, j), layout.blockK));
  Value value = b.load(x, b.add(row, b.select(valid, k, b.index(0))));
  return b.select(valid, value, b.f32(0.0));
}

SmallVector<Value> TileEmitter::chunk(Value at, Value index, Value inBlock,
                                      ValueRange rowParams, ValueRange params,
                                      ValueRange sums) {
  SmallVector<Value> next(sums);
  for (auto [j, weight] :
       llvm::enumerate(format.emitChunk(e, at, rowParams, params))) {
    Value w = b.scalar(weight);
    for (size_t m = 0; m < next.size(); ++m)
      next[m] = b.fma(w,
                      activation(static_cast<int64_t>(m), index, inBlock,
                                 static_cast<int64_t>(j)),
                      next[m]);
  }
  return next;
}

SmallVector<Value> TileEmitter::block(Value at, Value index,
                                      ValueRange rowParams, ValueRange sums) {
  SmallVector<Value> params = format.emitBlockParams(e, at);
  Value scale = format.emitBlockScale(e, params);
  Value chunks = b.add(at, layout.blockParamBytes);
  int64_t count = layout.chunksPerBlock();
  // Some features in a loop body, to have several loads under way.
  int64_t ways = splitsBlocks() ? 1 : splits;
  int64_t unroll = 1;
  while (unroll * 2 * layout.chunkK <= 8 && count % (unroll * 2 * ways) == 0)
    unroll *= 2;
  SmallVector<Value> init(sums);
  if (scale)
    init.assign(sums.size(), b.f32(0.0));
  Value begin = ways == 1 ? b.index(0) : b.mul(split, unroll);
  SmallVector<Value> part =
      b.loop(begin, b.index(count), unroll * ways, init,
             [&](Value c, ValueRange carried) {
               SmallVector<Value> next(carried);
               for (int64_t u = 0; u < unroll; ++u) {
                 Value own = b.add(c, u);
                 next =
                     chunk(b.add(chunks, b.mul(own, layout.chunkBytes)), index,
                           b.mul(own, layout.chunkK), rowParams, params, next);
               }
               return next;
             });
  if (scale)
    for (auto [value, sum] : llvm::zip_equal(part, sums))
      value = b.fma(value, b.scalar(scale), sum);
  return part;
}

SmallVector<Value> TileEmitter::emit(Value rowBlock, int64_t tokens) {
  SmallVector<Value> rowParams = format.emitRowParams(e, b.index(0), rowBlock);
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  SmallVector<Value> sums(tokens, b.f32(0.0));
  auto body = [&](Value index, ValueRange carried) {
    return block(b.add(blocks, b.mul(index, layout.blockBytes())), index,
                 rowParams, carried);
  };
  if (layout.numBlocks() == 1)
    sums = body(b.index(0), sums);
  else
    sums =
        b.loop(splitsBlocks() ? split : b.index(0), b.index(layout.numBlocks()),
               splitsBlocks() ? splits : 1, sums, body);
  if (Value scale = format.emitRowScale(e, rowParams))
    for (Value &sum : sums)
      sum = b.fmul(sum, b.scalar(scale));
  return sums;
}

static std::string kernelName(const MatmulSignature &sig) {
  std::string name = "matmul_" + mlir::qc::gpu::weightName(sig.weight);
  if (sig.second)
    name += "_" + mlir::qc::gpu::weightName(*sig.second);
  if (sig.gate)
    name += llvm::formatv("_{0}", stringifyGateKind(*sig.gate));
  if (sig.bias)
    name += "_bias";
  if (sig.residual)
    name += "_residual";
  return name + llvm::formatv("_m{0}", sig.tokens).str();
}

Kernel mlir::qc::gpu::matmulKernel(KernelContext &ctx,
                                   const MatmulSignature &sig) {
  MLIRContext *context = ctx.module.getContext();
  Type words =
      MemRefType::get({ShapedType::kDynamic}, IntegerType::get(context, 32));
  Type floats =
      MemRefType::get({ShapedType::kDynamic}, Float32Type::get(context));
  SmallVector<WeightType> weights = {sig.weight};
  if (sig.second)
    weights.push_back(*sig.second);
  SmallVector<Type> buffers;
  if (sig.tokens > 1)
    buffers.push_back(words);
  buffers.append(weights.size(), words);
  buffers.push_back(floats);
  if (sig.bias)
    buffers.append(weights.size(), floats);
  if (sig.residual)
    buffers.push_back(floats);
  buffers.push_back(floats);
  return getOrCreateKernel(
      ctx, kernelName(sig), buffers, [&](GPUBuilder &b, ValueRange args) {
        size_t next = 0;
        Value state = sig.tokens > 1 ? args[next++] : Value();
        ValueRange blobs = args.slice(next, weights.size());
        next += weights.size();
        Value x = args[next++];
        ValueRange biases = args.slice(next, sig.bias ? weights.size() : 0);
        next += biases.size();
        Value residual = sig.residual ? args[next++] : Value();
        Value out = args[next];

        int64_t n = sig.weight.getN();
        Value thread = b.thread();
        Value lane = b.rem(thread, rowsPerGroup);
        Value split = b.div(thread, rowsPerGroup);
        Value firstToken = b.mul(b.groupY(), sig.tokens);
        SmallVector<Value> partials;
        for (auto [weight, blob] : llvm::zip_equal(weights, blobs)) {
          ::qc::PackedLayout layout = weight.getLayout();
          Value rowBlock = b.add(b.mul(b.groupX(), layout.rowBlockBytes()),
                                 layout.headerBytes);
          TileEmitter emitter(b, ctx.target, weight, blob, lane, split, x,
                              firstToken);
          Value partial = b.shared(sig.tokens * b.threads);
          for (auto [m, sum] :
               llvm::enumerate(emitter.emit(rowBlock, sig.tokens)))
            b.store(sum, partial,
                    b.add(thread, static_cast<int64_t>(m) * b.threads));
          partials.push_back(partial);
        }
        b.barrier();
        // Thread i finishes row i % 32 of token i / 32, i / 32 + 4, ...
        Value row = b.add(b.mul(b.groupX(), rowsPerGroup), lane);
        auto finish = [&](Value m) {
          Value token = b.add(firstToken, m);
          SmallVector<Value> results;
          for (auto [i, partial] : llvm::enumerate(partials)) {
            Value first = b.add(b.mul(m, b.threads), lane);
            Value sum = b.load(partial, first);
            for (int64_t s = 1; s < splits; ++s)
              sum =
                  b.fadd(sum, b.load(partial, b.add(first, s * rowsPerGroup)));
            if (sig.bias)
              sum = b.fadd(sum, b.load(biases[i], row));
            results.push_back(sum);
          }
          Value y = results[0];
          if (sig.gate)
            y = b.fmul(emitActivation(b, *sig.gate, y), results[1]);
          Value at = b.add(b.mul(token, n), row);
          if (residual)
            y = b.fadd(y, b.load(residual, at));
          b.store(y, out, at);
        };
        auto finishRow = [&] {
          if (sig.tokens == 1) {
            b.ifThen(b.less(thread, rowsPerGroup), [&] { finish(b.index(0)); });
            return;
          }
          Value count = b.toIndex(b.load(state, b.index(1)));
          Value end = b.min(b.index(sig.tokens), b.sub(count, firstToken));
          b.loop(split, end, splits, finish);
        };
        if (n % rowsPerGroup == 0)
          finishRow();
        else
          b.ifThen(b.less(row, n), finishRow);
      });
}
