//===- GroupedAttr.cpp - #qc.grouped in the IR ----------------------------===//
//
// Block parameters of a packed weight: scales of the rows, then zero points.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "qc/Dialect/QC/IR/QCDialect.h"

using namespace mlir;
using namespace mlir::qc;

Attribute GroupedFormatAttr::parse(AsmParser &parser, Type) {
  int64_t bits, group = 0;
  Type scale;
  ZeroKind zero = ZeroKind::None;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword("bits") ||
      parser.parseEqual() || parser.parseInteger(bits) || parser.parseComma() ||
      parser.parseKeyword("group") || parser.parseEqual())
    return {};
  if (failed(parser.parseOptionalKeyword("channel")) &&
      parser.parseInteger(group))
    return {};
  if (parser.parseComma() || parser.parseKeyword("scale") ||
      parser.parseEqual() || parser.parseType(scale))
    return {};
  if (succeeded(parser.parseOptionalComma())) {
    StringRef kind;
    SMLoc kindLoc = parser.getCurrentLocation();
    if (parser.parseKeyword("zero") || parser.parseEqual() ||
        parser.parseKeyword(&kind))
      return {};
    std::optional<ZeroKind> parsed = symbolizeZeroKind(kind);
    if (!parsed || *parsed == ZeroKind::None) {
      parser.emitError(kindLoc)
          << "zero must be int, f16 or f32, found '" << kind << "'";
      return {};
    }
    zero = *parsed;
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<GroupedFormatAttr>(loc, parser.getContext(), bits,
                                              group, scale, zero);
}

void GroupedFormatAttr::print(AsmPrinter &printer) const {
  printer << "<bits = " << getBits() << ", group = ";
  if (getGroup() == 0)
    printer << "channel";
  else
    printer << getGroup();
  printer << ", scale = " << getScale();
  if (getZero() != ZeroKind::None)
    printer << ", zero = " << stringifyZeroKind(getZero());
  printer << ">";
}

LogicalResult
GroupedFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                          int64_t bits, int64_t group, Type scale,
                          ZeroKind zero) {
  if (bits < 1 || bits > 8)
    return emitError() << "bits must lie in [1, 8], found " << bits;
  if (group < 0)
    return emitError() << "group must be positive or 'channel', found "
                       << group;
  if (!scale.isF32() && !scale.isF16() && !scale.isBF16())
    return emitError() << "scale must be f32, f16 or bf16, found " << scale;
  return success();
}

std::shared_ptr<const ::qc::Format> GroupedFormatAttr::getHostFormat() const {
  return hostFormat(*this);
}

int GroupedFormatAttr::getIntegerBits() const {
  return static_cast<int>(getBits());
}

SmallVector<Value> GroupedFormatAttr::emitBlockParams(DecodeEmitter &e,
                                                      Value block) const {
  SmallVector<Value> params = {e.loadF32(block, getScale())};
  if (getZero() == ZeroKind::None)
    return params;
  Value zeros = e.add(block, e.stride * getScale().getIntOrFloatBitWidth() / 8);
  if (getZero() == ZeroKind::Int) {
    params.push_back(e.loadUnsignedF32(zeros, e.b.getI8Type()));
  } else {
    params.push_back(e.loadF32(zeros, getZero() == ZeroKind::F16
                                          ? Type(e.b.getF16Type())
                                          : Type(e.b.getF32Type())));
  }
  return params;
}

Value GroupedFormatAttr::emitZero(DecodeEmitter &e, ValueRange params) const {
  if (getZero() != ZeroKind::None)
    return params[1];
  // One bit: scale * (2 code - 1) = (2 scale) * (code - 1/2); see
  // emitBlockScale.
  return e.splat(e.f32Vector(),
                 getBits() == 1 ? 0.5
                                : static_cast<double>(1 << (getBits() - 1)));
}

Value GroupedFormatAttr::emitBlockScale(DecodeEmitter &e,
                                        ValueRange params) const {
  if (getBits() != 1 || getZero() != ZeroKind::None)
    return params[0];
  return arith::AddFOp::create(e.b, e.loc, params[0], params[0]);
}

SmallVector<Value> GroupedFormatAttr::emitCodes(DecodeEmitter &e, Value chunk,
                                                ValueRange) const {
  return e.unpackCodes(chunk, static_cast<int>(getBits()));
}

SmallVector<Value> GroupedFormatAttr::emitChunk(DecodeEmitter &e, Value chunk,
                                                ValueRange rowParams,
                                                ValueRange params) const {
  Value zero = emitZero(e, params);
  SmallVector<Value> weights;
  for (Value codes : emitCodes(e, chunk, rowParams))
    for (Value code : e.splitCodes(codes)) {
      Value number = arith::SIToFPOp::create(e.b, e.loc, e.f32Vector(), code);
      weights.push_back(arith::SubFOp::create(e.b, e.loc, number, zero));
    }
  return weights;
}
