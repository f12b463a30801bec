//===- QCDialect.h - qc dialect ---------------------------------*- C++ -*-===//
#ifndef QC_DIALECT_QC_IR_QCDIALECT_H
#define QC_DIALECT_QC_IR_QCDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "qc/Dialect/QC/IR/DecodeEmitter.h"
#include "qc/Format/Format.h"

#include "qc/Dialect/QC/IR/FormatInterface.h.inc"
#include "qc/Dialect/QC/IR/QCDialect.h.inc"
#include "qc/Dialect/QC/IR/QCEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "qc/Dialect/QC/IR/QCAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "qc/Dialect/QC/IR/QCTypes.h.inc"
#define GET_OP_CLASSES
#include "qc/Dialect/QC/IR/QCOps.h.inc"

namespace mlir::qc {
/// The format's spelling: the attribute as printed, without "#qc.".
std::string formatSpelling(FormatAttrInterface format);
/// The attribute of a spelling; null and a diagnostic at `emitError` if wrong.
FormatAttrInterface
parseFormatAttr(MLIRContext *context, StringRef spelling,
                function_ref<InFlightDiagnostic()> emitError);
/// Host side by spelling; for the attributes' getHostFormat and verify.
std::shared_ptr<const ::qc::Format> hostFormat(Attribute format);
} // namespace mlir::qc

#endif // QC_DIALECT_QC_IR_QCDIALECT_H
