//===- LMDialect.h - lm dialect ---------------------------------*- C++ -*-===//
#ifndef QC_DIALECT_LM_IR_LMDIALECT_H
#define QC_DIALECT_LM_IR_LMDIALECT_H

#include "qc/Dialect/QC/IR/QCDialect.h"

#include "mlir/IR/DialectImplementation.h"
#include <bit>

namespace mlir::lm {
/// A double as attribute parameter: hashed and compared by its bits.
struct Real {
  double value;
  operator double() const { return value; }
  friend bool operator==(const Real &a, const Real &b) {
    return std::bit_cast<uint64_t>(a.value) == std::bit_cast<uint64_t>(b.value);
  }
  friend llvm::hash_code hash_value(const Real &r) {
    return llvm::hash_value(std::bit_cast<uint64_t>(r.value));
  }
  friend AsmPrinter &operator<<(AsmPrinter &printer, const Real &r) {
    printer.printFloat(APFloat(r.value));
    return printer;
  }
};
} // namespace mlir::lm

template <>
struct mlir::FieldParser<mlir::lm::Real> {
  static FailureOr<mlir::lm::Real> parse(AsmParser &parser) {
    double value;
    if (parser.parseFloat(value))
      return failure();
    return mlir::lm::Real{value};
  }
};

#include "qc/Dialect/LM/IR/LMDialect.h.inc"
#include "qc/Dialect/LM/IR/LMEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "qc/Dialect/LM/IR/LMAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "qc/Dialect/LM/IR/LMTypes.h.inc"
#define GET_OP_CLASSES
#include "qc/Dialect/LM/IR/LMOps.h.inc"

#endif // QC_DIALECT_LM_IR_LMDIALECT_H
