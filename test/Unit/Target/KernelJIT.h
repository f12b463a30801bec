//===- KernelJIT.h - Runs generated kernels in the test process -*- C++ -*-===//
#ifndef QC_TEST_UNIT_TARGET_KERNELJIT_H
#define QC_TEST_UNIT_TARGET_KERNELJIT_H

#include "mlir/IR/MLIRContext.h"
#include "qc/Target/CPU/TargetMachine.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

namespace qc::test {

using MatmulFn = void (*)(const void *weight, const float *x, int64_t m,
                          float *y, void *scratch);
using DecodeFn = void (*)(const void *weight, int64_t row, float *out);

/// CPUs to generate for that this machine can run: SSE4, AVX2, AVX-512 and
/// AVX-512 VNNI levels, as far as the host has them.
std::vector<std::string> runnableCPUs();
/// The same with AMX: machine code whose AMX instructions run or fault and are
/// done in memory, and kernels rewritten by qc-emulate-amx.
std::vector<std::string> runnableAMX();
/// Every level; those that the host lacks can be compiled only.
std::vector<std::string> allCPUs();

/// Lowers one matmul of the given format and shape for one CPU, to machine code
/// in this process.
class KernelJIT {
public:
  /// Null and `error` when something in the pipeline fails. `rows` of a row
  /// block; 0 is what suits the CPU.
  static std::unique_ptr<KernelJIT>
  create(const std::string &format, int64_t n, int64_t k, bool int8,
         const std::string &cpu, std::string &error, int64_t rows = 0);
  MatmulFn matmul = nullptr;
  DecodeFn decode = nullptr;
  int64_t rows = 0; ///< of the packed layout
  int64_t int8Block = 0, tableLookups = 0;
  int64_t scratchBytes = 0; ///< for `maxTokens` tokens
  static constexpr int64_t maxTokens = 160;
  std::string assembly; ///< when `create` only compiles

  /// Compiles to assembly, for CPUs that the host is not.
  static std::string compileOnly(const std::string &format, int64_t n,
                                 int64_t k, bool int8, const std::string &cpu,
                                 std::string &error);

private:
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_KERNELJIT_H
