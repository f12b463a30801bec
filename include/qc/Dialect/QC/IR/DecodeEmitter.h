//===- DecodeEmitter.h - What formats emit code with ------------*- C++ -*-===//
//
// Handed by a kernel generator to FormatAttrInterface's emit methods. Offsets
// are byte offsets (index) in `blob`, the section of packed weights. All
// emitted operations are of arith, vector and memref, or intrinsics that the
// target has.
//
// On GPUs (`TargetFeatures::words`) memory is an array of 32-bit words, and
// nothing narrower exists: loads take whole words and shift, codes stay four to
// a word. `rows` is then what one thread owns, 1 or 4.
//
//===----------------------------------------------------------------------===//
#ifndef QC_DIALECT_QC_IR_DECODEEMITTER_H
#define QC_DIALECT_QC_IR_DECODEEMITTER_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

#include <array>
#include <optional>

namespace mlir::qc {

/// Instructions that change what generators emit; absent ones are emulated.
struct TargetFeatures {
  int64_t lanes = 4; ///< 32-bit lanes of a vector register
  bool fma = false, avx2 = false, avx512 = false, vnni512 = false,
       vnni256 = false, vbmi = false, gfni = false, amx = false, bf16 = false,
       amxBF16 = false;
  bool sse4a = false; ///< AMD's, which alone have it
  /// A GPU: `blob` is memref<?xi32>, no value is narrower than a word.
  bool words = false;
  /// With `words`: there are instructions that convert f16 to f32 and back.
  bool f16 = false;
  /// With `words`: 2 or 4 aligned words load at once.
  bool wideLoads = false;
  /// With `words`: llvm.nvvm.prmt picks bytes of two words.
  bool permute = false;
  /// Kernels compute the same bits on every device (docs/Reproducible.md).
  bool reproducible = false;
};

/// Vectors of inputs as sums of one entry of each of `books` codebooks, times
/// the row scale (f32, first in the row header). Offsets in the packed header:
/// entries u8 [books, 2^bits, vector], plus 128, in units of an f32 step.
struct AdditiveTables {
  int64_t books, bits, vector, entriesOffset, stepOffset;
};

/// The part of a packed header in which `int8` codes are looked up: consecutive
/// entries of `entryWords` 32-bit words, of all tables. A chunk is nothing but
/// arrays of indices, each with `codeBytes` for every row.
struct LookupTables {
  int64_t offset, entries, entryWords, codeBytes;
};

/// LookupTables in memory of a workgroup: an entry has a copy in every bank.
struct TableCopies {
  /// Of all copies of an entry, which lie side by side.
  static constexpr int64_t entryBytes = 128;
  LookupTables tables;
  Value memory; ///< memref<?xi8>
  Value own;    ///< where the thread's copy begins in an entry (i32)
};

struct DecodeEmitter {
  OpBuilder &b;
  Location loc;
  Value blob;     ///< memref<?xi8>; of words memref<?xi32>
  int64_t rows;   ///< output rows in the lanes
  int64_t stride; ///< rows of a row block of the layout, a multiple of `rows`
  Value firstRow; ///< of the row block that lane 0 has (index); null is 0
  const TargetFeatures &target;
  /// `words` only: the memory that lookups read, where `blob` is a copy of a
  /// part of it.
  Value tables = {};
  /// `words` only: lookupWords() reads these, if any.
  std::optional<TableCopies> copies = {};
  /// `words` only, four rows: words that were loaded before. Loads of rows take
  /// the next ones from here instead.
  SmallVector<Value> loaded = {};

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
  Value loadF32(Value offset, Type type);
  /// The same of unsigned integers, as vector<rows x i32> or as f32.
  Value loadUnsigned(Value offset, Type type);
  Value loadUnsignedF32(Value offset, Type type);
  /// The f32 at `offset` in all lanes.
  Value broadcastF32(Value offset);
  /// Codes of a chunk: vector<4*rows x i8>, of words vector<rows x i32>.
  VectorType codeVector() {
    return target.words ? i32Vector()
                        : VectorType::get({4 * rows}, b.getI8Type());
  }
  /// Codes of `bits` bits of the chunk at `offset`, packed as qc::packCodes
  /// does: codeChunkK(bits) / 4 values of codeVector().
  SmallVector<Value> unpackCodes(Value offset, int bits);
  /// From codeVector() to 4 x vector<rows x i32>, zero extended.
  SmallVector<Value> splitCodes(Value codes);
  /// table[index] for an f32 table at byte offset `table`; index vector<rows x
  /// i32>.
  Value lookup(Value table, int64_t entries, Value index);
  /// The byte table of 2^bits entries at byte offset `table` in i32 registers,
  /// if lookupBytes() permutes them; else nothing.
  SmallVector<Value> loadByteTable(Value table, int bits);
  /// table[code] for the codes that unpackCodes() returns and a byte table at
  /// byte offset `table`; a table of fewer than 64 entries is repeated to fill
  /// 64 bytes. `registers`: what loadByteTable() returned.
  SmallVector<Value> lookupBytes(Value table, ValueRange registers, int bits,
                                 ValueRange codes);
  /// Words `first`, `first` + 1, ... of entry `index` (vector<rows x i32>) of a
  /// table of entries of `entryWords` words at byte offset `table`: `count`
  /// values of vector<rows x i32>. Targets with `words` only.
  SmallVector<Value> lookupWords(Value table, int64_t entryWords, Value index,
                                 int64_t count);

private:
  /// table[code] for byte codes below 2^bits.
  Value lookupBytes(Value table, int bits, Value codes);
  /// The same of two of them, in registers.
  std::array<Value, 2> permuteBytes(ValueRange registers, int bits, Value first,
                                    Value second);
  /// `words` only: the word that holds byte `offset`, or the element of `bits`
  /// bits there, zero extended to i32.
  Value loadWord(Value offset);
  /// The `count` words from word `first` on, where `first` is a multiple of
  /// `count`.
  SmallVector<Value> loadWords(Value memory, Value first, int64_t count);
  /// lookupWords() in `copies`, of whole entries.
  SmallVector<Value> lookupCopies(Value table, Value index);
  /// The elements of `bits` bits of four rows.
  SmallVector<Value> loadRowWords(Value offset, int64_t bits);
  Value loadElement(Value offset, int64_t bits);
  /// Elements of `bits` bits of the lanes, zero extended to vector<rows x i32>.
  Value loadElements(Value offset, int64_t bits);
  SmallVector<Value> unpackWords(Value offset, int bits);
};

/// The f32 value of the f16 or bf16 in the low bits of `bits` (i32 or a vector
/// of it), exact, subnormals included, in integer arithmetic unless the target
/// has f16.
Value emitHalfToF32(OpBuilder &b, Location loc, Value bits,
                    const TargetFeatures &target);
Value emitBfloatToF32(OpBuilder &b, Location loc, Value bits);
/// The f16 nearest to an f32 (ties to even) in the low bits of an i32.
Value emitF32ToHalf(OpBuilder &b, Location loc, Value value,
                    const TargetFeatures &target);

} // namespace mlir::qc

#endif // QC_DIALECT_QC_IR_DECODEEMITTER_H
