//===- E8PAttr.cpp - #qc.e8p in the IR ------------------------------------===//
//
// A chunk is brought to one 32-bit word for each of its four vectors and each
// row: a coordinate has four bits there (qc/Format/E8P.h), which index a table
// of 16 values. Bytes of the low and of the high halves are then in the order
// of integer dot products.
//
// With VBMI the words are made of bit planes, one byte for each vector of each
// row: which magnitudes are 3/2 and which 5/2 (tables of 256 bytes in
// registers), which signs are negative, and the shift. vpmultishiftqb moves bit
// p and bit p + 4 of a vector's byte to byte p of its word. Elsewhere two
// tables of words are read, 4 bytes at a time.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Format/E8P.h"

using namespace mlir;
using namespace mlir::qc;
using Host = ::qc::E8PFormat;

LogicalResult
E8PFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      Type scale) {
  if (!scale.isF32() && !scale.isF16() && !scale.isBF16())
    return emitError() << "scale must be f32, f16 or bf16, found " << scale;
  return success();
}

std::shared_ptr<const ::qc::Format> E8PFormatAttr::getHostFormat() const {
  return hostFormat(*this);
}

int E8PFormatAttr::getIntegerBits() const { return 5; }

static bool usesPlanes(const DecodeEmitter &e) {
  return e.target.vbmi && e.rows == 16;
}

// Header, scale, with planes 4 + 4 registers of tables and the table of values.
SmallVector<Value> E8PFormatAttr::emitRowParams(DecodeEmitter &e, Value header,
                                                Value rowHeader) const {
  SmallVector<Value> params = {header, e.loadF32(rowHeader, e.b.getF32Type())};
  if (usesPlanes(e)) {
    for (int64_t table : {Host::threesOffset, Host::fivesOffset})
      for (int64_t part = 0; part < 256; part += 64)
        params.push_back(e.load(e.add(header, table + part), e.codeVector()));
    params.push_back(e.load(e.add(header, Host::bytesOffset), e.codeVector()));
  }
  return params;
}

Value E8PFormatAttr::emitRowScale(DecodeEmitter &, ValueRange params) const {
  return params[1];
}

namespace {
/// Integer arithmetic on registers of bytes.
struct Bytes {
  DecodeEmitter &e;
  OpBuilder &b = e.b;
  Location loc = e.loc;

  Value as(Type type, Value v) {
    return v.getType() == type
               ? v
               : vector::BitCastOp::create(b, loc, type, v).getResult();
  }
  Value splat(Type type, int64_t byte) {
    auto vectorType = cast<VectorType>(type);
    if (vectorType.getElementTypeBitWidth() == 32)
      byte = static_cast<int32_t>(static_cast<uint32_t>(byte) * 0x01010101u);
    else
      byte = static_cast<int8_t>(byte);
    return e.splatInt(vectorType, byte);
  }
  Value bxor(Value x, Value y) { return arith::XOrIOp::create(b, loc, x, y); }
  Value band(Value x, int64_t byte) {
    return arith::AndIOp::create(b, loc, x, splat(x.getType(), byte));
  }
  Value bor(Value x, Value y) { return arith::OrIOp::create(b, loc, x, y); }
  /// The bits of `mask` of x, the others of y.
  Value select(int64_t mask, Value x, Value y) {
    return bor(band(x, mask), band(y, ~mask & 255));
  }
  /// Shifts of 32-bit lanes.
  Value shr(Value v, int64_t by) {
    Value words = as(e.i32Vector(), v);
    return as(v.getType(), arith::ShRUIOp::create(
                               b, loc, words, e.splatInt(e.i32Vector(), by)));
  }
  Value shl(Value v, int64_t by) {
    Value words = as(e.i32Vector(), v);
    return as(v.getType(), arith::ShLIOp::create(
                               b, loc, words, e.splatInt(e.i32Vector(), by)));
  }
  Value intrinsic(StringRef name, ValueRange operands) {
    return LLVM::CallIntrinsicOp::create(b, loc, e.codeVector(),
                                         b.getStringAttr(name), operands)
        .getResult(0);
  }
};
} // namespace

/// Four tables of 64 bytes, by unsigned bytes.
static Value lookup256(Bytes &v, ValueRange parts, Value index, Value isHigh) {
  auto half = [&](size_t i) {
    return v.intrinsic("llvm.x86.avx512.vpermi2var.qi.512",
                       {parts[i], index, parts[i + 1]});
  };
  return arith::SelectOp::create(v.b, v.loc, isHigh, half(2), half(0));
}

/// The words of the four vectors from bit planes.
static SmallVector<Value> emitPlanes(Bytes &v, Value index, Value signs,
                                     ValueRange tables) {
  DecodeEmitter &e = v.e;
  Type bytes = e.codeVector();
  Value isHigh = arith::CmpIOp::create(v.b, v.loc, arith::CmpIPredicate::slt,
                                       index, v.splat(bytes, 0));
  Value threes = lookup256(v, tables.take_front(4), index, isHigh);
  Value fives = lookup256(v, tables.slice(4, 4), index, isHigh);
  // Parity of a byte to its bits 0 and 4.
  Value odd = v.bxor(signs, threes);
  odd = v.bxor(odd, v.select(0x0f, v.shr(odd, 4), v.shl(odd, 4)));
  odd = v.bxor(odd, v.shr(odd, 2));
  odd = v.bxor(odd, v.shr(odd, 1));
  Value negative = v.bxor(signs, v.band(v.shl(odd, 7), 0x80));
  Value plus = v.shl(odd, 3);
  // Rotations of 64-bit lanes let planes share their controls.
  auto longs = VectorType::get({8}, v.b.getI64Type());
  auto rotate = [&](Value plane, int64_t by) {
    Value x = v.as(longs, plane);
    Value left = arith::ShLIOp::create(v.b, v.loc, x, e.splatInt(longs, by));
    Value right =
        arith::ShRUIOp::create(v.b, v.loc, x, e.splatInt(longs, 64 - by));
    return v.as(bytes, v.bor(left, right));
  };
  fives = rotate(fives, 1);
  negative = rotate(negative, 2);
  SmallVector<Value> words;
  for (int64_t q = 0; q < 4; ++q) {
    SmallVector<int8_t> control(64);
    SmallVector<int64_t> repeat(64);
    for (int64_t i = 0; i < 64; ++i) {
      control[i] = static_cast<int8_t>(32 * (i / 4 % 2) + 8 * q + i % 4);
      repeat[i] = i / 4 * 4 + q;
    }
    Value bits = arith::ConstantOp::create(
        v.b, v.loc,
        DenseElementsAttr::get(cast<VectorType>(bytes),
                               ArrayRef<int8_t>(control)));
    auto spread = [&](Value plane) {
      return v.intrinsic("llvm.x86.avx512.pmultishift.qb.512", {bits, plane});
    };
    Value shift = vector::ShuffleOp::create(v.b, v.loc, plus, plus, repeat);
    words.push_back(v.select(0x33,
                             v.select(0x11, spread(threes), spread(fives)),
                             v.select(0x44, spread(negative), shift)));
  }
  return words;
}

/// The words of the four vectors of a chunk, in codeVector(). With planes other
/// bits than the low four of a byte of a word's low half are not defined in
/// tables of 64 bytes: the values repeat there.
static SmallVector<Value> emitWords(DecodeEmitter &e, Value chunk,
                                    ValueRange rowParams) {
  Bytes v{e};
  Value second = e.add(chunk, 4 * e.stride);
  auto load = [&](Value at) {
    return e.target.words ? e.loadUnsigned(at, e.b.getI32Type())
                          : e.load(e.atRows(at, 4), e.codeVector());
  };
  Value index = load(chunk), signs = load(second);
  if (usesPlanes(e))
    return emitPlanes(v, index, signs, rowParams.drop_front(2));
  SmallVector<Value> words;
  auto table = [&](int64_t offset, Value at) {
    return v.as(e.i32Vector(), e.lookup(e.add(rowParams[0], offset), 256, at));
  };
  for (auto [i, s] : llvm::zip_equal(e.splitCodes(index), e.splitCodes(signs)))
    words.push_back(
        v.as(e.codeVector(), v.bxor(table(Host::indexWordsOffset, i),
                                    table(Host::signWordsOffset, s))));
  return words;
}

SmallVector<Value> E8PFormatAttr::emitChunk(DecodeEmitter &e, Value chunk,
                                            ValueRange rowParams,
                                            ValueRange) const {
  Bytes v{e};
  Value table = e.add(rowParams[0], Host::floatsOffset);
  SmallVector<Value> weights;
  for (Value word : emitWords(e, chunk, rowParams))
    for (Value half : {v.band(word, 15), v.band(v.shr(word, 4), 15)})
      for (Value code : e.splitCodes(half))
        weights.push_back(e.lookup(table, 16, code));
  return weights;
}

SmallVector<Value> E8PFormatAttr::emitCodes(DecodeEmitter &e, Value chunk,
                                            ValueRange rowParams) const {
  Bytes v{e};
  SmallVector<Value> codes;
  for (Value word : emitWords(e, chunk, rowParams))
    for (Value half : {word, v.shr(word, 4)}) {
      if (usesPlanes(e)) {
        codes.push_back(v.intrinsic("llvm.x86.avx512.permvar.qi.512",
                                    {rowParams.back(), half}));
        continue;
      }
      half = v.band(half, 15);
      if (!e.target.words) {
        codes.push_back(
            e.lookupBytes(e.add(rowParams[0], Host::bytesOffset), 4, half));
        continue;
      }
      // Four bytes of a word at once, none of which overflows:
      // zero - 1 + 2 * shift + magnitude - 2 * (magnitude where negative).
      auto add = [&](Value x, Value y) -> Value {
        return arith::AddIOp::create(e.b, e.loc, x, y);
      };
      Type words = half.getType();
      Value magnitude = add(v.shl(v.band(half, 3), 2), v.splat(words, 2));
      Value negative =
          arith::MulIOp::create(e.b, e.loc, v.band(v.shr(half, 2), 1),
                                e.splatInt(cast<VectorType>(words), 255));
      Value base =
          add(v.shr(v.band(half, 8), 2), v.splat(words, Host::zero - 1));
      Value twice =
          v.shl(arith::AndIOp::create(e.b, e.loc, magnitude, negative), 1);
      codes.push_back(
          arith::SubIOp::create(e.b, e.loc, add(base, magnitude), twice));
    }
  return codes;
}

Value E8PFormatAttr::emitZero(DecodeEmitter &e, ValueRange) const {
  return e.splat(e.f32Vector(), Host::zero);
}

Value E8PFormatAttr::emitIntegerScale(DecodeEmitter &e, ValueRange,
                                      ValueRange) const {
  return e.splat(e.f32Vector(), 0.25);
}
