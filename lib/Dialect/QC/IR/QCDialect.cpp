//===- QCDialect.cpp - qc dialect, types and attributes -------------------===//
#include "qc/Dialect/QC/IR/QCDialect.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::qc;

#include "qc/Dialect/QC/IR/FormatInterface.cpp.inc"
#include "qc/Dialect/QC/IR/QCDialect.cpp.inc"
#include "qc/Dialect/QC/IR/QCEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "qc/Dialect/QC/IR/QCAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "qc/Dialect/QC/IR/QCTypes.cpp.inc"

void QCDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "qc/Dialect/QC/IR/QCAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "qc/Dialect/QC/IR/QCTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qc/Dialect/QC/IR/QCOps.cpp.inc"
      >();
}

std::string mlir::qc::formatSpelling(FormatAttrInterface format) {
  std::string text;
  llvm::raw_string_ostream(text) << Attribute(format);
  StringRef spelling = text;
  spelling.consume_front("#qc.");
  return spelling.str();
}

std::shared_ptr<const ::qc::Format> mlir::qc::hostFormat(Attribute format) {
  std::string error;
  return ::qc::parseFormat(
      formatSpelling(llvm::cast<FormatAttrInterface>(format)), error);
}

FormatAttrInterface
mlir::qc::parseFormatAttr(MLIRContext *context, StringRef spelling,
                          function_ref<InFlightDiagnostic()> emitError) {
  // The host parser gives the better message, so it goes first.
  std::string error;
  std::shared_ptr<const ::qc::Format> host = ::qc::parseFormat(spelling, error);
  if (!host) {
    emitError() << error;
    return {};
  }
  // The host takes parameters in any order, the attribute in one.
  return llvm::dyn_cast_or_null<FormatAttrInterface>(
      parseAttribute("#qc." + host->spelling(), context));
}

LogicalResult ExternalAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   StringRef file, int64_t offset,
                                   int64_t length) {
  if (file.empty())
    return emitError() << "external component has an empty file name";
  if (offset < 0 || length < 0)
    return emitError() << "external component of '" << file
                       << "' has a negative offset or length";
  return success();
}

//===----------------------------------------------------------------------===//
// WeightType
//===----------------------------------------------------------------------===//

Type WeightType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Attribute format;
  int64_t rows = 0;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/false,
                                /*withTrailingX=*/false) ||
      parser.parseComma() || parser.parseAttribute(format))
    return {};
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("packed") || parser.parseLess() ||
       parser.parseInteger(rows) || parser.parseGreater()))
    return {};
  if (parser.parseGreater())
    return {};
  auto interface = llvm::dyn_cast<FormatAttrInterface>(format);
  if (!interface) {
    parser.emitError(loc) << "expected a weight format, found " << format;
    return {};
  }
  return parser.getChecked<WeightType>(loc, parser.getContext(), shape,
                                       interface, rows);
}

void WeightType::print(AsmPrinter &printer) const {
  printer << "<";
  llvm::interleave(getShape(), printer.getStream(), "x");
  printer << ", " << Attribute(getFormat());
  if (isPacked())
    printer << ", packed<" << getPackedRows() << ">";
  printer << ">";
}

LogicalResult WeightType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 ArrayRef<int64_t> shape,
                                 FormatAttrInterface format,
                                 int64_t packedRows) {
  if (shape.empty() || shape.size() > 2)
    return emitError() << "weight must have rank 1 or 2, found rank "
                       << shape.size();
  for (int64_t size : shape)
    if (size <= 0)
      return emitError() << "weight has a dimension of size " << size
                         << ", expected a positive size";
  if (packedRows < 0 || packedRows > 256)
    return emitError() << "packed rows must lie in [1, 256], found "
                       << packedRows;
  if (shape.size() == 1) {
    if (!llvm::isa<FloatFormatAttr>(Attribute(format)) || packedRows)
      return emitError()
             << "a weight of rank 1 must have a float format and no packing";
    return success();
  }
  std::shared_ptr<const ::qc::Format> host = format.getHostFormat();
  if (!host)
    return emitError() << "format " << Attribute(format) << " is not valid";
  if (std::optional<std::string> error = host->check(shape[0], shape[1]))
    return emitError() << *error;
  return success();
}

::qc::PackedLayout WeightType::getLayout() const {
  return getFormat().getHostFormat()->packedLayout(getN(), getK(),
                                                   getPackedRows());
}

SmallVector<int64_t> WeightType::getComponentBytes() const {
  if (isPacked())
    return {getLayout().totalBytes()};
  SmallVector<int64_t> bytes;
  for (const ::qc::TensorSpec &spec :
       getFormat().getHostFormat()->components(getN(), getK()))
    bytes.push_back(spec.numBytes());
  return bytes;
}
