//===- MethodsTest.cpp - Passes against loops in double -------------------===//
//
// Runs the passes on a module, reads the files that they wrote with nothing of
// qc, and compares with the published formulas in plain loops.
//
//===----------------------------------------------------------------------===//
#include "qc/Quantization/Methods.h"
#include "TestModule.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace mlir::qc;

namespace {

constexpr int64_t n = 7, k = 45, group = 16, groups = 3;

float f32At(const std::vector<uint8_t> &bytes, size_t index) {
  float value;
  std::memcpy(&value, bytes.data() + 4 * index, 4);
  return value;
}

/// Code `index` of a row that is an LSB-first stream of 4-bit codes.
int nibble(const std::vector<uint8_t> &codes, int64_t row, int64_t i) {
  uint8_t byte = codes[static_cast<size_t>(row * ((k + 1) / 2) + i / 2)];
  return i % 2 ? byte >> 4 : byte & 15;
}

/// ||a - b|| / ||a||
double relativeError(const std::vector<float> &a,
                     const std::vector<double> &b) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    norm += double(a[i]) * a[i];
  }
  return std::sqrt(error / norm);
}

void expectReportedError(TestModule &test, const std::vector<float> &w,
                         const std::vector<double> &decoded) {
  auto reported = test.weight()->getAttrOfType<mlir::FloatAttr>("qc.error");
  ASSERT_TRUE(reported);
  double expected = relativeError(w, decoded);
  EXPECT_NEAR(reported.getValueAsDouble(), expected, 1e-3 * expected);
}

TEST(MethodsTest, RTNSymmetricAbsMax) {
  std::vector<float> w = testMatrix(n, k, 1);
  TestModule test(w, n, k);
  RTNPassOptions options;
  options.groupSize = group;
  options.scale = ::qc::DType::F32;
  options.range = ::qc::RtnRange::AbsMax;
  options.outputDir = test.folder.path;
  ASSERT_TRUE(succeeded(test.run(createRTNPass(options))));
  std::vector<uint8_t> codes = test.component(0), scales = test.component(1);
  std::vector<double> decoded(w.size());
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < groups; ++g) {
      int64_t begin = g * group, end = std::min(k, begin + group);
      double largest = 0;
      for (int64_t i = begin; i < end; ++i)
        largest = std::max<double>(largest, std::abs(w[row * k + i]));
      double scale = f32At(scales, row * groups + g);
      EXPECT_NEAR(scale, largest / 7, 1e-6 * largest) << row << ' ' << g;
      for (int64_t i = begin; i < end; ++i) {
        double value = scale * (nibble(codes, row, i) - 8);
        decoded[row * k + i] = value;
        // Nothing is clipped, so rounding is all that is lost.
        EXPECT_LE(std::abs(value - w[row * k + i]),
                  scale * 0.5 + 1e-6 * largest)
            << row << ' ' << i;
      }
    }
  expectReportedError(test, w, decoded);
}

TEST(MethodsTest, RTNIntegerZeroPoints) {
  std::vector<float> w = testMatrix(n, k, 2);
  TestModule test(w, n, k);
  RTNPassOptions options;
  options.groupSize = group;
  options.symmetric = false;
  options.scale = ::qc::DType::F32;
  options.outputDir = test.folder.path;
  ASSERT_TRUE(succeeded(test.run(createRTNPass(options))));
  std::vector<uint8_t> codes = test.component(0), scales = test.component(1),
                       zeros = test.component(2);
  std::vector<double> decoded(w.size());
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < groups; ++g) {
      int64_t begin = g * group, end = std::min(k, begin + group);
      double low = 0, high = 0;
      for (int64_t i = begin; i < end; ++i) {
        low = std::min<double>(low, w[row * k + i]);
        high = std::max<double>(high, w[row * k + i]);
      }
      double scale = f32At(scales, row * groups + g);
      double zero = zeros[row * groups + g];
      EXPECT_NEAR(scale, (high - low) / 15, 1e-6 * (high - low));
      if (scale != 0) {
        EXPECT_LE(std::abs(zero + low / scale), 0.5 + 1e-3) << row << ' ' << g;
      }
      for (int64_t i = begin; i < end; ++i) {
        double value = scale * (nibble(codes, row, i) - zero);
        decoded[row * k + i] = value;
        // Half a step for the code, half a step for the zero point at the ends.
        EXPECT_LE(std::abs(value - w[row * k + i]), scale * 1.001)
            << row << ' ' << i;
      }
    }
  expectReportedError(test, w, decoded);
}

TEST(MethodsTest, NF4TakesTheNearestLevel) {
  // Dettmers et al., arXiv 2305.14314, appendix E.
  const double levels[16] = {-1.0,
                             -0.6961928009986877,
                             -0.5250730514526367,
                             -0.39491748809814453,
                             -0.28444138169288635,
                             -0.18477343022823334,
                             -0.09105003625154495,
                             0.0,
                             0.07958029955625534,
                             0.16093020141124725,
                             0.24611230194568634,
                             0.33791524171829224,
                             0.44070982933044434,
                             0.5626170039176941,
                             0.7229568362236023,
                             1.0};
  std::vector<float> w = testMatrix(n, k, 3);
  TestModule test(w, n, k);
  NF4PassOptions options;
  options.groupSize = group;
  options.doubleQuant = false;
  options.outputDir = test.folder.path;
  ASSERT_TRUE(succeeded(test.run(createNF4Pass(options))));
  std::vector<uint8_t> codes = test.component(0), scales = test.component(1);
  std::vector<double> decoded(w.size());
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < groups; ++g) {
      int64_t begin = g * group, end = std::min(k, begin + group);
      double largest = 0;
      for (int64_t i = begin; i < end; ++i)
        largest = std::max<double>(largest, std::abs(w[row * k + i]));
      EXPECT_EQ(f32At(scales, row * groups + g), static_cast<float>(largest));
      for (int64_t i = begin; i < end; ++i) {
        double best = 1e30;
        for (double level : levels)
          best = std::min(best, std::abs(level * largest - w[row * k + i]));
        double value = largest * levels[nibble(codes, row, i)];
        decoded[row * k + i] = value;
        EXPECT_NEAR(std::abs(value - w[row * k + i]), best, 1e-6 * largest)
            << row << ' ' << i;
      }
    }
  expectReportedError(test, w, decoded);
}

TEST(MethodsTest, LLMInt8) {
  std::vector<float> w = testMatrix(n, k, 4);
  TestModule test(w, n, k);
  LLMInt8PassOptions options;
  options.outputDir = test.folder.path;
  ASSERT_TRUE(succeeded(test.run(createLLMInt8Pass(options))));
  std::vector<uint8_t> codes = test.component(0), scales = test.component(1);
  std::vector<double> decoded(w.size());
  for (int64_t row = 0; row < n; ++row) {
    double largest = 0;
    for (int64_t i = 0; i < k; ++i)
      largest = std::max<double>(largest, std::abs(w[row * k + i]));
    EXPECT_NEAR(f32At(scales, row), largest / 127, 1e-6 * largest);
    for (int64_t i = 0; i < k; ++i) {
      int code = codes[row * k + i] - 128;
      decoded[row * k + i] = code * largest / 127;
      EXPECT_NEAR(decoded[row * k + i], w[row * k + i], largest / 127 * 0.5001);
    }
  }
  expectReportedError(test, w, decoded);
}

TEST(MethodsTest, AQLMIsExactForFewDistinctVectors) {
  // 16 different vectors of 4: a codebook of 2^4 entries can hold them all.
  constexpr int64_t rows = 32, cols = 64;
  std::vector<float> vectors = testMatrix(16, 4, 5), w(rows * cols);
  std::mt19937 engine(6);
  for (size_t i = 0; i < w.size(); i += 4) {
    // Every row holds each vector once: equal norms, hence equal scales.
    size_t vector = (i / 4 + i / cols * 5) % 16;
    std::copy_n(vectors.begin() + static_cast<ptrdiff_t>(4 * vector), 4,
                w.begin() + static_cast<ptrdiff_t>(i));
  }
  TestModule test(w, rows, cols);
  AQLMPassOptions options;
  options.bits = 4;
  options.vector = 4;
  options.scale = ::qc::DType::F32;
  options.entry = ::qc::DType::F32;
  options.outputDir = test.folder.path;
  ASSERT_TRUE(succeeded(test.run(createAQLMPass(options))));
  std::vector<uint8_t> codes = test.component(0), books = test.component(1),
                       scales = test.component(2);
  std::vector<double> decoded(w.size());
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < cols; ++i) {
      double sum = 0;
      for (int64_t m = 0; m < 2; ++m) {
        int64_t code = codes[(row * (cols / 4) + i / 4) * 2 + m];
        sum += f32At(books, (m * 16 + code) * 4 + i % 4);
      }
      decoded[row * cols + i] = f32At(scales, row) * sum;
    }
  EXPECT_LT(relativeError(w, decoded), 1e-5);
}

} // namespace
