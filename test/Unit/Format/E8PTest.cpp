//===- E8PTest.cpp - The lattice codebook against its definition ----------===//
//
// Tseng et al., arXiv 2402.04396, section 4.2. E8 is D8 with D8 + 1/2: vectors
// of integers, or of odd multiples of 1/2, with an even sum.
//
//===----------------------------------------------------------------------===//
#include "qc/Format/E8P.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <set>

using namespace qc;

namespace {

using Point = std::array<int8_t, 8>;

/// Whether coordinates in quarters, minus a shift of one quarter, lie in D8 +
/// 1/2.
bool isInCoset(const Point &point, int shift) {
  int sum = 0;
  for (int8_t quarters : point) {
    int rest = quarters - shift;
    if (rest % 2 || rest / 2 % 2 == 0)
      return false;
    sum += rest;
  }
  return sum % 8 == 0;
}

std::array<int, 8> magnitudes(const Point &point, int shift) {
  std::array<int, 8> result;
  for (size_t j = 0; j < 8; ++j)
    result[j] = std::abs(point[j] - shift) / 2;
  return result;
}

int norm(const std::array<int, 8> &halves) {
  return std::inner_product(halves.begin(), halves.end(), halves.begin(), 0);
}

} // namespace

TEST(E8P, AllCodesAreDistinctLatticePoints) {
  std::set<Point> points;
  std::set<std::array<int, 8>> entries;
  int shifts[2] = {};
  for (uint32_t code = 0; code < 65536; ++code) {
    Point point = e8pPoint(static_cast<uint16_t>(code));
    points.insert(point);
    bool plus = isInCoset(point, 1), minus = isInCoset(point, -1);
    // Both cosets are E8 + 1/4: they differ by the vector of halves, in E8.
    ASSERT_NE(plus, minus) << code;
    ++shifts[plus];
    std::array<int, 8> m = magnitudes(point, plus ? 1 : -1);
    entries.insert(m);
    // 10 or 12, in quarters.
    ASSERT_LE(norm(m), 48) << code;
  }
  EXPECT_EQ(points.size(), 65536u);
  EXPECT_EQ(entries.size(), 256u);
  EXPECT_EQ(shifts[0], 32768);
  EXPECT_EQ(shifts[1], 32768);
}

TEST(E8P, MagnitudesAreTheBallAndItsPadding) {
  // "norm^2 <= 10": all 227 are there, counted by type of vector.
  int inBall = 0, padding = 0;
  const auto &table = e8pMagnitudes();
  for (size_t i = 0; i < 256; ++i) {
    std::array<int, 8> m;
    std::copy(table[i].begin(), table[i].end(), m.begin());
    (norm(m) <= 40 ? inBall : padding)++;
    if (norm(m) > 40) {
      EXPECT_EQ(norm(m), 48);
      EXPECT_GE(i, 227u);
    }
    if (i > 0 && i < 227) {
      EXPECT_LT(table[i - 1], table[i]);
    }
  }
  // Four or fewer 3/2; one 5/2 alone or with one 3/2.
  EXPECT_EQ(inBall, (1 + 8 + 28 + 56 + 70) + 8 + 8 * 7);
  EXPECT_EQ(padding, 29);
}

TEST(E8P, PublishedBitsOfACode) {
  // Index 0 is all 1/2, whose sum is even; no signs, shift +1/4.
  EXPECT_EQ(e8pPoint(0), (Point{3, 3, 3, 3, 3, 3, 3, 3}));
  // Bit 0 alone has odd parity: it becomes 0 again, the shift is -1/4.
  EXPECT_EQ(e8pPoint(1), (Point{1, 1, 1, 1, 1, 1, 1, 1}));
  // Bits 4 and 1 are the signs of coordinates 1 and 2.
  EXPECT_EQ(e8pPoint(0x12), (Point{3, -1, -1, 3, 3, 3, 3, 3}));
  // Index 1 has 3/2 last, an odd sum: coordinate 7 is negated.
  EXPECT_EQ(e8pPoint(0x100), (Point{3, 3, 3, 3, 3, 3, 3, -5}));
  // Bit 7 negates it once more, and has odd parity: bit 0 becomes 1.
  EXPECT_EQ(e8pPoint(0x180), (Point{-3, 1, 1, 1, 1, 1, 1, 5}));
  // The last entry of the padding, 33113331 / 2.
  EXPECT_EQ(e8pPoint(0xff00), (Point{7, 7, 3, 3, 7, 7, 7, -1}));
}

TEST(E8P, CodesOfSigns) {
  for (uint32_t code = 0; code < 65536; ++code) {
    Point point = e8pPoint(static_cast<uint16_t>(code));
    bool plus = isInCoset(point, 1);
    unsigned negative = 0;
    for (unsigned j = 0; j < 8; ++j)
      negative |= static_cast<unsigned>(point[j] < 0) << j;
    ASSERT_EQ(e8pCode(static_cast<uint8_t>(code >> 8), plus,
                      static_cast<uint8_t>(negative)),
              code);
  }
}

/// What E8P.h says of the packed form, read from its bytes.
TEST(E8P, PackedBytesDecodeToTheSameNumbers) {
  E8PFormat format(DType::F32);
  for (auto [n, k] : {std::pair<int64_t, int64_t>{5, 300}, {16, 8}, {1, 3}}) {
    std::mt19937 random(7);
    HostWeight weight{n, k, {}};
    for (const TensorSpec &spec : format.components(n, k))
      weight.components.emplace_back(spec);
    for (uint8_t &byte : weight.components[0].bytes)
      byte = static_cast<uint8_t>(random());
    for (int64_t row = 0; row < n; ++row) {
      float scale = 0.5f + static_cast<float>(row);
      std::memcpy(weight.components[1].bytes.data() + 4 * row, &scale, 4);
    }
    PackedLayout layout = format.packedLayout(n, k, 4);
    std::vector<uint8_t> blob(static_cast<size_t>(layout.totalBytes()));
    format.pack(weight.views(), layout, blob.data());
    std::vector<double> row(static_cast<size_t>(k));
    for (int64_t r = 0; r < n; ++r) {
      format.decodeRow(weight.views(), n, k, r, row.data());
      const uint8_t *block =
          blob.data() + layout.headerBytes + r / 4 * layout.rowBlockBytes();
      float scale;
      std::memcpy(&scale, block + 4 * (r % 4), 4);
      for (int64_t i = 0; i < k; ++i) {
        // Bytes of four rows are transposed.
        const uint8_t *at = block + 16 + i / 32 * 32 + 4 * (i / 8 % 4) + r % 4;
        auto words = [&](int64_t table, uint8_t index) {
          uint32_t word;
          std::memcpy(&word, blob.data() + table + 4 * index, 4);
          return word;
        };
        uint32_t bits = words(E8PFormat::indexWordsOffset, at[0]) ^
                        words(E8PFormat::signWordsOffset, at[16]);
        bits = bits >> (8 * (i % 4) + 4 * (i / 4 % 2)) & 15;
        ASSERT_EQ(row[static_cast<size_t>(i)], scale * ((bits - 7.5) / 2))
            << n << " " << k << " " << r << " " << i;
      }
    }
  }
}

TEST(E8P, TwoBitsAndAScale) {
  EXPECT_DOUBLE_EQ(E8PFormat(DType::F16).bitsPerWeight(4, 4096),
                   2 + 16.0 / 4096);
  EXPECT_EQ(E8PFormat(DType::F16).int8Roundings(), 0);
}

TEST(E8P, ExhaustiveWeightMeetsEveryCode) {
  for (bool quick : {false, true}) {
    HostWeight weight = E8PFormat(DType::F16).exhaustiveWeight(quick);
    std::vector<bool> met(65536);
    for (int64_t i = 0; i < weight.components[0].spec.numElements(); ++i)
      met[static_cast<size_t>(weight.components[0].view().at(i))] = true;
    EXPECT_EQ(std::count(met.begin(), met.end(), true), 65536);
  }
}
