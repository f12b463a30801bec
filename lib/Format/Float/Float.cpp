//===- Float.cpp - Identity formats ---------------------------------------===//
#include "qc/Format/Float.h"

#include "../Base/ScalePatterns.h"
#include "../Base/Spelling.h"
#include "qc/Format/Elements.h"

#include <algorithm>
#include <cstring>

using namespace qc;

std::string FloatFormat::spelling() const {
  return "float<" + floatName(type) + ">";
}

std::optional<std::string> FloatFormat::check(int64_t n, int64_t k) const {
  return checkShape(n, k);
}

std::vector<TensorSpec> FloatFormat::components(int64_t n, int64_t k) const {
  return {{"data", type, {n, k}}};
}

void FloatFormat::decodeRow(const Components &c, int64_t n, int64_t k,
                            int64_t row, double *out) const {
  for (int64_t i = 0; i < k; ++i)
    out[i] = loadFloat(type, c[0].data, row * k + i);
}

std::optional<std::string>
FloatFormat::checkValues(const Components &c, int64_t n, int64_t k) const {
  return checkFinite(c[0]);
}

PackedLayout FloatFormat::packedLayout(int64_t n, int64_t k,
                                       int64_t rows) const {
  PackedLayout layout;
  layout.n = n;
  layout.k = k;
  layout.rows = rows;
  layout.blockK = layout.paddedBlockK = k;
  layout.chunkK = 1;
  layout.chunkBytes = rows * byteWidth(type);
  return layout;
}

/// out [k][rows] = in [count][k], the transpose; T is the bits of a float.
template <typename T>
static void transpose(const uint8_t *in, const PackedLayout &layout,
                      int64_t count, uint8_t *out) {
  int64_t k = layout.k, rows = layout.rows;
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < k; ++i)
    for (int64_t r = 0; r < count; ++r)
      std::memcpy(out + (i * rows + r) * size, in + (r * k + i) * size, size);
}

void FloatFormat::packRowBlock(const Components &c, const PackedLayout &layout,
                               int64_t block, uint8_t *out) const {
  int64_t firstRow = block * layout.rows;
  int64_t count = std::min(layout.rows, layout.n - firstRow);
  const uint8_t *in = c[0].data + firstRow * layout.k * byteWidth(type);
  if (type == DType::F32)
    transpose<uint32_t>(in, layout, count, out);
  else
    transpose<uint16_t>(in, layout, count, out);
}

HostWeight FloatFormat::exhaustiveWeight(bool quick) const {
  // Values are this format's codes, and there are few: `quick` changes nothing.
  std::vector<uint32_t> patterns = scalePatterns(type, false, 1);
  HostWeight weight;
  weight.k = 256;
  weight.n = (static_cast<int64_t>(patterns.size()) + 255) / 256;
  weight.components.emplace_back(components(weight.n, weight.k)[0]);
  for (size_t i = 0; i < patterns.size(); ++i)
    storeBits(type, weight.components[0].bytes.data(), static_cast<int64_t>(i),
              patterns[i]);
  return weight;
}

namespace qc {
std::shared_ptr<const Format> parseFloatFormat(Spelling &s,
                                               std::string &error) {
  DType type = s.floatType("type", s.takeWord());
  if (!s.finish(error))
    return nullptr;
  return std::make_shared<FloatFormat>(type);
}
} // namespace qc
