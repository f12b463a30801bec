//===- TableEmitter.h - Products of a unit with tables ----------*- C++ -*-===//
#ifndef QC_TARGET_GPU_TABLEEMITTER_H
#define QC_TARGET_GPU_TABLEEMITTER_H

#include "SharedTables.h"

namespace mlir::qc::gpu {

/// Emits the products of a warp's part of K with units of sig.tableRows rows.
class TableEmitter {
public:
  /// `blobs`: of sig.weights(), one of which `weight` stands for.
  TableEmitter(GPUBuilder &b, const KernelContext &ctx,
               const MatmulSignature &sig, ValueRange blobs);

  /// The thread's codes of a step.
  SmallVector<Value> loadCodes(size_t weight, Value unit, Value step);
  /// Codes, scales and sums, before the first emit().
  void setActivations(ValueRange values);
  /// The warp's sum of row ownRow() of the unit. `words`: codes of the first
  /// step, which become those of the unit `next`, if there is one.
  Value emit(size_t weight, Value unit, Value next, SmallVector<Value> &words);
  /// Lanes may have the same.
  Value ownRow();

  SharedTables tables;
  const TableShares shares;

private:
  /// What a thread needs of a block of the activations.
  struct Activations {
    Value scale, init, zero; ///< `zero`: subtracted from sums, if there is one
    SmallVector<Value> words;
  };

  SmallVector<Value> emitStep(DecodeEmitter &e, ValueRange rowParams,
                              Value step, ValueRange words, ValueRange sums,
                              bool mayBeEmpty);
  Activations loadActivations(Value step);
  Value block(Value step);
  DecodeEmitter decoder(size_t weight, Value unit);
  /// Byte offset of the unit's row block.
  Value rowBlock(size_t weight, Value unit);

  GPUBuilder &b;
  const KernelContext &ctx;
  SmallVector<WeightType> weights;
  int64_t unitRows;
  ValueRange blobs;
  FormatAttrInterface format; ///< of all weights
  ActivationBlocks inputBlocks;
  Value lane, blockPart, chunkPart;
  SmallVector<Value> activations;
  SmallVector<Activations> kept; ///< of all steps
};

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_TABLEEMITTER_H
