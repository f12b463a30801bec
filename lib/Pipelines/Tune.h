//===- Tune.h - The constants that a model's kernels get --------*- C++ -*-===//
#ifndef QC_PIPELINES_TUNE_H
#define QC_PIPELINES_TUNE_H

#include "mlir/IR/BuiltinOps.h"
#include "qc/Pipelines/Compile.h"

namespace mlir::qc {

/// Option `tuning` of qc-lower-to-cpu-kernels for a module whose weights are
/// packed: what the options say, or measured now, or remembered. Unless it is
/// empty, the module's attribute `qc.tuning` tells where it comes from.
llvm::Expected<std::string> chooseTuning(ModuleOp module,
                                         const CompileOptions &options);

} // namespace mlir::qc

#endif // QC_PIPELINES_TUNE_H
