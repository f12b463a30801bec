//===- E8PAttr.cpp - #qc.e8p in the IR ------------------------------------===//
//
// A chunk is brought to one 32-bit word for each of its four vectors and each
// row: a coordinate is an integer of four bits there (qc/Format/E8P.h). Bytes
// of the low and of the high halves are then in the order of integer dot
// products.
//
// With VBMI and GFNI the words are made of bit planes, one byte for each vector
// of each row: which magnitudes are 3/2 and which 5/2 (tables of 256 bytes in
// registers), and the signs. All bits of the integers are sums modulo 2 of bits
// of these three bytes, so products with 8x8 matrices of bits make them:
// vgf2p8affineqb. Elsewhere two tables of words are read, 4 bytes at a time.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Format/E8P.h"

#include <array>

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

int E8PFormatAttr::getIntegerBits() const { return 4; }

static bool usesPlanes(const DecodeEmitter &e) {
  return e.target.vbmi && e.target.gfni && e.rows == 16;
}

// Header, scale, with planes 4 + 4 registers of tables.
SmallVector<Value> E8PFormatAttr::emitRowParams(DecodeEmitter &e, Value header,
                                                Value rowHeader) const {
  SmallVector<Value> params = {header, e.loadF32(rowHeader, e.b.getF32Type())};
  if (usesPlanes(e)) {
    for (int64_t table : {Host::threesOffset, Host::fivesOffset})
      for (int64_t part = 0; part < 256; part += 64)
        params.push_back(e.load(e.add(header, table + part), e.codeVector()));
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
  /// A shift of 32-bit lanes.
  Value shr(Value v, int64_t by) {
    Value words = as(e.i32Vector(), v);
    return as(v.getType(), arith::ShRUIOp::create(
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

namespace {
/// A product of bits: bit i of the result is the parity of x & rows[i].
struct BitMatrix {
  std::array<uint8_t, 8> rows = {};

  /// As vgf2p8affineqb has it: row 0 in the last byte.
  int64_t operand() const {
    uint64_t bytes = 0;
    for (uint8_t row : rows)
      bytes = bytes << 8 | row;
    return static_cast<int64_t>(bytes);
  }
};

/// The integers of coordinates p (low half of a byte) and p + 4, without the
/// constant 0x88: parts of the signs, of threes and of fives.
struct Coordinates {
  BitMatrix signs, threes, fives;

  explicit Coordinates(size_t p) {
    for (size_t half = 0; half < 2; ++half) {
      auto *s = &signs.rows[4 * half], *t = &threes.rows[4 * half],
           *f = &fives.rows[4 * half];
      auto own = static_cast<uint8_t>(1 << (p + 4 * half));
      s[1] = s[2] = s[3] = t[1] = f[2] = own;
      // The shift is a parity, and the sign of coordinate 7 depends on it.
      s[0] = t[0] = 0xff;
      if (p + 4 * half == 7)
        for (size_t bit : {1, 2, 3}) {
          s[bit] ^= 0xff;
          t[bit] ^= 0xff;
        }
    }
  }
};
} // namespace

/// x[i], y[i], x[i + 1], ... in each 128 bits, of the low or of the high half.
static Value interleave(Bytes &v, Type type, Value x, Value y, bool isHigh) {
  auto vectorType = cast<VectorType>(type);
  int64_t all = vectorType.getNumElements(), lane = all / 4;
  SmallVector<int64_t> order(all);
  for (int64_t i = 0; i < all; ++i)
    order[i] = i / lane * lane + i % lane / 2 + (isHigh ? lane / 2 : 0) +
               (i % 2 ? all : 0);
  return vector::ShuffleOp::create(v.b, v.loc, v.as(type, x), v.as(type, y),
                                   order);
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
  auto longs = VectorType::get({8}, v.b.getI64Type());
  auto product = [&](Value plane, const BitMatrix &matrix, int64_t constant) {
    Value added = arith::ConstantOp::create(
        v.b, v.loc, v.b.getI8IntegerAttr(static_cast<int8_t>(constant)));
    return v.intrinsic(
        "llvm.x86.vgf2p8affineqb.512",
        {plane, v.as(bytes, e.splatInt(longs, matrix.operand())), added});
  };
  SmallVector<Value> parts;
  for (size_t p = 0; p < 4; ++p) {
    Coordinates c(p);
    Value part = product(signs, c.signs, 0x88);
    part = v.bxor(part, product(threes, c.threes, 0));
    parts.push_back(v.bxor(part, product(fives, c.fives, 0)));
  }
  // A byte of each part to the word of its row and vector.
  auto halves = VectorType::get({32}, v.b.getI16Type());
  SmallVector<Value> words;
  for (bool isHigh : {false, true}) {
    Value low = interleave(v, bytes, parts[0], parts[1], isHigh);
    Value high = interleave(v, bytes, parts[2], parts[3], isHigh);
    for (bool isSecond : {false, true})
      words.push_back(v.as(bytes, interleave(v, halves, low, high, isSecond)));
  }
  return words;
}

/// The words of the four vectors of a chunk, in codeVector().
static SmallVector<Value> emitWords(DecodeEmitter &e, Value chunk,
                                    ValueRange rowParams) {
  Bytes v{e};
  Value second = e.add(chunk, 4 * e.stride);
  auto load = [&](Value at) -> Value {
    if (e.target.words)
      return e.loadUnsigned(at, e.b.getI32Type());
    Value all = e.load(e.atRows(at, 4), e.codeVector());
    // From where they are stored to the order of planes, or of words.
    SmallVector<int64_t> order(4 * e.rows);
    for (int64_t row = 0; row < e.rows; ++row)
      for (int64_t q = 0; q < 4; ++q) {
        int64_t to =
            usesPlanes(e) ? Host::codeByte(e.rows, row, q) : 4 * row + q;
        order[to] = Host::codeByte(e.stride, row, q);
      }
    if (llvm::is_sorted(order))
      return all;
    return vector::ShuffleOp::create(e.b, e.loc, all, all, order);
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
  Value zero = e.splat(e.f32Vector(), Host::zero),
        step = e.splat(e.f32Vector(), Host::step);
  SmallVector<Value> weights;
  for (Value codes : emitCodes(e, chunk, rowParams))
    for (Value code : e.splitCodes(codes)) {
      // Exact.
      Value number = arith::UIToFPOp::create(e.b, e.loc, e.f32Vector(), code);
      Value steps = arith::SubFOp::create(e.b, e.loc, number, zero);
      weights.push_back(arith::MulFOp::create(e.b, e.loc, steps, step));
    }
  return weights;
}

SmallVector<Value> E8PFormatAttr::emitCodes(DecodeEmitter &e, Value chunk,
                                            ValueRange rowParams) const {
  Bytes v{e};
  SmallVector<Value> codes;
  for (Value word : emitWords(e, chunk, rowParams))
    codes.append({v.band(word, 15), v.band(v.shr(word, 4), 15)});
  return codes;
}

std::optional<LookupTables> E8PFormatAttr::getLookupTables() const {
  return LookupTables{Host::indexWordsOffset, 2 * 256, 1, 4};
}

Value E8PFormatAttr::emitZero(DecodeEmitter &e, ValueRange) const {
  return e.splat(e.f32Vector(), Host::zero);
}

Value E8PFormatAttr::emitIntegerScale(DecodeEmitter &e, ValueRange,
                                      ValueRange) const {
  return e.splat(e.f32Vector(), Host::step);
}
