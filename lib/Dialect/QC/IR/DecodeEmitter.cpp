//===- DecodeEmitter.cpp - What formats emit code with --------------------===//
#include "qc/Dialect/QC/IR/DecodeEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qc/Format/Format.h"

using namespace mlir;
using namespace mlir::qc;

Value DecodeEmitter::constantIndex(int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}

Value DecodeEmitter::add(Value offset, int64_t delta) {
  if (delta == 0)
    return offset;
  return arith::AddIOp::create(b, loc, offset, constantIndex(delta));
}

Value DecodeEmitter::splat(VectorType type, double value) {
  return arith::ConstantOp::create(
      b, loc,
      DenseElementsAttr::get(type,
                             b.getFloatAttr(type.getElementType(), value)));
}

Value DecodeEmitter::splatInt(VectorType type, int64_t value) {
  return arith::ConstantOp::create(
      b, loc,
      DenseElementsAttr::get(type,
                             b.getIntegerAttr(type.getElementType(), value)));
}

Value DecodeEmitter::load(Value offset, VectorType type) {
  int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
  auto raw = VectorType::get({bytes}, b.getI8Type());
  Value loaded = vector::LoadOp::create(b, loc, raw, blob, offset);
  if (type == raw)
    return loaded;
  return vector::BitCastOp::create(b, loc, type, loaded);
}

Value DecodeEmitter::toF32(Value vector) {
  auto type = cast<VectorType>(vector.getType());
  if (type.getElementType().isF32())
    return vector;
  if (type.getElementType().isBF16()) {
    // The upper half of an f32; LLVM would call a library on some CPUs.
    auto halves = VectorType::get(type.getShape(), b.getI16Type());
    auto words = VectorType::get(type.getShape(), b.getI32Type());
    Value bits = vector::BitCastOp::create(b, loc, halves, vector);
    bits = arith::ExtUIOp::create(b, loc, words, bits);
    bits = arith::ShLIOp::create(b, loc, bits, splatInt(words, 16));
    return vector::BitCastOp::create(
        b, loc, VectorType::get(type.getShape(), b.getF32Type()), bits);
  }
  return arith::ExtFOp::create(
      b, loc, VectorType::get(type.getShape(), b.getF32Type()), vector);
}

Value DecodeEmitter::atRows(Value offset, int64_t bytes) {
  if (!firstRow)
    return offset;
  return arith::AddIOp::create(
      b, loc, offset,
      arith::MulIOp::create(b, loc, firstRow, constantIndex(bytes)));
}

Value DecodeEmitter::loadRows(Value offset, Type type) {
  return load(atRows(offset, type.getIntOrFloatBitWidth() / 8),
              VectorType::get({rows}, type));
}

Value DecodeEmitter::loadF32(Value offset, Type type) {
  if (!target.words)
    return toF32(loadRows(offset, type));
  int64_t bits = type.getIntOrFloatBitWidth();
  Value raw = loadElements(atRows(offset, bits / 8), bits);
  if (type.isF16())
    return emitHalfToF32(b, loc, raw, target);
  if (type.isBF16())
    return emitBfloatToF32(b, loc, raw);
  return arith::BitcastOp::create(b, loc, f32Vector(), raw);
}

Value DecodeEmitter::loadUnsigned(Value offset, Type type) {
  int64_t bits = type.getIntOrFloatBitWidth();
  if (target.words)
    return loadElements(atRows(offset, bits / 8), bits);
  return arith::ExtUIOp::create(b, loc, i32Vector(), loadRows(offset, type));
}

Value DecodeEmitter::loadUnsignedF32(Value offset, Type type) {
  Value raw =
      target.words ? loadUnsigned(offset, type) : loadRows(offset, type);
  return arith::UIToFPOp::create(b, loc, f32Vector(), raw);
}

Value DecodeEmitter::broadcastF32(Value offset) {
  Value value;
  if (target.words)
    value = arith::BitcastOp::create(b, loc, b.getF32Type(), loadWord(offset));
  else
    value = vector::ExtractOp::create(
        b, loc, load(offset, VectorType::get({1}, b.getF32Type())), 0);
  return vector::BroadcastOp::create(b, loc, f32Vector(), value);
}

SmallVector<Value> DecodeEmitter::unpackCodes(Value offset, int bits) {
  if (target.words)
    return unpackWords(offset, bits);
  int64_t chunkK = ::qc::codeChunkK(bits);
  auto bytes = VectorType::get({4 * rows}, b.getI8Type());
  SmallVector<Value> codes(chunkK / 4);
  int shift = 0;
  for (int width : ::qc::codePlanes(bits)) {
    int64_t fields = 8 / width;
    for (int64_t r = 0; r < chunkK * width / 32; ++r) {
      Value reg = load(atRows(add(offset, r * 4 * stride), 4), bytes);
      Value words = vector::BitCastOp::create(b, loc, i32Vector(), reg);
      for (int64_t j = 0; j < fields; ++j) {
        // Shift 32-bit lanes, then mask bytes: bits that crossed a byte border
        // are masked away.
        Value field = reg;
        int64_t right = width * j;
        int64_t left = shift;
        Value shifted = words;
        if (right > left)
          shifted = arith::ShRUIOp::create(b, loc, words,
                                           splatInt(i32Vector(), right - left));
        else if (left > right)
          shifted = arith::ShLIOp::create(b, loc, words,
                                          splatInt(i32Vector(), left - right));
        if (shifted != words)
          field = vector::BitCastOp::create(b, loc, bytes, shifted);
        if (width < 8)
          field = arith::AndIOp::create(
              b, loc, field,
              splatInt(bytes,
                       static_cast<int8_t>(((1 << width) - 1) << shift)));
        Value &code = codes[r * fields + j];
        code = code ? arith::OrIOp::create(b, loc, code, field) : field;
      }
    }
    offset = add(offset, stride * chunkK * width / 8);
    shift += width;
  }
  return codes;
}

SmallVector<Value> DecodeEmitter::splitCodes(Value codes) {
  Value words = codes;
  if (codes.getType() != i32Vector())
    words = vector::BitCastOp::create(b, loc, i32Vector(), codes);
  SmallVector<Value> split;
  for (int64_t q = 0; q < 4; ++q) {
    Value shifted = words;
    if (q)
      shifted =
          arith::ShRUIOp::create(b, loc, words, splatInt(i32Vector(), 8 * q));
    if (q < 3)
      shifted =
          arith::AndIOp::create(b, loc, shifted, splatInt(i32Vector(), 255));
    split.push_back(shifted);
  }
  return split;
}

Value DecodeEmitter::lookup(Value table, int64_t entries, Value index) {
  if (target.words)
    return arith::BitcastOp::create(b, loc, f32Vector(),
                                    lookupWords(table, 1, index, 1).front());
  auto intrinsic = [&](StringRef name, ValueRange operands) {
    return LLVM::CallIntrinsicOp::create(b, loc, f32Vector(),
                                         b.getStringAttr(name), operands)
        .getResult(0);
  };
  auto part = [&](int64_t first) {
    return load(add(table, first * 4), f32Vector());
  };
  // A table that fits registers is permuted there.
  if (target.avx512 && rows == 16 && entries <= 16)
    return intrinsic("llvm.x86.avx512.permvar.sf.512", {part(0), index});
  if (target.avx2 && !target.avx512 && rows == 8 && entries <= 16) {
    Value low = intrinsic("llvm.x86.avx2.permps", {part(0), index});
    if (entries <= 8)
      return low;
    Value high = intrinsic("llvm.x86.avx2.permps", {part(8), index});
    Value isHigh = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ugt,
                                         index, splatInt(i32Vector(), 7));
    return arith::SelectOp::create(b, loc, isHigh, high, low);
  }
  // Gathers read f32 elements relative to the table.
  auto i32Index = i32Vector();
  auto mask = VectorType::get({rows}, b.getI1Type());
  Value allSet =
      arith::ConstantOp::create(b, loc, DenseElementsAttr::get(mask, true));
  Value count = constantIndex(entries);
  Value view = memref::ViewOp::create(
      b, loc, MemRefType::get({ShapedType::kDynamic}, b.getF32Type()), blob,
      table, ValueRange{count});
  Value index64 = index;
  if (cast<VectorType>(index.getType()) != i32Index)
    index64 = arith::ExtUIOp::create(b, loc, i32Index, index);
  return vector::GatherOp::create(b, loc, f32Vector(), view,
                                  ValueRange{constantIndex(0)}, index64, allSet,
                                  splat(f32Vector(), 0.0));
}

SmallVector<Value> DecodeEmitter::lookupBytes(Value table, ValueRange registers,
                                              int bits, ValueRange codes) {
  SmallVector<Value> entries;
  if (registers.empty()) {
    for (Value code : codes)
      entries.push_back(lookupBytes(table, bits, code));
    return entries;
  }
  for (size_t i = 0; i < codes.size(); i += 2)
    llvm::append_range(entries,
                       permuteBytes(registers, bits, codes[i], codes[i + 1]));
  return entries;
}

Value DecodeEmitter::lookupBytes(Value table, int bits, Value codes) {
  if (target.words) {
    Value result;
    for (auto [q, code] : llvm::enumerate(splitCodes(codes))) {
      auto constant = [&](int64_t value) {
        return splatInt(i32Vector(), value);
      };
      Value word = lookupWords(
          table, 1, arith::ShRUIOp::create(b, loc, code, constant(2)), 1)[0];
      Value shift = arith::ShLIOp::create(
          b, loc, arith::AndIOp::create(b, loc, code, constant(3)),
          constant(3));
      Value entry = arith::AndIOp::create(
          b, loc, arith::ShRUIOp::create(b, loc, word, shift), constant(255));
      if (q == 0) {
        result = entry;
        continue;
      }
      entry = arith::ShLIOp::create(b, loc, entry,
                                    constant(8 * static_cast<int64_t>(q)));
      result = arith::OrIOp::create(b, loc, result, entry);
    }
    return result;
  }
  auto bytes = cast<VectorType>(codes.getType());
  auto intrinsic = [&](StringRef name, ValueRange operands) -> Value {
    return LLVM::CallIntrinsicOp::create(b, loc, bytes, b.getStringAttr(name),
                                         operands)
        .getResult(0);
  };
  auto part = [&](int64_t first) { return load(add(table, first), bytes); };
  auto constant = [&](int64_t value) {
    return splatInt(bytes, static_cast<int8_t>(value));
  };
  if (bits > 4 && target.vbmi && rows == 16) {
    if (bits <= 6)
      return intrinsic("llvm.x86.avx512.permvar.qi.512", {part(0), codes});
    auto half = [&](int64_t first) {
      return intrinsic("llvm.x86.avx512.vpermi2var.qi.512",
                       {part(first), codes, part(first + 64)});
    };
    if (bits == 7)
      return half(0);
    Value isHigh = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                         codes, constant(0));
    return arith::SelectOp::create(b, loc, isHigh, half(128), half(0));
  }
  StringRef shuffle = rows == 16  ? "llvm.x86.avx512.pshuf.b.512"
                      : rows == 8 ? "llvm.x86.avx2.pshuf.b"
                                  : "llvm.x86.ssse3.pshuf.b.128";
  // pshufb looks a code up in 16 entries of its 128-bit lane; a code with bit 7
  // yields 0. Longer tables are taken 16 entries at a time: other codes are
  // made to have that bit.
  if (bits <= 4)
    return intrinsic(shuffle, {part(0), codes});
  Value result;
  for (int64_t first = 0; first < int64_t(1) << bits; first += 16) {
    SmallVector<int64_t> repeat(bytes.getNumElements());
    for (auto [i, index] : llvm::enumerate(repeat))
      index = static_cast<int64_t>(i) % 16;
    Value sixteen =
        load(add(table, first), VectorType::get({16}, b.getI8Type()));
    Value entries = vector::ShuffleOp::create(b, loc, sixteen, sixteen, repeat);
    Value index = arith::XOrIOp::create(b, loc, codes, constant(first));
    Value mine = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, index,
                                       constant(16));
    index = arith::SelectOp::create(b, loc, mine, index, constant(0x80));
    Value found = intrinsic(shuffle, {entries, index});
    result = result ? arith::OrIOp::create(b, loc, result, found).getResult()
                    : found;
  }
  return result;
}
