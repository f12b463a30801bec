//===- LUTTest.cpp - The fixed tables from their definitions --------------===//
#include "qc/Format/LUT.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>
#include <set>

using namespace qc;

/// Quantile of the normal distribution, by bisection on erfc.
static double normalQuantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 200; ++i) {
    double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

TEST(LUTTables, NF4IsNormalQuantiles) {
  const double offset = 0.9677083;
  std::vector<double> values = {0};
  for (int i = 0; i < 8; ++i)
    values.push_back(normalQuantile(offset + (0.5 - offset) * i / 8));
  for (int i = 0; i < 7; ++i)
    values.push_back(-normalQuantile(offset + (0.5 - offset) * i / 7));
  std::sort(values.begin(), values.end());
  double largest = values.back();
  ASSERT_EQ(values.size(), nf4Table.size());
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(nf4Table[i], values[i] / largest, 3e-7) << i;
}

TEST(LUTTables, FP4IsScaledE2M1) {
  // The set of magnitudes, whatever the order of the codes.
  std::set<float> magnitudes;
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(fp4Table[i + 8], -fp4Table[i]);
    EXPECT_GE(fp4Table[i], 0);
    magnitudes.insert(fp4Table[i]);
  }
  std::set<float> expected;
  for (double v : {0.0, 0.0625, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0})
    expected.insert(static_cast<float>(v / 12));
  EXPECT_EQ(magnitudes, expected);
  EXPECT_EQ(fp4Table[3], 1.0f);
  EXPECT_EQ(fp4Table[6], static_cast<float>(1 / 6.0));
}

TEST(LUTTables, DynamicMapByDefinition) {
  std::vector<double> values = {0, 1};
  for (int i = 0; i < 7; ++i)
    for (int j = 0; j < 1 << i; ++j) {
      double low = 0.1 + 0.9 * j / (1 << i),
             high = 0.1 + 0.9 * (j + 1) / (1 << i);
      double value = (low + high) / 2 * std::pow(10.0, i - 6);
      values.push_back(value);
      values.push_back(-value);
    }
  std::sort(values.begin(), values.end());
  std::array<float, 256> map = dynamicMap();
  ASSERT_EQ(values.size(), map.size());
  for (size_t i = 0; i < map.size(); ++i)
    EXPECT_NEAR(map[i], values[i], 1.2e-7 * std::fabs(values[i])) << i;
  EXPECT_TRUE(std::is_sorted(map.begin(), map.end()));
  EXPECT_EQ(map[0], -0.99296875f);
  EXPECT_EQ(map[127], 0.0f);
  EXPECT_EQ(map[255], 1.0f);
}
