//===- Passes.h - Passes of the lm dialect ----------------------*- C++ -*-===//
#ifndef QC_DIALECT_LM_TRANSFORMS_PASSES_H
#define QC_DIALECT_LM_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "qc/Dialect/LM/IR/LMDialect.h"

namespace mlir::lm {

#define GEN_PASS_DECL
#include "qc/Dialect/LM/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "qc/Dialect/LM/Transforms/Passes.h.inc"

} // namespace mlir::lm

#endif // QC_DIALECT_LM_TRANSFORMS_PASSES_H
