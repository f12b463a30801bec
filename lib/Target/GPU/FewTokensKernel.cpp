//===- FewTokensKernel.cpp - Few tokens on tensor cores -------------------===//
//
// A step of some tokens takes as long as its weights take to arrive, as one of
// a single token does. So a workgroup has one row block, as there, and its
// warps share K: a large GPU then has the workgroups and each of its
// multiprocessors the warps that keep its memory busy. A warp takes every
// `ways`th block of the activations, several at a time, and all that its
// products need straight from global memory: nobody else in the workgroup reads
// the same weights, and the activations of few tokens stay in the caches.
//
// Sums of the warps meet in shared memory and are added in their order.
//
//===----------------------------------------------------------------------===//
#include "WarpEmitter.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include <deque>

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
using mlir::qc::gpu::tileTokens;
using mlir::qc::gpu::WarpEmitter;
using mlir::qc::gpu::warpThreads;
using mlir::qc::gpu::workgroupThreads;

/// From one token to the next in shared memory: lanes store four rows of a
/// token at once, and those that do it together find other banks.
static constexpr int64_t tokenStride = rowsPerGroup + 4;
/// Threads of a multiprocessor: 128 registers for each.
static constexpr int64_t mostThreads = 512;
/// Tables of more than 16 entries, zero points in floating point and short
/// blocks take more.
static bool needsRegisters(WeightType weight) {
  constexpr int64_t tableBytes = 64, shortBlock = 32;
  ::qc::PackedLayout layout = weight.getLayout();
  return layout.headerBytes > tableBytes || layout.blockK < shortBlock ||
         StringRef(formatSpelling(weight.getFormat())).contains("zero = f");
}
static int64_t mostThreadsFor(const MatmulSignature &sig) {
  return llvm::any_of(sig.weights(), needsRegisters) ? mostThreads / 2
                                                     : mostThreads;
}
/// Bytes of weights that a warp asks for before it multiplies.
static constexpr int64_t warpBytes = 4608;

// 130 multiprocessors with 4 TB/s and 0.6 us to memory need 20 KB under way on
// each, and as much to multiply meanwhile.
int64_t mlir::qc::gpu::fewTokensThreads(const KernelContext &ctx,
                                        const MatmulSignature &sig) {
  constexpr int64_t enoughWarps = 1536;
  int64_t parts = ActivationBlocks::get(sig.weight).blocks *
                  WarpEmitter::numSteps(sig.weight);
  int64_t warps = workgroupThreads / warpThreads;
  while (2 * warps * warpThreads <=
             std::min(ctx.maxThreads, mostThreadsFor(sig)) &&
         sig.groups() * warps < enoughWarps && 2 * warps <= parts)
    warps *= 2;
  return warps * warpThreads;
}

namespace {

/// Emits the kernel of a signature.
class FewTokensEmitter : MatmulArguments {
public:
  FewTokensEmitter(GPUBuilder &b, const KernelContext &ctx,
                   const MatmulSignature &sig, ValueRange args)
      : MatmulArguments(sig, args), b(b), ctx(ctx), sig(sig),
        weights(sig.weights()), tiles(sig.tokens / tileTokens),
        warps(b.threads / warpThreads) {}

  void emit();

private:
  void product(size_t first, size_t count, Value out, Value rowBlock);
  /// The warp's sums of `count` weights from `first` on.
  SmallVector<Value> multiply(size_t first, size_t count, Value rowBlock);
  /// The sums of all warps of the thread's results: results are token by token
  /// of the tile, rows of the row block, and a thread has every threads'th.
  SmallVector<Value> meet(ValueRange sums);

  GPUBuilder &b;
  const KernelContext &ctx;
  const MatmulSignature &sig;
  SmallVector<WeightType> weights;
  int64_t tiles, warps;
  Value lane, warp, count, firstToken, scratch;
};

} // namespace

SmallVector<Value> FewTokensEmitter::multiply(size_t first, size_t count,
                                              Value rowBlock) {
  int64_t blocks = ActivationBlocks::get(weights[first]).blocks;
  // By blocks where there are enough of them.
  int64_t blockWays = warps;
  while (blockWays > blocks)
    blockWays /= 2;
  int64_t chunkWays = warps / blockWays;
  std::deque<WarpEmitter> emitters;
  int64_t bytes = 0;
  for (size_t i = first; i < first + count; ++i) {
    ::qc::PackedLayout layout = weights[i].getLayout();
    WarpEmitter &emitter = emitters.emplace_back(
        b, ctx, weights[i], blobs[i], lane, input, firstToken, tiles);
    if (chunkWays > 1)
      emitter.splitChunks(chunkWays, b.rem(warp, chunkWays));
    emitter.beginRows(
        b.add(b.mul(rowBlock, layout.rowBlockBytes()), layout.headerBytes));
    bytes += layout.blockBytes() * layout.numBlocks() / blocks;
  }
  auto perWeight = static_cast<size_t>(tiles * laneSums);
  auto body = [&](Value index, ValueRange carried) {
    SmallVector<Value> next;
    for (auto [i, emitter] : llvm::enumerate(emitters))
      next.append(
          emitter.emitBlock(index, carried.slice(i * perWeight, perWeight)));
    return next;
  };
  int64_t unroll = 1;
  while (chunkWays == 1 && unroll < 4 && 2 * unroll * bytes <= warpBytes &&
         2 * unroll * blockWays <= blocks)
    unroll *= 2;
  SmallVector<Value> sums(count * perWeight, b.f32(0.0));
  Value part = b.div(warp, chunkWays);
  int64_t whole = blocks - blocks % (unroll * blockWays);
  sums = b.loop(part, b.index(whole), unroll * blockWays, sums,
                [&](Value index, ValueRange carried) {
                  SmallVector<Value> next(carried);
                  for (int64_t u = 0; u < unroll; ++u)
                    next = body(b.add(index, u * blockWays), next);
                  return next;
                });
  if (whole < blocks)
    sums = b.loop(b.add(part, whole), b.index(blocks), blockWays, sums, body);
  for (auto [i, emitter] : llvm::enumerate(emitters))
    emitter.scaleRows(MutableArrayRef(sums).slice(i * perWeight, perWeight));
  return sums;
}

SmallVector<Value> FewTokensEmitter::meet(ValueRange sums) {
  int64_t perWarp = sig.tokens * tokenStride;
  Value own = b.add(b.mul(warp, perWarp), b.mul(b.div(lane, 4), laneRows));
  for (int64_t t = 0; t < tiles; ++t)
    for (int64_t i = 0; i < 2; ++i) {
      SmallVector<Value> rows;
      for (int64_t r = 0; r < laneRows; ++r)
        rows.push_back(sums[t * laneSums + r * 2 + i]);
      Value token = b.add(b.mul(b.rem(lane, 4), 2), t * tileTokens + i);
      b.storeWide(rows, scratch, b.add(own, b.mul(token, tokenStride)));
    }
  b.barrier();
  SmallVector<Value> results;
  for (int64_t first = 0; first < sig.tokens * rowsPerGroup;
       first += b.threads) {
    Value result = b.add(b.thread(), first);
    Value at = b.add(b.mul(b.div(result, rowsPerGroup), tokenStride),
                     b.rem(result, rowsPerGroup));
    Value sum = b.load(scratch, at);
    for (int64_t w = 1; w < warps; ++w)
      sum = b.fadd(sum, b.load(scratch, b.add(at, w * perWarp)));
    results.push_back(sum);
  }
  return results;
}

void FewTokensEmitter::product(size_t first, size_t count, Value out,
                               Value rowBlock) {
  SmallVector<Value> sums = multiply(first, count, rowBlock);
  SmallVector<SmallVector<Value>> products;
  for (size_t i = 0; i < count; ++i) {
    if (i)
      b.barrier();
    auto perWeight = static_cast<size_t>(tiles * laneSums);
    products.push_back(meet(ValueRange(sums).slice(i * perWeight, perWeight)));
  }
  int64_t n = weights[first].getN();
  Value row =
      b.add(b.mul(rowBlock, rowsPerGroup), b.rem(b.thread(), rowsPerGroup));
  for (size_t j = 0; j < products.front().size(); ++j) {
    Value inTile = b.add(b.div(b.thread(), rowsPerGroup),
                         static_cast<int64_t>(j) * b.threads / rowsPerGroup);
    Value token = b.add(firstToken, inTile);
    Value exists = b.less(token, this->count);
    if (n % rowsPerGroup != 0)
      exists = b.land(exists, b.less(row, n));
    b.ifThen(exists, [&] {
      SmallVector<Value> values;
      for (const SmallVector<Value> &product : products)
        values.push_back(product[j]);
      storeResult(b, sig, *this, first, values, out, row, token);
    });
  }
}

void FewTokensEmitter::emit() {
  scratch = b.shared(warps * sig.tokens * tokenStride);
  lane = b.rem(b.thread(), warpThreads);
  warp = b.div(b.thread(), warpThreads);
  firstToken = b.mul(b.groupY(), sig.tokens);
  count = b.toIndex(b.load(state[0], b.index(1)));
  forProduct(b, sig, outs,
             [&](size_t first, size_t many, Value out, Value rowBlock) {
               product(first, many, out, rowBlock);
             });
}

Kernel mlir::qc::gpu::fewTokensMatmulKernel(KernelContext &ctx,
                                            const MatmulSignature &sig) {
  Kernel kernel = getOrCreateKernel(
      ctx, matmulName(sig) + "_mma", matmulBuffers(ctx, sig),
      [&](GPUBuilder &b, ValueRange args) {
        FewTokensEmitter(b, ctx, sig, args).emit();
      },
      sig.threads,
      [&](GPUBuilder &b, ValueRange args) {
        prefetchWeights(b, sig, MatmulArguments(sig, args));
      });
  // Registers of a thread must not keep workgroups from running at once.
  kernel->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                  Builder(kernel.getContext())
                      .getI32IntegerAttr(static_cast<int32_t>(
                          mostThreadsFor(sig) / sig.threads)));
  return kernel;
}
