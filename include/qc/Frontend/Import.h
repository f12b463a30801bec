//===- Import.h - From a model folder to IR ---------------------*- C++ -*-===//
#ifndef QC_FRONTEND_IMPORT_H
#define QC_FRONTEND_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace mlir::qc {

struct ImportOptions {
  /// Look for a tokenizer; without, the program takes and gives token ids.
  bool tokenizer = true;
  /// Read all weights once and refuse NaN and infinity.
  bool checkValues = true;
};

/// Imports a Hugging Face folder: config.json, model.safetensors or its shards,
/// and the tokenizer's files. The module has a `qc.weight` for each tensor,
/// which refers to the tensor's bytes in its file, a private function
/// `@layer_<i>` for each decoder layer, and `@prefill`, `@decode` and `@score`
/// (see the lm dialect). Weights stay where they are.
///
/// Loads the dialects that it needs. Errors are one line; what is odd but
/// works (a tensor that nothing uses) is a warning of the context's
/// diagnostics.
llvm::Expected<OwningOpRef<ModuleOp>>
importModel(MLIRContext &context, StringRef folder,
            const ImportOptions &options = {});

} // namespace mlir::qc

#endif // QC_FRONTEND_IMPORT_H
