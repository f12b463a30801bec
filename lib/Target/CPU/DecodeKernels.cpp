//===- DecodeKernels.cpp - Rows of packed weights -------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

std::string cpu::weightName(WeightType weight) {
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

func::FuncOp cpu::decodeRowKernel(KernelContext &ctx, WeightType weight) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  ::qc::PackedLayout layout = weight.getLayout();
  return getOrCreateKernel(
      ctx.module, "decode_row_" + weightName(weight),
      {types.bytes(), idx, idx, types.matrix(layout.k), idx}, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        FormatAttrInterface format = weight.getFormat();
        int64_t lanes = b.target.lanes;
        Value inBlock = b.rem(args[2], layout.rows);
        Value lane = b.rem(inBlock, lanes);
        DecodeEmitter e{b,           b.getLoc(),           args[0], lanes,
                        layout.rows, b.sub(inBlock, lane), b.target};
        Value rowBlock =
            b.add(b.add(args[1], layout.headerBytes),
                  b.mul(b.div(args[2], layout.rows), layout.rowBlockBytes()));
        SmallVector<Value> rowParams =
            format.emitRowParams(e, args[1], rowBlock);
        Value rowScale = format.emitRowScale(e, rowParams);
        Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
        b.loop(b.index(0), b.index(layout.numBlocks()), 1, [&](Value block) {
          Value at = b.add(blocks, b.mul(block, layout.blockBytes()));
          SmallVector<Value> params = format.emitBlockParams(e, at);
          Value scale = format.emitBlockScale(e, params);
          Value firstK = b.mul(block, layout.blockK);
          Value endK = b.min(b.add(firstK, layout.blockK), b.index(layout.k));
          Value chunks = b.add(at, layout.blockParamBytes);
          b.loop(b.index(0), b.index(layout.chunksPerBlock()), 1, [&](Value c) {
            Value chunk = b.add(chunks, b.mul(c, layout.chunkBytes));
            Value k = b.add(firstK, b.mul(c, layout.chunkK));
            SmallVector<Value> values =
                format.emitChunk(e, chunk, rowParams, params);
            for (auto [j, value] : llvm::enumerate(values)) {
              if (scale)
                value = b.fmul(value, scale);
              if (rowScale)
                value = b.fmul(value, rowScale);
              Value own =
                  vector::ExtractOp::create(b, value, OpFoldResult(lane));
              Value to = b.add(k, static_cast<int64_t>(j));
              b.ifThen(b.less(to, endK),
                       [&] { b.store(own, args[3], {args[4], to}); });
            }
          });
        });
      });
}

func::FuncOp cpu::embeddingKernel(KernelContext &ctx, WeightType weight) {
  func::FuncOp decode = decodeRowKernel(ctx, weight);
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  auto ids = MemRefType::get({ShapedType::kDynamic}, types.getI32Type());
  return getOrCreateKernel(
      ctx.module, "embedding_" + weightName(weight),
      {ids, types.bytes(), idx, types.matrix(weight.getK()), idx, idx},
      ctx.target, [&](KernelBuilder &b, ValueRange args) {
        ItemRange range = b.partition(b.dim(args[0], 0), args[4], args[5]);
        b.loop(range.begin, range.end, 1, [&](Value i) {
          Value id = arith::IndexCastOp::create(b, b.getIndexType(),
                                                b.load(args[0], i));
          func::CallOp::create(b, decode,
                               ValueRange{args[1], args[2], id, args[3], i});
        });
      });
}
