//===- Decoder.h - The graph of a decoder as IR -----------------*- C++ -*-===//
#ifndef QC_FRONTEND_HUGGINGFACE_DECODER_H
#define QC_FRONTEND_HUGGINGFACE_DECODER_H

#include "Weights.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::qc {

/// Appends @layer_0, @layer_1, ..., @prefill, @decode and @score to `module`,
/// which declares the weights in `weights`.
void buildDecoder(ModuleOp module, const ::qc::ModelConfig &config,
                  const WeightTable &weights);

} // namespace mlir::qc

#endif // QC_FRONTEND_HUGGINGFACE_DECODER_H
