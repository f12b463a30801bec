//===- DecodeWords.cpp - Decoding where memory is 32-bit words ------------===//
//
// The part of DecodeEmitter for GPUs: SPIR-V guarantees neither 8- nor 16-bit
// storage, so nothing but i32 and f32 appears.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qc/Dialect/QC/IR/DecodeEmitter.h"
#include "qc/Format/Format.h"

using namespace mlir;
using namespace mlir::qc;

namespace {
/// i32 and f32 arithmetic on scalars or vectors like `like`.
struct Bits {
  OpBuilder &b;
  Location loc;
  Value like;

  Type shaped(Type element) {
    if (auto type = dyn_cast<VectorType>(like.getType()))
      return type.clone(element);
    return element;
  }
  Value i(uint32_t value) {
    auto attr = b.getI32IntegerAttr(static_cast<int32_t>(value));
    Type type = shaped(b.getI32Type());
    if (auto vector = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(b, loc,
                                       DenseElementsAttr::get(vector, attr));
    return arith::ConstantOp::create(b, loc, attr);
  }
  Value f(float value) { return toF32(i(llvm::bit_cast<uint32_t>(value))); }
  Value toF32(Value v) {
    return arith::BitcastOp::create(b, loc, shaped(b.getF32Type()), v);
  }
  Value toI32(Value v) {
    return arith::BitcastOp::create(b, loc, shaped(b.getI32Type()), v);
  }
  Value land(Value x, uint32_t y) {
    return arith::AndIOp::create(b, loc, x, i(y));
  }
  Value lor(Value x, Value y) { return arith::OrIOp::create(b, loc, x, y); }
  Value shl(Value x, uint32_t y) {
    return arith::ShLIOp::create(b, loc, x, i(y));
  }
  Value shr(Value x, uint32_t y) {
    return arith::ShRUIOp::create(b, loc, x, i(y));
  }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value less(Value x, uint32_t y) {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, x, i(y));
  }
  Value select(Value c, Value x, Value y) {
    return arith::SelectOp::create(b, loc, c, x, y);
  }
};
} // namespace

// Not by multiplying with a power of two: a device may flush subnormals.
Value mlir::qc::emitHalfToF32(OpBuilder &b, Location loc, Value bits,
                              const TargetFeatures &target) {
  Bits m{b, loc, bits};
  if (target.f16) {
    Value half =
        arith::TruncIOp::create(b, loc, m.shaped(b.getI16Type()), bits);
    half = arith::BitcastOp::create(b, loc, m.shaped(b.getF16Type()), half);
    return arith::ExtFOp::create(b, loc, m.shaped(b.getF32Type()), half);
  }
  Value sign = m.shl(m.land(bits, 0x8000), 16);
  Value magnitude = m.land(bits, 0x7fff);
  Value normal = m.add(m.shl(magnitude, 13), m.i(112u << 23));
  // Infinity and NaN keep the largest exponent.
  normal = m.select(m.less(magnitude, 0x7c00), normal,
                    m.add(normal, m.i(112u << 23)));
  Value integer =
      arith::UIToFPOp::create(b, loc, m.shaped(b.getF32Type()), magnitude);
  Value subnormal =
      m.toI32(arith::MulFOp::create(b, loc, integer, m.f(0x1p-24f)));
  Value value = m.select(m.less(magnitude, 0x400), subnormal, normal);
  return m.toF32(m.lor(value, sign));
}

Value mlir::qc::emitBfloatToF32(OpBuilder &b, Location loc, Value bits) {
  Bits m{b, loc, bits};
  return m.toF32(m.shl(bits, 16));
}

Value mlir::qc::emitF32ToHalf(OpBuilder &b, Location loc, Value value,
                              const TargetFeatures &target) {
  Bits m{b, loc, value};
  if (target.f16) {
    Value half =
        arith::TruncFOp::create(b, loc, m.shaped(b.getF16Type()), value);
    half = arith::BitcastOp::create(b, loc, m.shaped(b.getI16Type()), half);
    return arith::ExtUIOp::create(b, loc, m.shaped(b.getI32Type()), half);
  }
  Value bits = m.toI32(value);
  Value sign = m.shr(m.land(bits, 0x80000000), 16);
  Value magnitude = m.land(bits, 0x7fffffff);
  // 2^16 and more: infinity; NaN stays NaN.
  Value large =
      m.select(m.less(magnitude, 0x7f800001), m.i(0x7c00), m.i(0x7e00));
  // Below 2^-14: adding 1/2 rounds to multiples of 2^-24.
  Value rounded = arith::AddFOp::create(b, loc, m.toF32(magnitude), m.f(0.5f));
  Value small = m.add(m.toI32(rounded), m.i(0u - (126u << 23)));
  Value odd = m.land(m.shr(magnitude, 13), 1);
  Value normal =
      m.shr(m.add(m.add(magnitude, m.i((0u - (112u << 23)) + 0xfff)), odd), 13);
  Value result = m.select(m.less(magnitude, 0x38800000), small, normal);
  result = m.select(m.less(magnitude, 0x47800000), result, large);
  return m.lor(result, sign);
}

/// offset / 4
static Value wordIndex(OpBuilder &b, Location loc, Value offset) {
  return arith::ShRUIOp::create(b, loc, offset,
                                arith::ConstantIndexOp::create(b, loc, 2));
}

Value DecodeEmitter::loadWord(Value offset) {
  return memref::LoadOp::create(b, loc, blob,
                                ValueRange{wordIndex(b, loc, offset)});
}

Value DecodeEmitter::loadElement(Value offset, int64_t bits) {
  Value word = loadWord(offset);
  if (bits == 32)
    return word;
  Value inWord = arith::AndIOp::create(b, loc, offset, constantIndex(3));
  Value shift = arith::IndexCastOp::create(
      b, loc, b.getI32Type(),
      arith::ShLIOp::create(b, loc, inWord, constantIndex(3)));
  Value mask = arith::ConstantOp::create(
      b, loc, b.getI32IntegerAttr((int32_t(1) << bits) - 1));
  return arith::AndIOp::create(
      b, loc, arith::ShRUIOp::create(b, loc, word, shift), mask);
}

Value DecodeEmitter::loadElements(Value offset, int64_t bits) {
  SmallVector<Value> lanes;
  if (target.wideLoads && rows == 4)
    lanes = loadRowWords(offset, bits);
  else
    for (int64_t row = 0; row < rows; ++row)
      lanes.push_back(loadElement(add(offset, row * bits / 8), bits));
  return vector::FromElementsOp::create(b, loc, i32Vector(), lanes);
}

SmallVector<Value> DecodeEmitter::loadWords(Value memory, Value first,
                                            int64_t count) {
  SmallVector<Value> words;
  if (!target.wideLoads || (count != 2 && count != 4)) {
    for (int64_t i = 0; i < count; ++i)
      words.push_back(
          memref::LoadOp::create(b, loc, memory, ValueRange{add(first, i)}));
    return words;
  }
  Value all = vector::LoadOp::create(
      b, loc, VectorType::get({count}, b.getI32Type()), memory,
      ValueRange{first},
      /*nontemporal=*/false, llvm::MaybeAlign(4 * count));
  for (int64_t i = 0; i < count; ++i)
    words.push_back(vector::ExtractOp::create(b, loc, all, i));
  return words;
}

// Of four rows, `offset` is a multiple of what they take: arrays of a row block
// begin at multiples of 16 bytes (isWide() in lib/Target/GPU).
SmallVector<Value> DecodeEmitter::loadRowWords(Value offset, int64_t bits) {
  SmallVector<Value> lanes, words;
  int64_t count = rows * bits / 32;
  if (loaded.empty()) {
    words = loadWords(blob, wordIndex(b, loc, offset), count);
  } else {
    words.assign(loaded.begin(), loaded.begin() + count);
    loaded.erase(loaded.begin(), loaded.begin() + count);
  }
  for (Value word : words) {
    Bits m{b, loc, word};
    for (int64_t at = 0; at < 32; at += bits) {
      Value element = at ? m.shr(word, static_cast<uint32_t>(at)) : word;
      if (at + bits < 32)
        element = m.land(element, (1u << bits) - 1);
      lanes.push_back(element);
    }
  }
  return lanes;
}

// The low bits of an entry's offset are 0: they choose the copy.
SmallVector<Value> DecodeEmitter::lookupCopies(Value table, Value index) {
  const LookupTables &tables = copies->tables;
  int64_t bytes = 4 * tables.entryWords;
  Value first =
      arith::MulIOp::create(b, loc, add(table, -tables.offset),
                            constantIndex(TableCopies::entryBytes / bytes));
  Value at = arith::OrIOp::create(
      b, loc,
      arith::MulIOp::create(b, loc, index,
                            splatInt(i32Vector(), TableCopies::entryBytes)),
      vector::BroadcastOp::create(b, loc, i32Vector(), copies->own));
  SmallVector<SmallVector<Value>> lanes(tables.entryWords);
  for (int64_t row = 0; row < rows; ++row) {
    Value own = arith::IndexCastUIOp::create(
        b, loc, b.getIndexType(), vector::ExtractOp::create(b, loc, at, row));
    Value entry = vector::LoadOp::create(
        b, loc, VectorType::get({bytes}, b.getI8Type()), copies->memory,
        ValueRange{arith::AddIOp::create(b, loc, own, first)},
        /*nontemporal=*/false, llvm::MaybeAlign(bytes));
    entry = vector::BitCastOp::create(
        b, loc, VectorType::get({tables.entryWords}, b.getI32Type()), entry);
    for (auto [i, values] : llvm::enumerate(lanes))
      values.push_back(
          vector::ExtractOp::create(b, loc, entry, static_cast<int64_t>(i)));
  }
  SmallVector<Value> result;
  for (ArrayRef<Value> values : lanes)
    result.push_back(
        vector::FromElementsOp::create(b, loc, i32Vector(), values));
  return result;
}

SmallVector<Value> DecodeEmitter::lookupWords(Value table, int64_t entryWords,
                                              Value index, int64_t count) {
  if (copies) {
    assert(entryWords == copies->tables.entryWords && count == entryWords &&
           "tables of one kind, entries whole");
    return lookupCopies(table, index);
  }
  Value memory = tables ? tables : blob;
  Value first = wordIndex(b, loc, table);
  SmallVector<SmallVector<Value>> lanes(count);
  for (int64_t row = 0; row < rows; ++row) {
    Value at = arith::IndexCastUIOp::create(
        b, loc, b.getIndexType(),
        vector::ExtractOp::create(b, loc, index, row));
    if (entryWords != 1)
      at = arith::MulIOp::create(b, loc, at, constantIndex(entryWords));
    at = arith::AddIOp::create(b, loc, at, first);
    // Tables of 8-byte entries begin at multiples of 8.
    SmallVector<Value> words;
    if (count == entryWords && count == 2)
      words = loadWords(memory, at, count);
    else
      for (int64_t i = 0; i < count; ++i)
        words.push_back(
            memref::LoadOp::create(b, loc, memory, ValueRange{add(at, i)}));
    for (int64_t i = 0; i < count; ++i)
      lanes[i].push_back(words[i]);
  }
  SmallVector<Value> result;
  for (ArrayRef<Value> values : lanes)
    result.push_back(
        vector::FromElementsOp::create(b, loc, i32Vector(), values));
  return result;
}

SmallVector<Value> DecodeEmitter::loadByteTable(Value table, int bits) {
  SmallVector<Value> registers;
  if (!target.permute || bits > 4)
    return registers;
  for (int64_t byte = 0; byte < std::max(8, 1 << bits); byte += 4)
    registers.push_back(loadWord(add(table, byte)));
  return registers;
}

// An instruction permutes by the four low nibbles of its selector, so the codes
// of two words are looked up as nibbles of one: bytes 0 and 1 of both, then
// bytes 2 and 3. (Two words of 4-bit codes are the nibbles of one packed word,
// and LLVM finds it.) Of 16 entries each half is looked up, bit 3 chooses.
std::array<Value, 2> DecodeEmitter::permuteBytes(ValueRange registers, int bits,
                                                 Value first, Value second) {
  Bits m{b, loc, first};
  Value selectors = m.lor(first, m.shl(second, 4)), halves;
  if (bits == 4) {
    halves = m.lor(m.land(m.shr(selectors, 1), 0x44444444), m.i(0x32103210));
    selectors = m.land(selectors, 0x77777777);
  }
  auto permute = [&](Value low, Value high, Value selector) -> Value {
    return LLVM::CallIntrinsicOp::create(b, loc, b.getI32Type(),
                                         b.getStringAttr("llvm.nvvm.prmt"),
                                         ValueRange{low, high, selector})
        .getResult(0);
  };
  auto constant = [&](int32_t value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value));
  };
  std::array<SmallVector<Value>, 2> lanes;
  for (int64_t row = 0; row < rows; ++row) {
    std::array<Value, 2> mixed; // first, second, first, second
    for (uint32_t shift : {0, 16}) {
      auto select = [&](Value nibbles) -> Value {
        return vector::ExtractOp::create(
            b, loc, shift ? m.shr(nibbles, shift) : nibbles, row);
      };
      Value selector = select(selectors);
      Value entries = permute(registers[0], registers[1], selector);
      if (halves)
        entries =
            permute(entries, permute(registers[2], registers[3], selector),
                    select(halves));
      mixed[shift / 16] = entries;
    }
    lanes[0].push_back(permute(mixed[0], mixed[1], constant(0x6420)));
    lanes[1].push_back(permute(mixed[0], mixed[1], constant(0x7531)));
  }
  std::array<Value, 2> result;
  for (auto [word, values] : llvm::zip_equal(result, lanes))
    word = vector::FromElementsOp::create(b, loc, i32Vector(), values);
  return result;
}

SmallVector<Value> DecodeEmitter::unpackWords(Value offset, int bits) {
  int64_t chunkK = ::qc::codeChunkK(bits);
  SmallVector<Value> codes(chunkK / 4);
  int shift = 0;
  for (int width : ::qc::codePlanes(bits)) {
    int64_t fields = 8 / width;
    auto mask =
        static_cast<uint32_t>(((1 << width) - 1) << shift) * 0x01010101u;
    for (int64_t r = 0; r < chunkK * width / 32; ++r) {
      Value reg = loadElements(atRows(add(offset, r * 4 * stride), 4), 32);
      for (int64_t j = 0; j < fields; ++j) {
        // Bits that crossed a byte border are masked away.
        Bits m{b, loc, reg};
        int64_t right = width * j, left = shift;
        Value field = reg;
        if (right > left)
          field = m.shr(reg, static_cast<uint32_t>(right - left));
        else if (left > right)
          field = m.shl(reg, static_cast<uint32_t>(left - right));
        if (width < 8)
          field = m.land(field, mask);
        Value &code = codes[r * fields + j];
        code = code ? m.lor(code, field) : field;
      }
    }
    offset = add(offset, stride * chunkK * width / 8);
    shift += width;
  }
  return codes;
}
