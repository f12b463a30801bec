//===- KernelJIT.h - Runs generated kernels in this process -----*- C++ -*-===//
#ifndef QC_TARGET_CPU_TUNING_KERNELJIT_H
#define QC_TARGET_CPU_TUNING_KERNELJIT_H

#include "mlir/IR/BuiltinOps.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Target/CPU/TargetMachine.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

namespace mlir::qc::cpu {

/// True if this machine has all features that code for `cpu` may use.
bool runsHere(const CPU &cpu);

/// Machine code of a module in the LLVM dialect, optimized as qc-compile does.
/// Its barriers do nothing: one thread a call.
llvm::Expected<std::unique_ptr<llvm::orc::LLJIT>> createJIT(ModuleOp module,
                                                            const CPU &cpu);

/// One matmul of the given format and shape, lowered for one CPU to machine
/// code in this process.
class KernelJIT {
public:
  using MatmulFn = void (*)(const void *weight, const float *x, int64_t m,
                            float *y, void *scratch);
  using DecodeFn = void (*)(const void *weight, int64_t row, float *out);

  /// Null and `error` when something in the pipeline fails. `rows` of a row
  /// block; 0 is what suits the CPU. `tuning` as qc-lower-to-cpu-kernels has
  /// it.
  static std::unique_ptr<KernelJIT> create(const std::string &format, int64_t n,
                                           int64_t k, Arithmetic arithmetic,
                                           const std::string &cpu,
                                           std::string &error, int64_t rows = 0,
                                           const std::string &tuning = "");
  MatmulFn matmul = nullptr;
  DecodeFn decode = nullptr;
  int64_t rows = 0; ///< of the packed layout
  int64_t int8Block = 0, tableLookups = 0;
  int64_t scratchBytes = 0; ///< for `maxTokens` tokens
  static constexpr int64_t maxTokens = 32;

  /// Scratch for `tokens` tokens.
  int64_t scratchFor(int64_t tokens) const {
    return scratchBytes * (tokens + maxTokens) / maxTokens;
  }

  /// Compiles to assembly, for CPUs that the host is not.
  static std::string compileOnly(const std::string &format, int64_t n,
                                 int64_t k, Arithmetic arithmetic,
                                 const std::string &cpu, std::string &error);

private:
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_TUNING_KERNELJIT_H
