//===- Weights.h - Tensors of a checkpoint as qc.weight ---------*- C++ -*-===//
#ifndef QC_FRONTEND_HUGGINGFACE_WEIGHTS_H
#define QC_FRONTEND_HUGGINGFACE_WEIGHTS_H

#include "mlir/IR/Builders.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Frontend/Checkpoint.h"
#include "qc/Frontend/ModelConfig.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::qc {

/// A tensor that a model of this configuration has.
struct ExpectedTensor {
  std::string name;
  SmallVector<int64_t, 2> shape;
};

/// All tensors of a model, in the order in which they are used. The head is
/// among them unless it is tied to the embedding.
std::vector<ExpectedTensor> expectedTensors(const ::qc::ModelConfig &config);

constexpr StringLiteral embeddingName = "model.embed_tokens.weight";
constexpr StringLiteral headName = "lm_head.weight";
constexpr StringLiteral normName = "model.norm.weight";

/// "model.layers.3.self_attn.q_proj.weight"
std::string layerTensor(int64_t layer, StringRef name);

/// The qc.weight operations of an imported module.
class WeightTable {
public:
  /// Checks names, types and shapes (and, with `checkValues`, that all values
  /// are finite) and declares the weights at the builder's insertion point.
  /// May set `config.tied` if the checkpoint has a head of its own.
  llvm::Error declare(OpBuilder &builder, const ::qc::CheckpointDir &checkpoint,
                      ::qc::ModelConfig &config, bool checkValues);

  /// Null if there is no such weight.
  WeightOp find(StringRef name) const { return weights.lookup(name); }

private:
  llvm::StringMap<WeightOp> weights;
};

} // namespace mlir::qc

#endif // QC_FRONTEND_HUGGINGFACE_WEIGHTS_H
