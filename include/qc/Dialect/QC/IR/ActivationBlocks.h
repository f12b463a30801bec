//===- ActivationBlocks.h - Blocks of int8 activations ----------*- C++ -*-===//
//
// Which inputs of a matmul in int8 arithmetic share a scale: the same on every
// target, so that all of them compute with the same codes.
//
//===----------------------------------------------------------------------===//
#ifndef QC_DIALECT_QC_IR_ACTIVATIONBLOCKS_H
#define QC_DIALECT_QC_IR_ACTIVATIONBLOCKS_H

#include "qc/Dialect/QC/IR/QCDialect.h"

namespace mlir::qc {

/// Blocks of `blockK` of the k inputs, each stored as `paddedBlockK` codes. A K
/// block of the weight holds one or several of them; those beyond k are empty.
struct ActivationBlocks {
  int64_t k = 0, blockK = 0, paddedBlockK = 0, blocks = 0;

  static ActivationBlocks get(WeightType weight);
  bool operator==(const ActivationBlocks &) const = default;
};

} // namespace mlir::qc

#endif // QC_DIALECT_QC_IR_ACTIVATIONBLOCKS_H
