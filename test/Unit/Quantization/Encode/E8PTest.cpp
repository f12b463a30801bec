//===- E8PTest.cpp - Nearest points against all points --------------------===//
#include "qc/Quantization/E8P.h"
#include "gtest/gtest.h"

#include <cmath>
#include <random>
#include <vector>

using namespace qc;

static double distance(const float *x, uint16_t code, int64_t size) {
  double sum = 0;
  for (int64_t j = 0; j < size; ++j) {
    double difference = x[j] - e8pPoint(code)[static_cast<size_t>(j)] / 4.0;
    sum += difference * difference;
  }
  return sum;
}

TEST(E8PEncode, NearestOfAllPoints) {
  std::mt19937 random(3);
  // Inside of the codebook, at its border and far outside.
  for (float deviation : {0.2f, 1.0f, 1.5f, 4.0f})
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::normal_distribution<float> normal(0, deviation);
      float x[8];
      for (float &value : x)
        value = normal(random);
      int64_t size = repeat % 10 == 9 ? 1 + repeat % 7 : 8;
      double best = 1e30;
      for (uint32_t code = 0; code < 65536; ++code)
        best = std::min(best, distance(x, static_cast<uint16_t>(code), size));
      // Ties and rounding in f32: distances of some hundred at most.
      EXPECT_NEAR(distance(x, nearestE8P(x, size), size), best,
                  1e-5 * (1 + best));
    }
}

TEST(E8PEncode, PointsAreTheirOwnNearest) {
  for (uint32_t code = 0; code < 65536; code += 7) {
    std::array<int8_t, 8> point = e8pPoint(static_cast<uint16_t>(code));
    float x[8];
    for (size_t j = 0; j < 8; ++j)
      x[j] = static_cast<float>(point[j]) / 4;
    ASSERT_EQ(nearestE8P(x), code);
  }
}

TEST(E8PEncode, NormalNumbersBetterThanAnyScalarQuantizer) {
  // At 2 bits the rate distortion bound is 1/16; the best scalar quantizer
  // (Max, "Quantizing for minimum distortion", 1960) has 0.1175.
  constexpr int64_t k = 8 * 512;
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> w(k);
  for (float &value : w)
    value = normal(random);
  std::vector<uint16_t> codes(k / 8);
  float scale = encodeE8PRow(w.data(), k, DType::F16, codes.data());
  EXPECT_EQ(scale, halfToFloat(floatToHalf(scale)));
  double error = 0, square = 0;
  for (int64_t i = 0; i < k; ++i) {
    double got =
        scale *
        e8pPoint(
            codes[static_cast<size_t>(i / 8)])[static_cast<size_t>(i % 8)] /
        4.0;
    error +=
        (w[static_cast<size_t>(i)] - got) * (w[static_cast<size_t>(i)] - got);
    square += static_cast<double>(w[static_cast<size_t>(i)]) *
              w[static_cast<size_t>(i)];
  }
  EXPECT_LT(error / square, 0.1175);
  EXPECT_GT(error / square, 1.0 / 16);
}

TEST(E8PEncode, ZerosAndHugeNumbers) {
  std::vector<float> w(20, 0.0f);
  std::vector<uint16_t> codes(3);
  EXPECT_EQ(encodeE8PRow(w.data(), 20, DType::F16, codes.data()), 0.0f);
  w.assign(20, 1e30f);
  EXPECT_TRUE(std::isinf(encodeE8PRow(w.data(), 20, DType::F16, codes.data())));
}
