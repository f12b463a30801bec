//===- ActivationBlocks.cpp - Blocks of int8 activations ------------------===//
#include "qc/Dialect/QC/IR/ActivationBlocks.h"

using namespace mlir::qc;

ActivationBlocks ActivationBlocks::get(WeightType weight) {
  // Rounding errors of short dot products average out less: with blocks of 32
  // int8 costs small models less than 0.1 % perplexity.
  constexpr int64_t shortK = 1024, shortBlock = 32;
  ::qc::PackedLayout layout = weight.getLayout();
  if (layout.k < shortK && layout.blockK == layout.paddedBlockK &&
      layout.blockK % shortBlock == 0 && shortBlock % layout.chunkK == 0 &&
      !weight.getFormat().getAdditiveTables())
    return {layout.k, shortBlock, shortBlock, layout.paddedK() / shortBlock};
  return {layout.k, layout.blockK, layout.paddedBlockK, layout.numBlocks()};
}
