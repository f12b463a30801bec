//===- Metadata.h - The artefact's description of itself --------*- C++ -*-===//
#ifndef QC_PIPELINES_METADATA_H
#define QC_PIPELINES_METADATA_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace mlir::qc {

/// JSON of section "metadata" (docs/ModelABI.md) for a module whose weights are
/// packed.
llvm::Expected<std::string> buildMetadata(ModuleOp module, StringRef recipe,
                                          StringRef cpu);

} // namespace mlir::qc

#endif // QC_PIPELINES_METADATA_H
