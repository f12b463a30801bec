//===- CodebookAttr.cpp - #qc.codebook in the IR --------------------------===//
//
// Header of a packed weight: all codebooks in f32. Row header: scales in f32.
// A chunk is one vector of inputs: for each book the codes of the rows.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "qc/Dialect/QC/IR/QCDialect.h"

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

SmallVector<Value> CodebookFormatAttr::emitRowParams(DecodeEmitter &e,
                                                     Value header,
                                                     Value rowHeader) const {
  return {header, e.load(rowHeader, e.f32Vector())};
}

Value CodebookFormatAttr::emitRowScale(DecodeEmitter &e,
                                       ValueRange params) const {
  return params[1];
}

SmallVector<Value> CodebookFormatAttr::emitChunk(DecodeEmitter &e, Value chunk,
                                                 ValueRange params,
                                                 ValueRange) const {
  int64_t codeBytes = getBits() <= 8 ? 1 : 2;
  int64_t entries = int64_t(1) << getBits();
  auto codeType = VectorType::get({e.rows}, e.b.getIntegerType(8 * codeBytes));
  SmallVector<Value> weights(getVector());
  for (int64_t book = 0; book < getBooks(); ++book) {
    Value codes = e.load(e.add(chunk, book * e.rows * codeBytes), codeType);
    Value index = arith::ExtUIOp::create(e.b, e.loc, e.i32Vector(), codes);
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
