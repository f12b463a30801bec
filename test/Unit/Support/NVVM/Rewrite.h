//===- Rewrite.h - NVVM IR as IR for this CPU -------------------*- C++ -*-===//
#ifndef QC_TEST_UNIT_SUPPORT_NVVM_REWRITE_H
#define QC_TEST_UNIT_SUPPORT_NVVM_REWRITE_H

#include "Block.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"

#include <map>

namespace qc::test::nvvm {

/// Definitions that code refers to, by name.
using IntrinsicTable = std::map<std::string, std::unique_ptr<Definition>>;

/// What the rewriting found and made.
struct Rewritten {
  std::vector<Kernel> kernels;
  std::vector<std::string> shared; ///< names of variables in shared memory
  std::vector<size_t> sharedBytes; ///< 0: dynamic
  /// Code to run a kernel: void wrapperName(kernel)(void **parameters).
  static std::string wrapperName(const std::string &kernel) {
    return "qc_run_" + kernel;
  }
};

/// Most dynamic shared memory of a block: 227 KiB, as compute capability 9.0.
constexpr size_t maxDynamicShared = size_t(227) << 10;

/// False: `error` says what the emulator does not know.
bool rewriteForHost(llvm::Module &module, const llvm::TargetMachine &machine,
                    IntrinsicTable &table, Rewritten &result,
                    std::string &error);

} // namespace qc::test::nvvm

#endif // QC_TEST_UNIT_SUPPORT_NVVM_REWRITE_H
