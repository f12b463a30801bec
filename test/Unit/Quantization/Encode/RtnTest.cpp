//===- RtnTest.cpp - Round to nearest -------------------------------------===//
#include "TestMatrix.h"
#include "qc/Format/Elements.h"
#include "qc/Quantization/Encode.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>

using namespace qc;
using namespace qc::test;

using Zero = GroupedFormat::Zero;

static HostWeight encode(const GroupedFormat &format,
                         const std::vector<float> &w, int64_t n, int64_t k,
                         RtnOptions options = {}) {
  HostWeight out;
  std::string error;
  EXPECT_TRUE(encodeRtn(format, options, w.data(), n, k, out, error)) << error;
  return out;
}

static std::string failure(const GroupedFormat &format,
                           const std::vector<float> &w, int64_t n, int64_t k) {
  HostWeight out;
  std::string error;
  EXPECT_FALSE(encodeRtn(format, {}, w.data(), n, k, out, error));
  return error;
}

/// Every representable level of a group: what the weight would be with each
/// code, from the stored parameters, through decodeRow.
static std::vector<double> levels(const GroupedFormat &format,
                                  const HostWeight &weight, int64_t row,
                                  int64_t group) {
  int64_t codes = int64_t(1) << format.bits;
  GroupedFormat one(format.bits, 0, format.scale, format.zero);
  HostWeight all{1, codes, {}};
  for (const TensorSpec &spec : one.components(1, codes))
    all.components.emplace_back(spec);
  for (int64_t q = 0; q < codes; ++q)
    writeBits(all.components[0].bytes.data(), q, format.bits,
              static_cast<uint32_t>(q));
  for (size_t c = 1; c < all.components.size(); ++c) {
    auto size = static_cast<size_t>(byteWidth(all.components[c].spec.type));
    auto at = static_cast<size_t>(row * format.numGroups(weight.k) + group);
    std::copy_n(weight.components[c].bytes.begin() + at * size, size,
                all.components[c].bytes.begin());
  }
  return decode(one, all);
}

TEST(Rtn, EveryCodeIsTheNearest) {
  const int64_t n = 3, k = 101;
  std::vector<float> w = normalMatrix(n * k, 0.02f, 7);
  w[5] = 0.9f; // an outlier
  for (int bits = 1; bits <= 8; ++bits)
    for (Zero zero : {Zero::None, Zero::Int, Zero::F16, Zero::F32})
      for (DType scale : {DType::F16, DType::BF16, DType::F32})
        for (int64_t group : {0, 16, 200})
          for (RtnOptions options : {RtnOptions{RtnRange::Auto, 0, 1},
                                     RtnOptions{RtnRange::AbsMax, 0, 1},
                                     RtnOptions{RtnRange::FullRange, 8, 1}}) {
            GroupedFormat format(bits, group, scale, zero);
            HostWeight weight = encode(format, w, n, k, options);
            ASSERT_EQ(format.checkValues(weight.views(), n, k), std::nullopt);
            std::vector<double> got = decode(format, weight);
            for (int64_t i = 0; i < n * k; ++i) {
              std::vector<double> all =
                  levels(format, weight, i / k, group ? i % k / group : 0);
              double x = w[static_cast<size_t>(i)], least = INFINITY;
              for (double level : all)
                least = std::min(least, std::fabs(level - x));
              // f32 division decides which of two equally near levels it is.
              double step = std::fabs(all[1] - all[0]);
              ASSERT_LE(std::fabs(got[static_cast<size_t>(i)] - x),
                        least + 1e-4 * step)
                  << format.spelling() << " at " << i;
            }
          }
}

TEST(Rtn, ErrorIsAtMostHalfAStepWithinTheRange) {
  const int64_t n = 4, k = 96;
  std::vector<float> w = normalMatrix(n * k, 1, 3);
  for (int bits = 2; bits <= 8; ++bits)
    for (Zero zero : {Zero::None, Zero::Int, Zero::F32}) {
      GroupedFormat format(bits, 32, DType::F32, zero);
      HostWeight weight = encode(format, w, n, k, {RtnRange::AbsMax, 0, 1});
      std::vector<double> got = decode(format, weight);
      for (size_t i = 0; i < w.size(); ++i) {
        double scale = loadFloat(DType::F32, weight.components[1].bytes.data(),
                                 static_cast<int64_t>(i / 32));
        // An integer zero point moves the range by up to half a step.
        double bound = zero == Zero::Int ? 1.001 : 0.5001;
        ASSERT_LE(std::fabs(got[i] - w[i]), bound * std::fabs(scale))
            << format.spelling();
      }
    }
}

TEST(Rtn, FormulasByHand) {
  std::vector<float> w = {-0.7f, 0.3f, 0.15f, 1.4f};
  auto codes = [&](const GroupedFormat &format, RtnRange range) {
    HostWeight weight = encode(format, w, 1, 4, {range, 0, 1});
    std::vector<int> list;
    for (int64_t i = 0; i < 4; ++i)
      list.push_back(static_cast<int>(
          readBits(weight.components[0].bytes.data(), i, format.bits)));
    return std::pair(
        list, loadFloat(DType::F32, weight.components[1].bytes.data(), 0));
  };
  using Codes = std::vector<int>;
  GroupedFormat symmetric(4, 0, DType::F32);
  EXPECT_EQ(codes(symmetric, RtnRange::AbsMax),
            std::pair(Codes({4, 10, 9, 15}), 1.4f / 7)); // -3.5 -> -4, .75 -> 1
  // The largest weight is positive, so the scale is negative and it has code 0.
  EXPECT_EQ(codes(symmetric, RtnRange::FullRange),
            std::pair(Codes({12, 6, 7, 0}), 1.4f / -8));
  GroupedFormat asymmetric(4, 0, DType::F32, Zero::Int);
  auto [list, scale] = codes(asymmetric, RtnRange::Auto);
  EXPECT_EQ(list, Codes({0, 7, 6, 15})); // zero point 5
  EXPECT_FLOAT_EQ(scale, 2.1f / 15);
  GroupedFormat oneBit(1, 0, DType::F32);
  EXPECT_EQ(codes(oneBit, RtnRange::Auto),
            std::pair(Codes({0, 1, 1, 1}), (0.7f + 0.3f + 0.15f + 1.4f) / 4));
}

TEST(Rtn, FullRangeAndClippingLowerTheError) {
  const int64_t n = 16, k = 256;
  std::vector<float> w = normalMatrix(n * k, 0.05f, 11);
  for (int bits = 2; bits <= 8; ++bits) {
    GroupedFormat format(bits, 64, DType::F16);
    auto error = [&](RtnOptions options) {
      return relativeError(format, encode(format, w, n, k, options), w.data());
    };
    double absmax = error({RtnRange::AbsMax, 0, 1});
    double full = error({RtnRange::FullRange, 0, 1});
    EXPECT_LT(full, absmax);
    EXPECT_EQ(error({}), full);
    EXPECT_LE(error({RtnRange::FullRange, 16, 1}), full);
  }
}

TEST(Rtn, OneBitScaleIsLeastSquares) {
  std::vector<float> w = normalMatrix(64, 1, 5);
  GroupedFormat format(1, 0, DType::F32);
  HostWeight weight = encode(format, w, 1, 64);
  double best = relativeError(format, weight, w.data());
  uint8_t *scale = weight.components[1].bytes.data();
  float value = loadFloat(DType::F32, scale, 0);
  for (float factor : {0.98f, 1.02f}) {
    storeFloat(DType::F32, scale, 0, value * factor);
    EXPECT_GT(relativeError(format, weight, w.data()), best);
  }
}

TEST(Rtn, ZerosDecodeToZerosInEveryForm) {
  std::vector<float> w(2 * 40, 0.0f);
  w[50] = 1; // the other groups are all zero
  for (int bits = 1; bits <= 8; ++bits)
    for (Zero zero : {Zero::None, Zero::Int, Zero::F16, Zero::F32}) {
      GroupedFormat format(bits, 20, DType::F16, zero);
      HostWeight weight = encode(format, w, 2, 40);
      std::vector<double> got = decode(format, weight);
      for (size_t i = 0; i < 40; ++i)
        EXPECT_EQ(got[i], 0) << format.spelling();
    }
}

TEST(Rtn, ConstantGroupsAreKept) {
  for (float value : {3.0f, -0.011f, 5e-3f})
    for (int bits = 1; bits <= 8; ++bits)
      for (Zero zero : {Zero::None, Zero::Int, Zero::F16, Zero::F32}) {
        std::vector<float> w(32, value);
        GroupedFormat format(bits, 0, DType::F16, zero);
        std::vector<double> got = decode(format, encode(format, w, 1, 32));
        // Relative precision of f16 scales, and of f16 zero points.
        EXPECT_NEAR(got[0], value, 2e-3 * std::fabs(value))
            << format.spelling() << " " << value;
      }
}

TEST(Rtn, NarrowRangesFarFromZero) {
  std::vector<float> w(64);
  for (size_t i = 0; i < w.size(); ++i)
    w[i] = 5 + 1e-6f * static_cast<float>(i);
  for (Zero zero : {Zero::F16, Zero::F32}) {
    GroupedFormat format(4, 0, DType::F16, zero);
    for (double x : decode(format, encode(format, w, 1, 64)))
      EXPECT_NEAR(x, 5, 5e-3) << format.spelling();
  }
}

TEST(Rtn, NonFiniteWeightsAreNamed) {
  GroupedFormat format(4, 64, DType::F16);
  std::vector<float> w(5 * 10, 1.0f);
  w[37] = NAN;
  EXPECT_EQ(failure(format, w, 5, 10),
            "weight is nan at row 3, column 7, expected finite numbers");
  w[12] = -INFINITY;
  EXPECT_EQ(failure(format, w, 5, 10),
            "weight is infinite at row 1, column 2, expected finite numbers");
  EXPECT_EQ(failure(format, {}, 0, 10),
            "weight has shape [0, 10], expected positive sizes of at most 2^44 "
            "elements");
}

TEST(Rtn, ScalesThatDoNotFitF16) {
  std::vector<float> w(3 * 8, 1.0f);
  w[17] = 3e6f;
  EXPECT_EQ(failure({4, 4, DType::F16}, w, 3, 8),
            "row 2, group 0: the scale does not fit its type, use scale = f32");
  encode({4, 4, DType::F32}, w, 3, 8);
  encode({4, 4, DType::BF16}, w, 3, 8);
  // The extremes of f32 with every kind of zero point.
  w[17] = 3.4e38f;
  w[18] = -3.4e38f;
  for (Zero zero : {Zero::None, Zero::Int, Zero::F16, Zero::F32}) {
    GroupedFormat format(4, 4, DType::F32, zero);
    for (double x : decode(format, encode(format, w, 3, 8)))
      EXPECT_LE(std::fabs(x), 3.7e38);
  }

  // Tiny weights as a whole do not fit; a tiny group among others does.
  std::vector<float> tiny(2 * 64, 3e-7f);
  EXPECT_EQ(failure({4, 32, DType::F16}, tiny, 2, 64),
            "weight is too small for its scales: 4 of 4 are near the "
            "smallest number of their type, use scale = f32");
  encode({4, 32, DType::F32}, tiny, 2, 64);
  std::fill(tiny.begin() + 32, tiny.end(), 1.0f);
  std::fill(tiny.begin(), tiny.begin() + 32, 1e-12f);
  HostWeight weight = encode({4, 32, DType::F16}, tiny, 2, 64);
  EXPECT_NE(loadFloat(DType::F16, weight.components[1].bytes.data(), 0), 0);
  for (size_t i = 0; i < 32; ++i)
    EXPECT_NEAR(decode(GroupedFormat(4, 32, DType::F16), weight)[i], 0, 1e-7);
}

TEST(Rtn, RowRangesAndThreadsGiveTheSame) {
  const int64_t n = 900, k = 171;
  std::vector<float> w = normalMatrix(n * k, 0.1f, 13);
  GroupedFormat format(3, 32, DType::F16, Zero::Int);
  HostWeight one = encode(format, w, n, k);
  HostWeight four = encode(format, w, n, k, {RtnRange::Auto, 0, 4});
  EXPECT_TRUE(sameComponents(one, four));

  HostWeight parts = allocateWeight(format, n, k);
  RtnStatistics statistics;
  std::string error;
  for (RowRange rows : {RowRange{400, 900}, RowRange{0, 400}})
    ASSERT_TRUE(
        encodeRtnRows(format, {}, w.data(), k, rows, parts, statistics, error));
  EXPECT_TRUE(sameComponents(one, parts));
  EXPECT_EQ(statistics.groups, n * 6);
  EXPECT_EQ(statistics.tinyScales, 0);
}

TEST(EncodeFloat, RoundsAndRejects) {
  std::vector<float> w = {1.0f, 1.0009765f, -3e-8f, 65519.0f};
  HostWeight out;
  std::string error;
  ASSERT_TRUE(encodeFloat(FloatFormat(DType::F16), w.data(), 2, 2, out, error));
  std::vector<double> got = decode(FloatFormat(DType::F16), out);
  EXPECT_EQ(got, (std::vector<double>{1, 1.0009765625, -0x1p-24, 65504}));
  w[3] = 65520;
  EXPECT_FALSE(
      encodeFloat(FloatFormat(DType::F16), w.data(), 2, 2, out, error));
  EXPECT_EQ(error, "weight 65520.000000 at row 1, column 1 does not fit "
                   "float<f16>");
  EXPECT_TRUE(encodeFloat(FloatFormat(DType::F32), w.data(), 2, 2, out, error));
  w[0] = NAN;
  EXPECT_FALSE(
      encodeFloat(FloatFormat(DType::F32), w.data(), 2, 2, out, error));
  EXPECT_EQ(error, "weight is nan at row 0, column 0, expected finite numbers");
}
