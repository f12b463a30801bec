//===- OneDNNTest.cpp - Products by oneDNN against double -----------------===//
#include "qc/Runtime/OneDNN/OneDNN.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <vector>

namespace {
struct Case {
  int64_t m, k, columns, stride;
};
} // namespace

/// Whether oneDNN did it; compares then.
static bool multiply(const Case &c) {
  std::mt19937 random(static_cast<unsigned>(c.m * 31 + c.k * 7 + c.columns));
  std::normal_distribution<float> normal;
  int64_t blocks = (c.columns + 15) / 16;
  // Zeros where the last row block is ragged, as the packer writes them.
  std::vector<float> weight(blocks * c.k * 16, 0.0f), x(c.m * c.k);
  auto at = [&](int64_t row, int64_t i) -> float & {
    return weight[(row / 16 * c.k + i) * 16 + row % 16];
  };
  for (int64_t row = 0; row < c.columns; ++row)
    for (int64_t i = 0; i < c.k; ++i)
      at(row, i) = normal(random);
  for (float &value : x)
    value = normal(random);
  const float untouched = -77.0f;
  std::vector<float> out(c.m * c.stride, untouched);
  if (!qc_onednn_matmul_f32(weight.data(), x.data(), out.data(), c.m, c.k,
                            c.columns, c.stride)) {
    for (float value : out)
      EXPECT_EQ(value, untouched);
    return false;
  }
  for (int64_t t = 0; t < c.m; ++t)
    for (int64_t row = 0; row < c.stride; ++row) {
      float actual = out[t * c.stride + row];
      if (row >= c.columns) {
        EXPECT_EQ(actual, untouched);
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < c.k; ++i) {
        double product = double(x[t * c.k + i]) * at(row, i);
        sum += product;
        magnitude += std::fabs(product);
      }
      // Any order of k roundings: Higham, Accuracy and Stability, (3.5).
      double unit = static_cast<double>(c.k + 1) * 0x1p-24;
      EXPECT_LE(std::fabs(actual - sum), unit / (1 - unit) * magnitude)
          << "token " << t << ", row " << row;
    }
  return true;
}

TEST(OneDNN, RaggedShapesAgainstDouble) {
  if (const char *problem = qc::rt::oneDNNProblem())
    GTEST_SKIP() << "skipped: " << problem;
  int did = 0;
  for (Case c :
       {Case{128, 64, 32, 32}, Case{128, 64, 32, 100}, Case{131, 176, 21, 21},
        Case{129, 16, 5, 7}, Case{200, 2048, 80, 97}, Case{1, 48, 16, 16}})
    did += multiply(c);
  if (!did)
    GTEST_SKIP() << "skipped: oneDNN has no fast kernel for this CPU";
}

TEST(OneDNN, DeclinesOtherLayouts) {
  if (const char *problem = qc::rt::oneDNNProblem())
    GTEST_SKIP() << "skipped: " << problem;
  EXPECT_FALSE(multiply({128, 24, 16, 16}));
}

TEST(OneDNN, ThreadsAtTheSameTime) {
  if (const char *problem = qc::rt::oneDNNProblem())
    GTEST_SKIP() << "skipped: " << problem;
  std::vector<std::thread> team;
  for (int64_t i = 0; i < 4; ++i)
    team.emplace_back([i] {
      for (int repeat = 0; repeat < 3; ++repeat)
        multiply({128, 256, 33 + i % 2, 40});
    });
  for (std::thread &thread : team)
    thread.join();
}
