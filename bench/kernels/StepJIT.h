//===- StepJIT.h - Runs a small graph in this process -----------*- C++ -*-===//
#ifndef QC_BENCH_KERNELS_STEPJIT_H
#define QC_BENCH_KERNELS_STEPJIT_H

#include "qc/Runtime/ModelABI.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

#include <memory>
#include <string>

namespace qc::bench {

/// A module with a function `prefill` (see QCStepFn), lowered for this CPU by
/// the compiler's own passes.
class StepJIT {
public:
  /// Null and `error` if something fails. `{rows}` in `source` stands for the
  /// vector width.
  static std::unique_ptr<StepJIT> create(std::string source, int64_t maxTokens,
                                         std::string &error);
  QCStepFn step = nullptr;
  int64_t arenaBytes = 0;

private:
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

} // namespace qc::bench

#endif // QC_BENCH_KERNELS_STEPJIT_H
