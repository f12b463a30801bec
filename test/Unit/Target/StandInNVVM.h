//===- StandInNVVM.h - GPU kernels as NVVM IR, by upstream passes -*- C++ -*-=//
//
// Stands in for lib/Target/NVPTX: enough to run the kernels of the gpu.module
// in the emulator, no code for a GPU.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TEST_UNIT_TARGET_STANDINNVVM_H
#define QC_TEST_UNIT_TARGET_STANDINNVVM_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <string>

namespace qc::test {

/// LLVM IR of the kernels in `module`, as text.
llvm::Expected<std::string> kernelsToNVVM(mlir::ModuleOp module);

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_STANDINNVVM_H
