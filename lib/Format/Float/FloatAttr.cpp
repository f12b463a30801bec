//===- FloatAttr.cpp - #qc.float in the IR --------------------------------===//
#include "qc/Dialect/QC/IR/QCDialect.h"

using namespace mlir;
using namespace mlir::qc;

LogicalResult
FloatFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                        Type type) {
  if (!type.isF32() && !type.isF16() && !type.isBF16())
    return emitError() << "float format must be f32, f16 or bf16, found "
                       << type;
  return success();
}

std::shared_ptr<const ::qc::Format> FloatFormatAttr::getHostFormat() const {
  return hostFormat(*this);
}

SmallVector<Value> FloatFormatAttr::emitChunk(DecodeEmitter &e, Value chunk,
                                              ValueRange, ValueRange) const {
  return {e.loadF32(chunk, getType())};
}
