//===- Codebook.cpp - Additive vector codebooks ---------------------------===//
#include "qc/Format/Codebook.h"

#include "../Base/ByteTable.h"
#include "../Base/ScalePatterns.h"
#include "../Base/Spelling.h"
#include "qc/Format/Elements.h"

#include <algorithm>
#include <cmath>

using namespace qc;

static constexpr size_t codesAt = 0, codebooksAt = 1, scalesAt = 2;

static int64_t loadCode(DType type, const uint8_t *data, int64_t index) {
  return type == DType::U8 ? data[index] : loadBits(type, data, index);
}

static void storeCode(DType type, uint8_t *data, int64_t index, int64_t code) {
  if (type == DType::U8)
    data[index] = static_cast<uint8_t>(code);
  else
    storeBits(type, data, index, static_cast<uint32_t>(code));
}

std::string CodebookFormat::spelling() const {
  return "codebook<books = " + std::to_string(books) +
         ", bits = " + std::to_string(bits) +
         ", vector = " + std::to_string(vector) +
         ", scale = " + floatName(scale) + ", entry = " + floatName(entry) +
         ">";
}

std::optional<std::string> CodebookFormat::check(int64_t n, int64_t k) const {
  return checkShape(n, k);
}

std::vector<TensorSpec> CodebookFormat::components(int64_t n, int64_t k) const {
  return {{"codes", codeType(), {n, numVectors(k), books}},
          {"codebooks", entry, {books, numEntries(), vector}},
          {"scales", scale, {n}}};
}

template <typename Entry>
void CodebookFormat::decodeWith(const Components &c, int64_t k, int64_t row,
                                double *out, Entry entryOf) const {
  double factor = loadFloat(scale, c[scalesAt].data, row);
  int64_t code = row * numVectors(k) * books;
  for (int64_t first = 0; first < k; first += vector) {
    int64_t size = std::min(vector, k - first);
    std::fill(out + first, out + first + size, 0.0);
    for (int m = 0; m < books; ++m, ++code) {
      int64_t at =
          (m * numEntries() + loadCode(codeType(), c[codesAt].data, code)) *
          vector;
      for (int64_t j = 0; j < size; ++j)
        out[first + j] += entryOf(at + j);
    }
    for (int64_t j = 0; j < size; ++j)
      out[first + j] *= factor;
  }
}

void CodebookFormat::decodeRow(const Components &c, int64_t n, int64_t k,
                               int64_t row, double *out) const {
  decodeWith(c, k, row, out, [&](int64_t i) {
    return loadFloat(entry, c[codebooksAt].data, i);
  });
}

void CodebookFormat::decodeRowInt8(const Components &c, int64_t n, int64_t k,
                                   int64_t row, double *out) const {
  if (!hasByteEntries())
    return decodeRow(c, n, k, row, out);
  ByteTable table(books * numEntries() * vector, [&](int64_t i) {
    return loadFloat(entry, c[codebooksAt].data, i);
  });
  decodeWith(c, k, row, out, [&](int64_t i) { return table.value(i); });
}

std::optional<std::string>
CodebookFormat::checkValues(const Components &c, int64_t n, int64_t k) const {
  int64_t perRow = numVectors(k) * books;
  if (bits != 8 && bits != 16)
    for (int64_t i = 0; i < n * perRow; ++i)
      if (int64_t code = loadCode(codeType(), c[codesAt].data, i);
          code >= numEntries())
        return "'codes' is " + std::to_string(code) + " at [" +
               std::to_string(i / perRow) + ", " +
               std::to_string(i % perRow / books) + ", " +
               std::to_string(i % books) + "], but a codebook has " +
               std::to_string(numEntries()) + " entries";
  if (auto error = checkFinite(c[codebooksAt]))
    return error;
  return checkFinite(c[scalesAt]);
}

PackedLayout CodebookFormat::packedLayout(int64_t n, int64_t k,
                                          int64_t rows) const {
  PackedLayout layout;
  layout.n = n;
  layout.k = k;
  layout.rows = rows;
  layout.headerBytes =
      hasByteEntries() ? stepOffset() + 64 : byteEntriesOffset();
  layout.rowHeaderBytes = rows * 4;
  // Kernels quantize activations, and tables of partial sums, a block at a
  // time.
  layout.blockK = std::min(k, vector * std::max<int64_t>(1, 128 / vector));
  layout.paddedBlockK = numVectors(layout.blockK) * vector;
  layout.chunkK = vector;
  layout.chunkBytes = books * rows * byteWidth(codeType());
  return layout;
}

void CodebookFormat::packHeader(const Components &c, const PackedLayout &layout,
                                uint8_t *out) const {
  for (int64_t i = 0; i < books * numEntries() * vector; ++i)
    storeFloat(DType::F32, out, i, loadFloat(entry, c[codebooksAt].data, i));
  if (!hasByteEntries())
    return;
  ByteTable table(books * numEntries() * vector, [&](int64_t i) {
    return loadFloat(entry, c[codebooksAt].data, i);
  });
  std::copy(table.codes.begin(), table.codes.end(), out + byteEntriesOffset());
  storeFloat(DType::F32, out + stepOffset(), 0, table.step);
}

void CodebookFormat::packRowBlock(const Components &c,
                                  const PackedLayout &layout, int64_t block,
                                  uint8_t *out) const {
  int64_t firstRow = block * layout.rows;
  int64_t count = std::min(layout.rows, layout.n - firstRow);
  for (int64_t r = 0; r < count; ++r)
    storeFloat(DType::F32, out, r,
               loadFloat(scale, c[scalesAt].data, firstRow + r));
  out += layout.rowHeaderBytes;
  int64_t vectors = numVectors(layout.k);
  for (int64_t i = 0; i < vectors; ++i)
    for (int64_t m = 0; m < books; ++m)
      for (int64_t r = 0; r < count; ++r)
        storeCode(codeType(), out, (i * books + m) * layout.rows + r,
                  loadCode(codeType(), c[codesAt].data,
                           ((firstRow + r) * vectors + i) * books + m));
}

HostWeight CodebookFormat::exhaustiveWeight(bool quick) const {
  // Entries are below 2 in magnitude, so a sum is below 2 * books.
  std::vector<uint32_t> scales = scalePatterns(scale, quick, 2.0 * books);
  HostWeight weight;
  weight.n = static_cast<int64_t>(scales.size());
  int64_t vectors = (numEntries() + weight.n - 1) / weight.n;
  weight.k = vectors * vector;
  for (const TensorSpec &spec : components(weight.n, weight.k))
    weight.components.emplace_back(spec);
  auto data = [&](size_t i) { return weight.components[i].bytes.data(); };

  // Book m walks its entries with an odd step of its own: all are met, in
  // varying company.
  for (int64_t i = 0; i < weight.n * vectors; ++i)
    for (int64_t m = 0; m < books; ++m)
      storeCode(codeType(), data(codesAt), i * books + m,
                (i * (2 * m + 1) + 7 * m) & (numEntries() - 1));
  for (int64_t i = 0; i < books * numEntries() * vector; ++i)
    storeFloat(entry, data(codebooksAt), i,
               static_cast<float>(std::remainder(
                   static_cast<double>(i) * 1.6180339887, 3.875)));
  for (int64_t row = 0; row < weight.n; ++row)
    storeBits(scale, data(scalesAt), row, scales[static_cast<size_t>(row)]);
  return weight;
}

namespace qc {
std::shared_ptr<const Format> parseCodebookFormat(Spelling &s,
                                                  std::string &error) {
  auto books = static_cast<int>(s.takeInteger("books", 1, 8));
  auto bits = static_cast<int>(s.takeInteger("bits", 1, 16));
  int64_t vector = s.takeInteger("vector", 1, 64);
  DType scale = s.takeFloat("scale");
  DType entry = s.takeFloat("entry");
  if (!s.finish(error))
    return nullptr;
  return std::make_shared<CodebookFormat>(books, bits, vector, scale, entry);
}
} // namespace qc
