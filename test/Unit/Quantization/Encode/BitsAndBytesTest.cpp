//===- BitsAndBytesTest.cpp - int8, NF4 and FP4 ---------------------------===//
#include "qc/Quantization/BitsAndBytes.h"
#include "TestMatrix.h"
#include "qc/Format/Elements.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>

using namespace qc;
using namespace qc::test;

using Table = LUTFormat::Table;

static HostWeight encode(const LUTFormat &format, const std::vector<float> &w,
                         int64_t n, int64_t k,
                         const std::vector<float> &table = {}) {
  HostWeight out, threaded;
  std::string error;
  EXPECT_TRUE(encodeLUT(format, table, w.data(), n, k, 1, out, error)) << error;
  EXPECT_TRUE(encodeLUT(format, table, w.data(), n, k, 3, threaded, error));
  EXPECT_TRUE(sameComponents(out, threaded));
  return out;
}

static int codeAt(const HostWeight &weight, int bits, int64_t row, int64_t i) {
  return static_cast<int>(readBits(weight.components[0].bytes.data() +
                                       row * weight.components[0].spec.shape[1],
                                   i, bits));
}

TEST(Int8, IsAbsmaxOverRows) {
  const int64_t n = 5, k = 77;
  std::vector<float> w = normalMatrix(n * k, 0.03f, 1);
  std::fill(w.begin() + k, w.begin() + 2 * k, 0.0f);
  w[3] = 2; // an outlier
  HostWeight out;
  std::string error;
  ASSERT_TRUE(encodeInt8(w.data(), n, k, 2, out, error)) << error;
  EXPECT_EQ(int8Format().spelling(),
            "grouped<bits = 8, group = channel, scale = f32>");
  std::vector<double> got = decode(int8Format(), out);
  for (int64_t row = 0; row < n; ++row) {
    double absmax = 0;
    for (int64_t i = 0; i < k; ++i)
      absmax = std::max<double>(absmax, std::fabs(w[row * k + i]));
    float scale = loadFloat(DType::F32, out.components[1].bytes.data(), row);
    EXPECT_FLOAT_EQ(scale, static_cast<float>(absmax / 127));
    for (int64_t i = 0; i < k; ++i) {
      double x = w[row * k + i];
      int expected =
          absmax == 0 ? 0 : static_cast<int>(std::nearbyint(x * 127 / absmax));
      EXPECT_EQ(out.components[0].bytes[row * k + i] - 128, expected);
      EXPECT_NEAR(got[row * k + i], x, absmax / 127 * 0.501);
    }
  }
  w[k] = 1e-42f; // its reciprocal overflows
  ASSERT_TRUE(encodeInt8(w.data(), n, k, 1, out, error));
  EXPECT_NEAR(decode(int8Format(), out)[k], 0, 1e-41);
  w[9] = NAN;
  EXPECT_FALSE(encodeInt8(w.data(), n, k, 1, out, error));
  EXPECT_EQ(error, "weight is nan at row 0, column 9, expected finite numbers");
}

/// Decisions of the library's NF4 kernel, as published there.
static int libraryNF4(float x) {
  static const float thresholds[] = {
      -0.8480964004993439f,   -0.6106329262256622f,  -0.4599952697753906f,
      -0.33967943489551544f,  -0.23460740596055984f, -0.13791173323988914f,
      -0.045525018125772476f, 0.03979014977812767f,  0.1202552504837513f,
      0.2035212516784668f,    0.2920137718319893f,   0.3893125355243683f,
      0.5016634166240692f,    0.6427869200706482f,   0.8614784181118011f};
  int code = 0;
  for (float threshold : thresholds)
    code += x > threshold;
  return code;
}

/// Decisions of the library's FP4 kernel.
static int libraryFP4(float x) {
  int sign = x < 0 ? 8 : 0;
  x = std::fabs(x);
  if (x > 0.29166667f)
    return sign + (x > 0.583333f ? (x > 0.8333333f ? 3 : 2)
                                 : (x > 0.4166667f ? 5 : 4));
  return sign + (x > 0.0859375f ? (x > 0.20833333f ? 7 : 6)
                                : (x > 0.00260417f ? 1 : 0));
}

TEST(LUT, DecidesLikeTheLibrary) {
  // The first weight is the absmax, so w / scale is w.
  std::vector<float> w = {1};
  for (int i = -2500; i <= 2500; ++i)
    w.push_back(static_cast<float>(i) / 2500);
  auto k = static_cast<int64_t>(w.size());
  LUTFormat nf4(Table::NF4, 4, 0, DType::F32),
      fp4(Table::FP4, 4, 0, DType::F32);
  HostWeight normal = encode(nf4, w, 1, k), e2m1 = encode(fp4, w, 1, k);
  for (int64_t i = 0; i < k; ++i) {
    float x = w[static_cast<size_t>(i)];
    EXPECT_EQ(codeAt(normal, 4, 0, i), libraryNF4(x)) << x;
    // 7 digits of a threshold do not say on which side 0.5833333 lies.
    EXPECT_EQ(codeAt(e2m1, 4, 0, i), libraryFP4(x)) << x;
  }
}

TEST(LUT, CodesAreNearestAndTiesGoDown) {
  EXPECT_EQ(nearestEntry(nf4Table.data(), 16, 0.0f), 7);
  const float table[] = {-1, 0, 0.5f, 2};
  EXPECT_EQ(nearestEntry(table, 4, -0.5f), 0);
  EXPECT_EQ(nearestEntry(table, 4, std::nextafter(-0.5f, 1.0f)), 1);
  EXPECT_EQ(nearestEntry(table, 4, 0.25f), 1);
  EXPECT_EQ(nearestEntry(table, 4, 1.25f), 2);
  EXPECT_EQ(nearestEntry(table, 4, 99), 3);
  EXPECT_EQ(nearestEntry(table, 4, -99), 0);
  EXPECT_EQ(nearestEntry(table, 1, 5), 0);

  const int64_t n = 3, k = 150;
  std::vector<float> w = normalMatrix(n * k, 0.02f, 5);
  std::fill(w.begin(), w.begin() + 64, 0.0f);
  for (LUTFormat format : {LUTFormat(Table::NF4, 4, 64, DType::F32),
                           LUTFormat(Table::FP4, 4, 32, DType::F16),
                           LUTFormat(Table::User, 3, 64, DType::BF16)}) {
    std::vector<float> own;
    if (format.table == Table::User)
      own = {0.1f, -2, 1, 0, -0.4f, 2.5f, 0.4f, -1};
    HostWeight weight = encode(format, w, n, k, own);
    ASSERT_EQ(format.checkValues(weight.views(), n, k), std::nullopt);
    std::vector<double> got = decode(format, weight);
    Components views = weight.views();
    for (int64_t i = 0; i < n * k; ++i) {
      double scale = format.scaleAt(views, k, i / k, i % k / format.group);
      double least = INFINITY;
      for (int64_t q = 0; q < int64_t(1) << format.bits; ++q)
        least = std::min(least, std::fabs(w[static_cast<size_t>(i)] -
                                          scale * format.entry(views, q)));
      ASSERT_LE(std::fabs(w[static_cast<size_t>(i)] - got[i]),
                least + 1e-6 * std::fabs(scale))
          << format.spelling() << " at " << i;
    }
  }
}

TEST(LUT, DoubleQuantizationByDefinition) {
  const int64_t n = 7, k = 300, groups = 5, block = 8;
  std::vector<float> w = normalMatrix(n * k, 0.02f, 9);
  LUTFormat plain(Table::NF4, 4, 64, DType::F32);
  LUTFormat twice(Table::NF4, 4, 64, DType::F32, block);
  HostWeight a = encode(plain, w, n, k), b = encode(twice, w, n, k);
  EXPECT_EQ(a.components[0].bytes, b.components[0].bytes)
      << "codes come from the unrounded absmax";
  std::vector<double> absmax;
  double mean = 0;
  for (int64_t i = 0; i < n * groups; ++i) {
    absmax.push_back(loadFloat(DType::F32, a.components[1].bytes.data(), i));
    mean += absmax.back() / static_cast<double>(n * groups);
  }
  EXPECT_NEAR(loadFloat(DType::F32, b.components[4].bytes.data(), 0), mean,
              1e-7 * mean);
  std::array<float, 256> map = dynamicMap();
  for (int64_t i = 0; i < n * groups; ++i) {
    double largest = 0;
    for (int64_t j = i / block * block;
         j < std::min((i / block + 1) * block, n * groups); ++j)
      largest = std::max(largest, std::fabs(absmax[j] - mean));
    EXPECT_NEAR(loadFloat(DType::F32, b.components[3].bytes.data(), i / block),
                largest, 1e-6 * largest);
    double x = (absmax[i] - mean) / largest, least = INFINITY;
    for (float entry : map)
      least = std::min(least, std::fabs(entry - x));
    EXPECT_NEAR(std::fabs(map[b.components[1].bytes[i]] - x), least, 1e-5);
  }
  double error = relativeError(plain, a, w.data());
  EXPECT_LT(relativeError(twice, b, w.data()), 1.02 * error);

  // Equal scales everywhere: the deviation from their mean is zero.
  std::vector<float> equal(4 * 64, 0.5f);
  HostWeight flat = encode(twice, equal, 4, 64);
  for (double x : decode(twice, flat))
    EXPECT_EQ(x, 0.5);
}

TEST(LUT, ErrorsNameTheProblem) {
  auto failure = [](const LUTFormat &format, std::vector<float> w,
                    std::vector<float> table) {
    HostWeight out;
    std::string error;
    EXPECT_FALSE(encodeLUT(format, table, w.data(), 1,
                           static_cast<int64_t>(w.size()), 1, out, error));
    return error;
  };
  LUTFormat own(Table::User, 2, 0, DType::F16);
  EXPECT_EQ(failure(own, {1, 2}, {}),
            "lut<bits = 2, group = channel, scale = f16> needs a table of 4 "
            "entries, found 0");
  EXPECT_EQ(failure(own, {1, 2}, {0, 0, 0, 0}),
            "lut<bits = 2, group = channel, scale = f16> needs a table with an "
            "entry other than 0");
  EXPECT_EQ(failure(own, {1, 2}, {0, 1, 2, NAN}),
            "lut<bits = 2, group = channel, scale = f16> needs a table of "
            "finite entries");
  LUTFormat nf4(Table::NF4, 4, 64, DType::F16);
  EXPECT_EQ(failure(nf4, {1, INFINITY}, {}),
            "weight is infinite at row 0, column 1, expected finite numbers");
  EXPECT_EQ(failure(nf4, {1, 1e6f}, {}),
            "row 0, group 0: the scale does not fit its type, use scale = f32");
  EXPECT_EQ(failure(nf4, {1e-9f, 1e-9f}, {}),
            "weight is too small for its scales: 1 of 1 are near the "
            "smallest number of their type, use scale = f32");
}
