//===- EntryPoints.h - C entry points of a compiled model -------*- C++ -*-===//
#ifndef QC_TARGET_CPU_ENTRYPOINTS_H
#define QC_TARGET_CPU_ENTRYPOINTS_H

#include "Kernels.h"

namespace mlir::qc::cpu {

/// Collects while functions are lowered what the model ABI
/// (qc/Runtime/ModelABI.h) exposes, then emits it: the step functions, and for
/// each matmul and format functions for --self-test. The module attributes
/// `qc.kernels`, `qc.format_tests` and `qc.kv_bytes_per_token` list the rest of
/// the QCModel.
class EntryPointList {
public:
  /// Remembers the types of `prefill`, `decode` and `score` before lowering.
  void collectInterface(ArrayRef<func::FuncOp> functions);
  void addWeight(WeightType weight, Arithmetic arithmetic);
  /// A weight whose rows are decoded only.
  void addDecode(WeightType weight);
  LogicalResult emit(KernelContext &ctx, SymbolTable &symbols,
                     int64_t maxTokens);

private:
  struct Step {
    std::string name;
    FunctionType type;
  };
  struct Kernel {
    WeightType weight;
    Arithmetic arithmetic;
  };
  SmallVector<Step> steps;
  SmallVector<Kernel> kernels;
  SmallVector<WeightType> decoded;
};

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_ENTRYPOINTS_H
