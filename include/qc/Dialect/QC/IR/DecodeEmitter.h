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
       vnni256 = false, vbmi = false, amx = false;
};

/// Vectors of inputs as sums of one entry of each of `books` codebooks, times
/// the row scale (f32, first in the row header). Offsets in the packed header:
/// entries u8 [books, 2^bits, vector], plus 128, in units of an f32 step.
struct AdditiveTables {
  int64_t books, bits, vector, entriesOffset, stepOffset;
};

struct DecodeEmitter {
  OpBuilder &b;
  Location loc;
  Value blob;     ///< memref<?xi8>
  int64_t rows;   ///< output rows in the lanes
  int64_t stride; ///< rows of a row block of the layout, a multiple of `rows`
  Value firstRow; ///< of the row block that lane 0 has (index); null is 0
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
  /// offset + firstRow * bytes: where the lanes' rows begin in an array that
  /// has `bytes` for each row of the row block.
  Value atRows(Value offset, int64_t bytes);
  /// Loads the lanes' elements of an array of `stride` elements of `type`.
  Value loadRows(Value offset, Type type);
  /// The same of floats, widened.
  Value loadF32(Value offset, Type type) {
    return toF32(loadRows(offset, type));
  }
  /// Codes of `bits` bits of the chunk at `offset`, packed as qc::packCodes
  /// does: codeChunkK(bits) / 4 values of vector<4*rows x i8>.
  SmallVector<Value> unpackCodes(Value offset, int bits);
  /// From vector<4*rows x i8> to 4 x vector<rows x i32>, zero extended.
  SmallVector<Value> splitCodes(Value codes);
  /// table[index] for an f32 table at byte offset `table`; index vector<rows x
  /// i32>.
  Value lookup(Value table, int64_t entries, Value index);
  /// table[code] for byte codes below 2^bits and a byte table at byte offset
  /// `table`; a table of fewer than 64 entries is repeated to fill 64 bytes.
  Value lookupBytes(Value table, int bits, Value codes);
};

} // namespace mlir::qc

#endif // QC_DIALECT_QC_IR_DECODEEMITTER_H
