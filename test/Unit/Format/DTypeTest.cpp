//===- DTypeTest.cpp - Conversions against the compiler's -----------------===//
#include "qc/Format/Elements.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace qc;

static bool isNan16(uint16_t bits) { return (bits & 0x7fff) > 0x7c00; }

/// The compiler's conversion, an implementation of its own.
static uint16_t compilerHalf(float value) {
  auto half = static_cast<_Float16>(value);
  return std::bit_cast<uint16_t>(half);
}

TEST(DType, NamesAndWidths) {
  const std::pair<DType, std::pair<const char *, int>> types[] = {
      {DType::F64, {"F64", 8}},  {DType::F32, {"F32", 4}},
      {DType::F16, {"F16", 2}},  {DType::BF16, {"BF16", 2}},
      {DType::I64, {"I64", 8}},  {DType::I32, {"I32", 4}},
      {DType::I16, {"I16", 2}},  {DType::I8, {"I8", 1}},
      {DType::U8, {"U8", 1}},    {DType::U16, {"U16", 2}},
      {DType::Bool, {"BOOL", 1}}};
  for (auto [type, info] : types) {
    EXPECT_EQ(dtypeName(type), info.first);
    EXPECT_EQ(byteWidth(type), info.second);
    EXPECT_EQ(parseDType(info.first), type);
  }
  EXPECT_EQ(parseDType("F8_E4M3"), std::nullopt);
  EXPECT_EQ(parseDType(""), std::nullopt);
}

TEST(DType, HalfToFloatEveryPattern) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    auto half = static_cast<uint16_t>(bits);
    float expected = static_cast<float>(std::bit_cast<_Float16>(half));
    float got = halfToFloat(half);
    if (isNan16(half)) {
      EXPECT_TRUE(std::isnan(got)) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected))
        << bits;
    ASSERT_EQ(floatToHalf(got), half);
  }
}

TEST(DType, FloatToHalfRounding) {
  // Around every half value and every midpoint of two neighbours.
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    float low = halfToFloat(static_cast<uint16_t>(bits));
    float high = bits == 0x7bff ? 65536.0f
                                : halfToFloat(static_cast<uint16_t>(bits + 1));
    float middle = low + (high - low) / 2;
    for (float value : {low, middle})
      for (int step = -2; step <= 2; ++step) {
        float near = std::bit_cast<float>(std::bit_cast<uint32_t>(value) +
                                          static_cast<uint32_t>(step));
        if (std::isnan(near))
          continue;
        ASSERT_EQ(floatToHalf(near), compilerHalf(near)) << near;
        ASSERT_EQ(floatToHalf(-near), compilerHalf(-near)) << near;
      }
  }
  // Every exponent, many mantissas: a prime stride through all of f32.
  for (uint64_t bits = 0; bits < uint64_t(1) << 32; bits += 1009) {
    float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (std::isnan(value))
      ASSERT_TRUE(isNan16(floatToHalf(value)));
    else
      ASSERT_EQ(floatToHalf(value), compilerHalf(value)) << bits;
  }
  // A NaN whose payload lies in the bits that are cut off stays a NaN.
  EXPECT_TRUE(isNan16(floatToHalf(std::bit_cast<float>(0x7f800001u))));
}

TEST(DType, BfloatRounding) {
  for (uint64_t bits = 0; bits < uint64_t(1) << 32; bits += 1009) {
    float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    uint16_t got = floatToBfloat(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bfloatToFloat(got)));
      continue;
    }
    // The neighbours that enclose |value|, by distance in double.
    auto low = static_cast<uint16_t>((bits & 0x7fffffff) >> 16);
    auto asDouble = [](uint16_t b) {
      return b == 0x7f80 ? 0x1p128 : static_cast<double>(bfloatToFloat(b));
    };
    double magnitude = std::isinf(value) ? 0x1p128 : std::fabs(value);
    double below = magnitude - asDouble(low);
    double above = low == 0x7f80 ? 1 : asDouble(low + 1) - magnitude;
    bool up = above < below || (above == below && (low & 1));
    uint16_t expected = (bits >> 31 ? 0x8000 : 0) | (up ? low + 1 : low);
    ASSERT_EQ(got, expected) << bits;
  }
  EXPECT_TRUE(std::isnan(
      bfloatToFloat(floatToBfloat(std::bit_cast<float>(0x7f800001u)))));
}

TEST(DType, TensorViewReadsEveryTypeUnaligned) {
  auto at = [](DType type, std::vector<uint8_t> bytes, int64_t index) {
    bytes.insert(bytes.begin(), 0xaa); // misaligns
    TensorView view{{"t", type, {2}}, bytes.data() + 1};
    return view.at(index);
  };
  EXPECT_EQ(at(DType::U8, {1, 255}, 1), 255);
  EXPECT_EQ(at(DType::I8, {1, 255}, 1), -1);
  EXPECT_EQ(at(DType::Bool, {0, 1}, 1), 1);
  EXPECT_EQ(at(DType::I16, {0, 0, 0xfe, 0xff}, 1), -2);
  EXPECT_EQ(at(DType::U16, {0, 0, 0xfe, 0xff}, 1), 65534);
  EXPECT_EQ(at(DType::F16, {0, 0, 0, 0x3e}, 1), 1.5);
  EXPECT_EQ(at(DType::BF16, {0, 0, 0xc0, 0xbf}, 1), -1.5);
  EXPECT_EQ(at(DType::I32, {0, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff}, 1), -3);
  EXPECT_EQ(at(DType::F32, {0, 0, 0, 0, 0, 0, 0xc0, 0x3f}, 1), 1.5);
  std::vector<uint8_t> wide(16);
  wide[14] = 0xf8;
  wide[15] = 0x3f;
  EXPECT_EQ(at(DType::F64, wide, 1), 1.5);
  EXPECT_EQ(at(DType::I64, {0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0}, 1),
            7);
}

TEST(DType, ElementCountSaturates) {
  TensorSpec spec{"t", DType::F64, {int64_t(1) << 40, int64_t(1) << 40}};
  EXPECT_GT(spec.numBytes(), int64_t(1) << 60);
  spec.shape = {int64_t(1) << 40, int64_t(1) << 40, 0};
  EXPECT_EQ(spec.numElements(), 0);
  spec.shape = {};
  EXPECT_EQ(spec.numElements(), 1);
}

TEST(DType, CheckFiniteNamesThePlace) {
  Tensor tensor({"scales", DType::F16, {3, 5}});
  EXPECT_EQ(checkFinite(tensor.view()), std::nullopt);
  storeFloat(DType::F16, tensor.bytes.data(), 13, INFINITY);
  EXPECT_EQ(checkFinite(tensor.view()),
            "'scales' is infinite at [2, 3], expected finite numbers");
  storeFloat(DType::F16, tensor.bytes.data(), 6, NAN);
  EXPECT_EQ(checkFinite(tensor.view()),
            "'scales' is nan at [1, 1], expected finite numbers");
}
