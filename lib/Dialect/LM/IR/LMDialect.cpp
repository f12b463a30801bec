//===- LMDialect.cpp - lm dialect, types and attributes -------------------===//
#include "qc/Dialect/LM/IR/LMDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <numbers>

using namespace mlir;
using namespace mlir::lm;

#include "qc/Dialect/LM/IR/LMDialect.cpp.inc"
#include "qc/Dialect/LM/IR/LMEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "qc/Dialect/LM/IR/LMAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "qc/Dialect/LM/IR/LMTypes.cpp.inc"

void LMDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "qc/Dialect/LM/IR/LMAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "qc/Dialect/LM/IR/LMTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qc/Dialect/LM/IR/LMOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// KVCacheType
//===----------------------------------------------------------------------===//

Type KVCacheType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type elementType;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
      parser.parseType(elementType) || parser.parseGreater())
    return {};
  return parser.getChecked<KVCacheType>(loc, parser.getContext(), shape,
                                        elementType);
}

void KVCacheType::print(AsmPrinter &printer) const {
  printer << "<";
  for (int64_t size : getShape())
    printer << size << "x";
  printer << getElementType() << ">";
}

LogicalResult KVCacheType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  ArrayRef<int64_t> shape, Type elementType) {
  if (shape.size() != 2 && shape.size() != 3)
    return emitError()
           << "KV cache must be [layers x] heads x head size, found "
           << shape.size() << " dimensions";
  for (int64_t size : shape)
    if (size <= 0)
      return emitError() << "KV cache has a dimension of size " << size
                         << ", expected a positive size";
  if (!elementType.isF32() && !elementType.isF16() && !elementType.isInteger(8))
    return emitError() << "KV cache elements must be f32, f16 or i8, found "
                       << elementType;
  return success();
}

//===----------------------------------------------------------------------===//
// RopeAttr
//===----------------------------------------------------------------------===//

LogicalResult RopeAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               int64_t dim, Real theta, RopeScaling scaling,
                               Real factor, Real low, Real high,
                               int64_t original) {
  if (dim <= 0 || dim % 2)
    return emitError() << "rope dim must be positive and even, found " << dim;
  if (!(theta > 0) || !std::isfinite(theta))
    return emitError() << "rope theta must be positive, found " << theta.value;
  if (scaling != RopeScaling::None && (!(factor > 0) || !std::isfinite(factor)))
    return emitError() << "rope factor must be positive, found "
                       << factor.value;
  if (scaling == RopeScaling::Llama3 &&
      (original <= 0 || !(low > 0) || !(high > low)))
    return emitError()
           << "llama3 rope scaling needs original > 0 and 0 < low < "
              "high, found original = "
           << original << ", low = " << low.value << ", high = " << high.value;
  return success();
}

// Llama 3 scaling as published with the model (Meta, llama-models reference
// implementation, apply_scaling): by wavelength, factor below original / low,
// none above original / high, linear in 1/wavelength between.
SmallVector<double> RopeAttr::getInverseFrequencies() const {
  SmallVector<double> frequencies;
  for (int64_t i = 0; i < getDim() / 2; ++i) {
    double f = std::pow(getTheta(), -2.0 * static_cast<double>(i) /
                                        static_cast<double>(getDim()));
    if (getScaling() == RopeScaling::Linear) {
      f /= getFactor();
    } else if (getScaling() == RopeScaling::Llama3) {
      double wavelength = 2 * std::numbers::pi / f;
      double original = static_cast<double>(getOriginal());
      if (wavelength > original / getLow()) {
        f /= getFactor();
      } else if (wavelength >= original / getHigh()) {
        double smooth =
            (original / wavelength - getLow()) / (getHigh() - getLow());
        f = (1 - smooth) * f / getFactor() + smooth * f;
      }
    }
    frequencies.push_back(f);
  }
  return frequencies;
}
