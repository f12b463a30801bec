//===- E8P.cpp - Vectors of eight from the E8 lattice ---------------------===//
//
// Tseng et al., "QuIP#: Even Better LLM Quantization with Hadamard Incoherence
// and Lattice Codebooks", arXiv 2402.04396, section 4.2: a code is 8 bits for
// an entry of a table of 256 vectors of magnitudes, 7 bits for signs, the
// eighth of which follows from parity, and 1 bit for a shift by +-1/4. "|S| =
// 2^8 [...] elementwise absolute values of D8-hat [= D8 + 1/2] with norm^2 <=
// 10", which are 227, and 29 "padding" vectors of norm^2 12. Which of the 56
// candidates these are, and which bit stands for which sign, is a matter of
// convention; both follow version 1 of the authors' checkpoints.
//
//===----------------------------------------------------------------------===//
#include "qc/Format/E8P.h"

#include "../Base/ScalePatterns.h"
#include "../Base/Spelling.h"
#include "qc/Format/Elements.h"

#include <algorithm>
#include <bit>

using namespace qc;

static constexpr size_t codesAt = 0, scalesAt = 1;

//===----------------------------------------------------------------------===//
// The codebook
//===----------------------------------------------------------------------===//

/// Padding: five magnitudes are 3/2, those of the set bits are 1/2.
static constexpr uint8_t padding[29] = {
    0x0e, 0x0d, 0x0b, 0x07, 0xc8, 0xa8, 0x98, 0x68, 0x58, 0x38,
    0xc4, 0xa4, 0x94, 0x64, 0x54, 0x34, 0xc2, 0xa2, 0x92, 0x62,
    0x52, 0x31, 0xc1, 0xa1, 0x91, 0x61, 0x51, 0x13, 0x8c};

static std::array<E8PMagnitudes, 256> makeMagnitudes() {
  std::array<E8PMagnitudes, 256> table;
  size_t size = 0;
  // All of {1/2, 3/2, 5/2}^8 in lexicographic order; a 7/2 alone exceeds 10.
  for (int i = 0; i < 6561; ++i) {
    E8PMagnitudes m;
    int rest = i, norm = 0;
    for (int j = 7; j >= 0; --j, rest /= 3) {
      int halves = 2 * (rest % 3) + 1;
      m[static_cast<size_t>(j)] = static_cast<uint8_t>(halves);
      norm += halves * halves;
    }
    if (norm <= 4 * 10)
      table[size++] = m;
  }
  for (uint8_t ones : padding) {
    for (size_t j = 0; j < 8; ++j)
      table[size][j] = ones >> j & 1 ? 1 : 3;
    ++size;
  }
  return table;
}

const std::array<E8PMagnitudes, 256> &qc::e8pMagnitudes() {
  static const std::array<E8PMagnitudes, 256> table = makeMagnitudes();
  return table;
}

static unsigned parity(unsigned bits) { return std::popcount(bits) & 1; }

/// Whether the sum of the magnitudes is odd: 4 + (number of 3/2) + 2 (number of
/// 5/2).
static unsigned isOdd(const E8PMagnitudes &m) {
  return std::count(m.begin(), m.end(), 3) & 1;
}

/// Bit of the code that holds the sign of coordinate j.
static constexpr int signBit[8] = {0, 4, 1, 5, 2, 6, 3, 7};

std::array<int8_t, 8> qc::e8pPoint(uint16_t code) {
  const E8PMagnitudes &m = e8pMagnitudes()[code >> 8];
  // Bit 0 makes the parity, which is the shift.
  unsigned shift = parity(code & 255);
  unsigned signs = (code & 255) ^ shift;
  std::array<int8_t, 8> point;
  for (size_t j = 0; j < 8; ++j) {
    unsigned negative = signs >> signBit[j] & 1;
    if (j == 7)
      negative ^= isOdd(m);
    int quarters = 2 * m[j];
    point[j] = static_cast<int8_t>((negative ? -quarters : quarters) +
                                   (shift ? -1 : 1));
  }
  return point;
}

uint16_t qc::e8pCode(uint8_t index, bool plus, uint8_t negative) {
  unsigned signs = 0;
  for (int j = 0; j < 8; ++j)
    signs |= (negative >> j & 1u) << signBit[j];
  signs ^= isOdd(e8pMagnitudes()[index]) << 7;
  // `signs` has an even number of bits now.
  return static_cast<uint16_t>(index << 8 | (signs ^ (plus ? 0u : 1u)));
}

/// Signs as kernels read them, see E8PFormat.
static uint8_t packedSigns(uint16_t code) {
  std::array<int8_t, 8> point = e8pPoint(code);
  unsigned signs = 0;
  for (size_t j = 0; j < 8; ++j)
    signs |= (point[j] < 0 ? 1u : 0u) << j;
  unsigned plus = 1 - parity(code & 255);
  return static_cast<uint8_t>(signs ^ plus << 7);
}

//===----------------------------------------------------------------------===//
// Components
//===----------------------------------------------------------------------===//

static uint16_t codeAt(const Components &c, int64_t index) {
  return static_cast<uint16_t>(loadBits(DType::U16, c[codesAt].data, index));
}

std::string E8PFormat::spelling() const {
  return "e8p<scale = " + floatName(scale) + ">";
}

std::optional<std::string> E8PFormat::check(int64_t n, int64_t k) const {
  return checkShape(n, k);
}

std::vector<TensorSpec> E8PFormat::components(int64_t n, int64_t k) const {
  return {{"codes", DType::U16, {n, numVectors(k)}}, {"scales", scale, {n}}};
}

void E8PFormat::decodeRow(const Components &c, int64_t n, int64_t k,
                          int64_t row, double *out) const {
  double factor = loadFloat(scale, c[scalesAt].data, row);
  for (int64_t i = 0; i < numVectors(k); ++i) {
    std::array<int8_t, 8> point = e8pPoint(codeAt(c, row * numVectors(k) + i));
    for (int64_t j = 0; j < std::min(vector, k - i * vector); ++j)
      out[i * vector + j] = factor * (point[static_cast<size_t>(j)] / 4.0);
  }
}

std::optional<std::string> E8PFormat::checkValues(const Components &c, int64_t,
                                                  int64_t) const {
  return checkFinite(c[scalesAt]);
}

//===----------------------------------------------------------------------===//
// Packed
//===----------------------------------------------------------------------===//

PackedLayout E8PFormat::packedLayout(int64_t n, int64_t k, int64_t rows) const {
  PackedLayout layout;
  layout.n = n;
  layout.k = k;
  layout.rows = rows;
  layout.headerBytes = tablesEnd;
  layout.rowHeaderBytes = rows * 4;
  layout.chunkK = 4 * vector;
  layout.chunkBytes = rows * 8;
  // Kernels quantize activations a block at a time.
  layout.blockK = std::min<int64_t>(k, 128);
  layout.paddedBlockK =
      (layout.blockK + layout.chunkK - 1) / layout.chunkK * layout.chunkK;
  return layout;
}

void E8PFormat::packHeader(const Components &, const PackedLayout &,
                           uint8_t *out) const {
  auto setWord = [&](int64_t offset, int64_t i, auto coordinate) {
    uint32_t word = 0;
    for (uint32_t j = 0; j < 8; ++j)
      word |= coordinate(j) << (8 * (j % 4) + 4 * (j / 4));
    storeBits(DType::F32, out + offset, i, word);
  };
  for (int64_t i = 0; i < 256; ++i) {
    const E8PMagnitudes &m = e8pMagnitudes()[static_cast<size_t>(i)];
    for (uint32_t j = 0; j < 8; ++j) {
      out[threesOffset + i] |= static_cast<uint8_t>((m[j] == 3) << j);
      out[fivesOffset + i] |= static_cast<uint8_t>((m[j] == 5) << j);
    }
    // A parity contributes to all shifts and to the sign of coordinate 7, which
    // inverts three bits.
    auto fromParity = [](uint32_t bit, uint32_t j) {
      return bit ? (j == 7 ? 15u : 1u) : 0u;
    };
    setWord(indexWordsOffset, i, [&](uint32_t j) {
      return static_cast<uint32_t>(m[j] / 2) << 1 ^ fromParity(isOdd(m), j);
    });
    auto signs = static_cast<uint32_t>(i);
    setWord(signWordsOffset, i, [&](uint32_t j) {
      return (signs >> j & 1 ? 6u : 8u) ^ fromParity(parity(signs), j);
    });
  }
}

void E8PFormat::packRowBlock(const Components &c, const PackedLayout &layout,
                             int64_t block, uint8_t *out) const {
  int64_t firstRow = block * layout.rows;
  int64_t count = std::min(layout.rows, layout.n - firstRow);
  for (int64_t r = 0; r < count; ++r)
    storeFloat(DType::F32, out, r,
               loadFloat(scale, c[scalesAt].data, firstRow + r));
  out += layout.rowHeaderBytes;
  // Blocks are whole chunks but for the last one.
  int64_t vectors = numVectors(layout.k);
  for (int64_t i = 0; i < vectors; ++i) {
    uint8_t *chunk = out + i / 4 * layout.chunkBytes;
    for (int64_t r = 0; r < count; ++r) {
      uint16_t code = codeAt(c, (firstRow + r) * vectors + i);
      uint8_t *at = chunk + codeByte(layout.rows, r, i % 4);
      at[0] = static_cast<uint8_t>(code >> 8);
      at[4 * layout.rows] = packedSigns(code);
    }
  }
}

HostWeight E8PFormat::exhaustiveWeight(bool quick) const {
  std::vector<uint32_t> scales = scalePatterns(scale, quick, 2.75);
  HostWeight weight;
  weight.n = std::max<int64_t>(2048, static_cast<int64_t>(scales.size()));
  int64_t vectors = (65536 + weight.n - 1) / weight.n;
  weight.k = vectors * vector;
  for (const TensorSpec &spec : components(weight.n, weight.k))
    weight.components.emplace_back(spec);
  for (int64_t i = 0; i < weight.n * vectors; ++i)
    storeBits(DType::U16, weight.components[codesAt].bytes.data(), i,
              static_cast<uint32_t>(i & 65535));
  for (int64_t row = 0; row < weight.n; ++row)
    storeBits(scale, weight.components[scalesAt].bytes.data(), row,
              scales[static_cast<size_t>(row) % scales.size()]);
  return weight;
}

namespace qc {
std::shared_ptr<const Format> parseE8PFormat(Spelling &s, std::string &error) {
  DType scale = s.takeFloat("scale");
  if (!s.finish(error))
    return nullptr;
  return std::make_shared<E8PFormat>(scale);
}
} // namespace qc
