//===- EmbeddingKernels.cpp - Rows of packed weights ----------------------===//
#include "Kernels.h"
#include "qc/Runtime/DeviceABI.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;

std::string mlir::qc::gpu::weightName(WeightType weight) {
  std::string text = llvm::formatv("{0}x{1}_{2}", weight.getN(), weight.getK(),
                                   formatSpelling(weight.getFormat()));
  std::string name;
  for (char c : text) {
    if (llvm::isAlnum(c))
      name += c;
    else if (!name.empty() && name.back() != '_')
      name += '_';
  }
  while (name.back() == '_')
    name.pop_back();
  return name;
}

/// Decodes row `row` of the weight to `out` from element `to` on, a chunk a
/// thread.
static void emitDecodeRow(GPUBuilder &b, const TargetFeatures &target,
                          WeightType weight, Value blob, Value row, Value out,
                          Value to) {
  ::qc::PackedLayout layout = weight.getLayout();
  FormatAttrInterface format = weight.getFormat();
  DecodeEmitter e{
      b, b.getLoc(), blob, 1, layout.rows, b.rem(row, layout.rows), target};
  Value rowBlock = b.add(b.mul(b.div(row, layout.rows), layout.rowBlockBytes()),
                         layout.headerBytes);
  SmallVector<Value> rowParams = format.emitRowParams(e, b.index(0), rowBlock);
  Value rowScale = format.emitRowScale(e, rowParams);
  int64_t perBlock = layout.chunksPerBlock();
  b.loop(b.thread(), b.index(layout.numBlocks() * perBlock), b.threads,
         [&](Value item) {
           Value block = b.div(item, perBlock), c = b.rem(item, perBlock);
           Value at = b.add(b.add(rowBlock, layout.rowHeaderBytes),
                            b.mul(block, layout.blockBytes()));
           SmallVector<Value> params = format.emitBlockParams(e, at);
           Value scale = format.emitBlockScale(e, params);
           Value firstK = b.mul(block, layout.blockK);
           Value endK = b.min(b.add(firstK, layout.blockK), b.index(layout.k));
           Value k = b.add(firstK, b.mul(c, layout.chunkK));
           Value chunk = b.add(b.add(at, layout.blockParamBytes),
                               b.mul(c, layout.chunkBytes));
           SmallVector<Value> values =
               format.emitChunk(e, chunk, rowParams, params);
           for (auto [j, value] : llvm::enumerate(values)) {
             if (scale)
               value = b.fmul(value, scale);
             if (rowScale)
               value = b.fmul(value, rowScale);
             Value column = b.add(k, static_cast<int64_t>(j));
             b.ifThen(b.less(column, endK), [&] {
               b.store(b.scalar(value), out, b.add(to, column));
             });
           }
         });
}

Kernel mlir::qc::gpu::embeddingKernel(KernelContext &ctx, WeightType weight) {
  Type words = ctx.words(), floats = ctx.floats();
  return getOrCreateKernel(
      ctx, "embedding_" + weightName(weight), {words, words, floats},
      [&](GPUBuilder &b, ValueRange args) {
        Value id = b.load(args[0], b.add(b.groupY(), QC_STATE_IDS));
        emitDecodeRow(b, ctx.target, weight, args[1], b.toIndex(id), args[2],
                      b.mul(b.groupY(), weight.getK()));
      });
}

Kernel mlir::qc::gpu::decodeKernel(KernelContext &ctx, WeightType weight) {
  Type words = ctx.words(), floats = ctx.floats();
  return getOrCreateKernel(
      ctx, "decode_" + weightName(weight), {words, floats},
      [&](GPUBuilder &b, ValueRange args) {
        Value row = b.add(b.mul(b.groupY(), 256), b.groupX());
        b.ifThen(b.less(row, weight.getN()), [&] {
          emitDecodeRow(b, ctx.target, weight, args[0], row, args[1],
                        b.mul(row, weight.getK()));
        });
      });
}
