//===- LUTAttr.cpp - #qc.lut in the IR ------------------------------------===//
//
// Header of a packed weight: the table in f32 and in 8 bits. Block parameters:
// the scales of the rows, f32 when they were double quantized.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Format/LUT.h"

using namespace mlir;
using namespace mlir::qc;

Attribute LUTFormatAttr::parse(AsmParser &parser, Type) {
  TableKind table = TableKind::User;
  int64_t bits = 4, group = 0, doubleQuant = 0;
  Type scale;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess())
    return {};
  if (succeeded(parser.parseOptionalKeyword("nf4")))
    table = TableKind::NF4;
  else if (succeeded(parser.parseOptionalKeyword("fp4")))
    table = TableKind::FP4;
  else if (parser.parseKeyword("bits") || parser.parseEqual() ||
           parser.parseInteger(bits))
    return {};
  if (parser.parseComma() || parser.parseKeyword("group") ||
      parser.parseEqual())
    return {};
  if (failed(parser.parseOptionalKeyword("channel")) &&
      parser.parseInteger(group))
    return {};
  if (parser.parseComma() || parser.parseKeyword("scale") ||
      parser.parseEqual() || parser.parseType(scale))
    return {};
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("double_quant") || parser.parseEqual() ||
       parser.parseInteger(doubleQuant)))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<LUTFormatAttr>(loc, parser.getContext(), table, bits,
                                          group, scale, doubleQuant);
}

void LUTFormatAttr::print(AsmPrinter &printer) const {
  printer << "<";
  if (getTable() == TableKind::User)
    printer << "bits = " << getBits();
  else
    printer << stringifyTableKind(getTable());
  printer << ", group = ";
  if (getGroup() == 0)
    printer << "channel";
  else
    printer << getGroup();
  printer << ", scale = " << getScale();
  if (getDoubleQuant())
    printer << ", double_quant = " << getDoubleQuant();
  printer << ">";
}

LogicalResult
LUTFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      TableKind table, int64_t bits, int64_t group, Type scale,
                      int64_t doubleQuant) {
  if (bits < 1 || bits > 8)
    return emitError() << "bits must lie in [1, 8], found " << bits;
  if (table != TableKind::User && bits != 4)
    return emitError() << "a named table has 4 bits, found " << bits;
  if (group < 0)
    return emitError() << "group must be positive or 'channel', found "
                       << group;
  if (!scale.isF32() && !scale.isF16() && !scale.isBF16())
    return emitError() << "scale must be f32, f16 or bf16, found " << scale;
  if (doubleQuant < 0)
    return emitError() << "double_quant must be positive, found "
                       << doubleQuant;
  if (doubleQuant && !scale.isF32())
    return emitError() << "double_quant needs scale = f32, found " << scale;
  return success();
}

std::shared_ptr<const ::qc::Format> LUTFormatAttr::getHostFormat() const {
  return hostFormat(*this);
}

static std::shared_ptr<const ::qc::LUTFormat> layoutOf(LUTFormatAttr format) {
  return std::static_pointer_cast<const ::qc::LUTFormat>(
      format.getHostFormat());
}

// Header, step, the byte table where lookups have it in registers.
SmallVector<Value> LUTFormatAttr::emitRowParams(DecodeEmitter &e, Value header,
                                                Value) const {
  SmallVector<Value> params = {
      header, e.broadcastF32(e.add(header, layoutOf(*this)->stepOffset()))};
  Value table = e.add(header, layoutOf(*this)->byteTableOffset());
  llvm::append_range(params,
                     e.loadByteTable(table, static_cast<int>(getBits())));
  return params;
}

SmallVector<Value> LUTFormatAttr::emitBlockParams(DecodeEmitter &e,
                                                  Value block) const {
  return {e.loadF32(block, getScale())};
}

Value LUTFormatAttr::emitBlockScale(DecodeEmitter &e, ValueRange params) const {
  return params[0];
}

SmallVector<Value> LUTFormatAttr::emitChunk(DecodeEmitter &e, Value chunk,
                                            ValueRange rowParams,
                                            ValueRange) const {
  SmallVector<Value> weights;
  for (Value codes : e.unpackCodes(chunk, static_cast<int>(getBits())))
    for (Value code : e.splitCodes(codes))
      weights.push_back(e.lookup(rowParams[0], int64_t(1) << getBits(), code));
  return weights;
}

int LUTFormatAttr::getIntegerBits() const { return 8; }

SmallVector<Value> LUTFormatAttr::emitCodes(DecodeEmitter &e, Value chunk,
                                            ValueRange rowParams) const {
  Value table = e.add(rowParams[0], layoutOf(*this)->byteTableOffset());
  auto bits = static_cast<int>(getBits());
  return e.lookupBytes(table, rowParams.drop_front(2), bits,
                       e.unpackCodes(chunk, bits));
}

Value LUTFormatAttr::emitZero(DecodeEmitter &e, ValueRange) const {
  return e.splat(e.f32Vector(), 128);
}

Value LUTFormatAttr::emitIntegerScale(DecodeEmitter &e, ValueRange rowParams,
                                      ValueRange params) const {
  return arith::MulFOp::create(e.b, e.loc, params[0], rowParams[1]);
}
