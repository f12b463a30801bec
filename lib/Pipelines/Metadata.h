//===- Metadata.h - The artefact's description of itself --------*- C++ -*-===//
#ifndef QC_PIPELINES_METADATA_H
#define QC_PIPELINES_METADATA_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace mlir::qc {

/// JSON of section "metadata" (docs/ModelABI.md) for a module whose weights are
/// packed, or the halves of a model (lm-place-layers).
llvm::Expected<std::string> buildMetadata(ArrayRef<ModuleOp> modules,
                                          StringRef recipe, StringRef cpu);

} // namespace mlir::qc

#endif // QC_PIPELINES_METADATA_H
