//===- Emit.h - Object files and executables for the CPU --------*- C++ -*-===//
#ifndef QC_TARGET_CPU_EMIT_H
#define QC_TARGET_CPU_EMIT_H

#include "mlir/IR/BuiltinOps.h"
#include "qc/Target/CPU/TargetMachine.h"
#include "llvm/IR/Module.h"

namespace mlir::qc::cpu {

/// Translates a model in the LLVM dialect to LLVM IR and adds `qc_model` (see
/// qc/Runtime/ModelABI.h) from the module's attributes. `addDevice` adds the
/// QCDeviceModel of a model that a GPU runs.
llvm::Expected<std::unique_ptr<llvm::Module>> translateModel(
    ModuleOp module, const CPU &cpu, llvm::LLVMContext &context,
    function_ref<llvm::Constant *(llvm::Module &)> addDevice = nullptr);

/// One module of the optimized modules of the same model for `cpus`, best
/// first: functions keep their CPU, and `qc_model` of the last lists all
/// (QCModel::versions).
llvm::Expected<std::unique_ptr<llvm::Module>>
mergeVersions(std::vector<std::unique_ptr<llvm::Module>> modules,
              ArrayRef<CPU> cpus);

/// LLVM's -O3 for the CPU.
void optimize(llvm::Module &module, llvm::TargetMachine &machine);

enum class CodeKind { Object, Assembly };
llvm::Error emitCode(llvm::Module &module, llvm::TargetMachine &machine,
                     CodeKind kind, llvm::raw_pwrite_stream &os);

/// Links an object with the runtime archive to `output`.
llvm::Error link(StringRef object, StringRef runtime, StringRef output,
                 bool shared);

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_EMIT_H
