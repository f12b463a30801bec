//===- CodebookAttr.cpp - #qc.codebook in the IR --------------------------===//
//
// Header of a packed weight: all codebooks in f32 and in 8 bits. Row header:
// scales in f32. A chunk is one vector of inputs: for each book the codes of
// the rows.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Format/Codebook.h"

using namespace mlir;
using namespace mlir::qc;

LogicalResult
CodebookFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                           int64_t books, int64_t bits, int64_t vector,
                           Type scale, Type entry) {
  if (books < 1 || books > 8)
    return emitError() << "books must lie in [1, 8], found " << books;
  if (bits < 1 || bits > 16)
    return emitError() << "bits must lie in [1, 16], found " << bits;
  if (vector < 1 || vector > 64)
    return emitError() << "vector must lie in [1, 64], found " << vector;
  for (auto [name, type] : {std::pair<StringRef, Type>{"scale", scale},
                            std::pair<StringRef, Type>{"entry", entry}})
    if (!type.isF32() && !type.isF16() && !type.isBF16())
      return emitError() << name << " must be f32, f16 or bf16, found " << type;
  return success();
}

std::shared_ptr<const ::qc::Format> CodebookFormatAttr::getHostFormat() const {
  return hostFormat(*this);
}

static std::shared_ptr<const ::qc::CodebookFormat>
layoutOf(CodebookFormatAttr format) {
  return std::static_pointer_cast<const ::qc::CodebookFormat>(
      format.getHostFormat());
}

int CodebookFormatAttr::getIntegerBits() const {
  return layoutOf(*this)->hasByteEntries() ? 8 : 0;
}

int64_t CodebookFormatAttr::getRowsPerBlock(int64_t lanes) const {
  // A register of codes has one byte for each row.
  return lanes == 16 && getBits() <= 8 && getIntegerBits() ? 64 : lanes;
}

std::optional<AdditiveTables> CodebookFormatAttr::getAdditiveTables() const {
  auto format = layoutOf(*this);
  if (!format->hasByteEntries())
    return std::nullopt;
  return AdditiveTables{getBooks(), getBits(), getVector(),
                        format->byteEntriesOffset(), format->stepOffset()};
}

SmallVector<Value> CodebookFormatAttr::emitRowParams(DecodeEmitter &e,
                                                     Value header,
                                                     Value rowHeader) const {
  SmallVector<Value> params = {header, e.loadF32(rowHeader, e.b.getF32Type())};
  if (getIntegerBits())
    params.push_back(
        e.broadcastF32(e.add(header, layoutOf(*this)->stepOffset())));
  return params;
}

Value CodebookFormatAttr::emitRowScale(DecodeEmitter &e,
                                       ValueRange params) const {
  return params[1];
}

SmallVector<Value> CodebookFormatAttr::emitChunk(DecodeEmitter &e, Value chunk,
                                                 ValueRange params,
                                                 ValueRange) const {
  Type codeType = e.b.getIntegerType(getBits() <= 8 ? 8 : 16);
  int64_t codeBytes = codeType.getIntOrFloatBitWidth() / 8;
  int64_t entries = int64_t(1) << getBits();
  SmallVector<Value> weights(getVector());
  for (int64_t book = 0; book < getBooks(); ++book) {
    Value index =
        e.loadUnsigned(e.add(chunk, book * e.stride * codeBytes), codeType);
    Value first = arith::MulIOp::create(e.b, e.loc, index,
                                        e.splatInt(e.i32Vector(), getVector()));
    for (int64_t j = 0; j < getVector(); ++j) {
      Value table = e.add(params[0], (book * entries * getVector() + j) * 4);
      Value entry = e.lookup(table, entries * getVector() - j, first);
      weights[j] =
          weights[j]
              ? arith::AddFOp::create(e.b, e.loc, weights[j], entry).getResult()
              : entry;
    }
  }
  return weights;
}

/// Entries are fetched whole, 4 or 8 bytes at a time, by scalar loads: gathers
/// of 4 bytes take longer on every CPU tried.
SmallVector<Value> CodebookFormatAttr::emitCodes(DecodeEmitter &e, Value chunk,
                                                 ValueRange rowParams) const {
  OpBuilder &b = e.b;
  Location loc = e.loc;
  Type codeType = b.getIntegerType(getBits() <= 8 ? 8 : 16);
  int64_t codeBytes = codeType.getIntOrFloatBitWidth() / 8;
  int64_t entries = int64_t(1) << getBits(), words = getVector() / 4;
  int64_t wide = words % 2 == 0 ? 2 : 1; // 32-bit words of a load
  auto wordType = b.getIntegerType(32 * wide);
  auto vectorType = VectorType::get({e.rows}, wordType);
  SmallVector<Value> codes;
  if (e.target.words) {
    for (int64_t book = 0; book < getBooks(); ++book) {
      Value index =
          e.loadUnsigned(e.add(chunk, book * e.stride * codeBytes), codeType);
      Value table = e.add(rowParams[0], layoutOf(*this)->byteEntriesOffset() +
                                            book * entries * getVector());
      llvm::append_range(codes, e.lookupWords(table, words, index, words));
    }
    return codes;
  }
  for (int64_t book = 0; book < getBooks(); ++book) {
    Value at = e.atRows(e.add(chunk, book * e.stride * codeBytes), codeBytes);
    Value table = e.add(rowParams[0], layoutOf(*this)->byteEntriesOffset() +
                                          book * entries * getVector());
    SmallVector<Value> loaded(words / wide, e.splatInt(vectorType, 0));
    for (int64_t row = 0; row < e.rows; ++row) {
      Value code = vector::ExtractOp::create(
          b, loc,
          e.load(e.add(at, row * codeBytes), VectorType::get({1}, codeType)),
          0);
      Value index =
          arith::IndexCastUIOp::create(b, loc, b.getIndexType(), code);
      Value entry = arith::AddIOp::create(
          b, loc, table,
          arith::MulIOp::create(b, loc, index, e.constantIndex(getVector())));
      for (auto [i, value] : llvm::enumerate(loaded)) {
        Value word = vector::ExtractOp::create(
            b, loc,
            e.load(e.add(entry, static_cast<int64_t>(i) * 4 * wide),
                   VectorType::get({1}, wordType)),
            0);
        value = vector::InsertOp::create(b, loc, word, value, row);
      }
    }
    for (Value value : loaded) {
      auto bytes = VectorType::get({4 * e.rows}, b.getI8Type());
      if (wide == 1) {
        codes.push_back(vector::BitCastOp::create(b, loc, bytes, value));
        continue;
      }
      Value both = vector::BitCastOp::create(
          b, loc, VectorType::get({2 * e.rows}, b.getI32Type()), value);
      for (int64_t half = 0; half < 2; ++half) {
        SmallVector<int64_t> every(e.rows);
        for (auto [row, index] : llvm::enumerate(every))
          index = 2 * static_cast<int64_t>(row) + half;
        codes.push_back(vector::BitCastOp::create(
            b, loc, bytes,
            vector::ShuffleOp::create(b, loc, both, both, every)));
      }
    }
  }
  return codes;
}

std::optional<LookupTables> CodebookFormatAttr::getLookupTables() const {
  auto format = layoutOf(*this);
  if (!format->hasByteEntries())
    return std::nullopt;
  return LookupTables{format->byteEntriesOffset(),
                      getBooks() * format->numEntries(), getVector() / 4,
                      getBits() <= 8 ? 1 : 2};
}

Value CodebookFormatAttr::emitZero(DecodeEmitter &e, ValueRange) const {
  return e.splat(e.f32Vector(), 128.0 * static_cast<double>(getBooks()));
}

Value CodebookFormatAttr::emitIntegerScale(DecodeEmitter &e,
                                           ValueRange rowParams,
                                           ValueRange) const {
  return rowParams[2];
}
