//===- DecodeEmitter.h - What formats emit code with ------------*- C++ -*-===//
//
// Handed by a kernel generator to FormatAttrInterface's emit methods. Offsets
// are byte offsets (index) in `blob`, the section of packed weights. All
// emitted operations are of arith, vector and memref, or intrinsics that the
// target has.
//
//===----------------------------------------------------------------------===//
#ifndef QC_DIALECT_QC_IR_DECODEEMITTER_H
#define QC_DIALECT_QC_IR_DECODEEMITTER_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

namespace mlir::qc {

/// Instructions that change what generators emit; absent ones are emulated.
struct TargetFeatures {
  int64_t lanes = 4; ///< 32-bit lanes of a vector register
  bool fma = false, avx2 = false, avx512 = false, vnni512 = false,
       vnni256 = false;
};

struct DecodeEmitter {
  OpBuilder &b;
  Location loc;
  Value blob;   ///< memref<?xi8>
  int64_t rows; ///< output rows in the lanes
  const TargetFeatures &target;

  VectorType f32Vector() { return VectorType::get({rows}, b.getF32Type()); }
  VectorType i32Vector() { return VectorType::get({rows}, b.getI32Type()); }

  Value constantIndex(int64_t value);
  /// offset + delta
  Value add(Value offset, int64_t delta);
  Value splat(VectorType type, double value);
  Value splatInt(VectorType type, int64_t value);
  /// Loads a vector of any byte-sized element type, unaligned.
  Value load(Value offset, VectorType type);
  /// Widens f16/bf16/f32 to f32.
  Value toF32(Value vector);
  /// Loads `rows` floats of `type` and widens them.
  Value loadF32(Value offset, Type type);
  /// Codes of `bits` bits of the chunk at `offset`, packed as qc::packCodes
  /// does: codeChunkK(bits) / 4 values of vector<4*rows x i8>.
  SmallVector<Value> unpackCodes(Value offset, int bits);
  /// From vector<4*rows x i8> to 4 x vector<rows x i32>, zero extended.
  SmallVector<Value> splitCodes(Value codes);
  /// table[index] for an f32 table at byte offset `table`; index vector<rows x
  /// i32>.
  Value lookup(Value table, int64_t entries, Value index);
};

} // namespace mlir::qc

#endif // QC_DIALECT_QC_IR_DECODEEMITTER_H
