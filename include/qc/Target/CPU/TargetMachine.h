//===- TargetMachine.h - CPUs to generate for -------------------*- C++ -*-===//
#ifndef QC_TARGET_CPU_TARGETMACHINE_H
#define QC_TARGET_CPU_TARGETMACHINE_H

#include "qc/Dialect/QC/IR/DecodeEmitter.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"

namespace mlir::qc::cpu {

/// A CPU by name, resolved to what generators and LLVM need.
struct CPU {
  std::string name;     ///< as asked for, "native" resolved
  std::string llvmName; ///< LLVM's -mcpu
  std::string features; ///< LLVM's -mattr, "+a,-b"
  /// Features that generated code may use and the runtime must check, LLVM
  /// names.
  SmallVector<std::string> required;
  TargetFeatures vectors;

  /// Resolves "native", "x86-64-v2", ..., "x86-64-v4-amx" or any LLVM name.
  static llvm::Expected<CPU> get(StringRef name);
  /// The CPUs that "x86-64-multi" stands for, best first, the least last; of
  /// any other name that CPU alone.
  static llvm::Expected<std::vector<CPU>> list(StringRef name);
  std::unique_ptr<llvm::TargetMachine> createTargetMachine() const;
};

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_TARGETMACHINE_H
