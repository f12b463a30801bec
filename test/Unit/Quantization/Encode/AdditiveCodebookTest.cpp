//===- AdditiveCodebookTest.cpp - Residual k-means ------------------------===//
#include "qc/Quantization/AdditiveCodebook.h"
#include "TestMatrix.h"
#include "qc/Format/Elements.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace qc;
using namespace qc::test;

static HostWeight encode(const CodebookFormat &format,
                         const std::vector<float> &w, int64_t n, int64_t k,
                         AdditiveCodebookOptions options = {}) {
  HostWeight out;
  std::string error;
  EXPECT_TRUE(
      encodeAdditiveCodebook(format, options, w.data(), n, k, out, error))
      << error;
  EXPECT_EQ(format.checkComponents(out.views(), n, k), std::nullopt);
  EXPECT_EQ(format.checkValues(out.views(), n, k), std::nullopt);
  return out;
}

TEST(AdditiveCodebook, RecoversAWeightThatHasTheForm) {
  // Rows made of one codebook of 16 well separated vectors are found exactly,
  // up to f16.
  const int64_t n = 40, k = 64, g = 4;
  std::vector<float> book = normalMatrix(16 * g, 1, 3), w;
  std::mt19937 random(4);
  for (int64_t i = 0; i < n * k / g; ++i) {
    uint32_t code = random() % 16;
    w.insert(w.end(), book.begin() + code * g, book.begin() + (code + 1) * g);
  }
  // Rows of equal norm, so that normalizing does not blur the vectors.
  for (int64_t row = 1; row < n; ++row)
    std::copy(w.begin(), w.begin() + k, w.begin() + row * k);
  for (int64_t row = 0; row < n; ++row)
    std::rotate(w.begin() + row * k, w.begin() + row * k + row % 16 * g,
                w.begin() + (row + 1) * k);
  CodebookFormat format(1, 4, g, DType::F16, DType::F16);
  EXPECT_LT(relativeError(format, encode(format, w, n, k), w.data()), 1e-3);
}

TEST(AdditiveCodebook, ErrorFallsWithBitsBooksAndPasses) {
  const int64_t n = 128, k = 256;
  std::vector<float> w = normalMatrix(n * k, 0.02f, 1);
  auto error = [&](int books, int bits, int passes) {
    CodebookFormat format(books, bits, 8, DType::F16, DType::F16);
    AdditiveCodebookOptions options;
    options.passes = passes;
    return relativeError(format, encode(format, w, n, k, options), w.data());
  };
  double one = error(1, 8, 3), two = error(2, 8, 3), plain = error(2, 8, 0);
  EXPECT_LT(error(1, 6, 3), 0.95);
  EXPECT_LT(one, error(1, 6, 3));
  EXPECT_LT(two, 0.6 * one);
  EXPECT_LT(two, plain);
  // 2 bits a weight of normal numbers: no code does better than 2^-2 without
  // fitting its books to the very matrix; these do (4096 vectors, 512 entries).
  EXPECT_LT(two, 0.34);
}

TEST(AdditiveCodebook, SameForAnyNumberOfThreads) {
  const int64_t n = 70, k = 100; // ragged: 100 = 12 * 8 + 4
  std::vector<float> w = normalMatrix(n * k, 0.3f, 2);
  CodebookFormat format(2, 6, 8, DType::F16, DType::F16);
  AdditiveCodebookOptions options;
  HostWeight one = encode(format, w, n, k, options);
  options.threads = 5;
  EXPECT_TRUE(sameComponents(one, encode(format, w, n, k, options)));
  options.seed = 1;
  EXPECT_FALSE(sameComponents(one, encode(format, w, n, k, options)));
}

TEST(AdditiveCodebook, ProgressRunsFromZeroToOne) {
  std::vector<float> w = normalMatrix(64 * 64, 1, 3);
  AdditiveCodebookOptions options;
  double last = 0;
  options.progress = [&](double part) {
    EXPECT_GT(part, last);
    last = part;
  };
  encode({2, 4, 8, DType::F16, DType::F16}, w, 64, 64, options);
  EXPECT_DOUBLE_EQ(last, 1);
}

TEST(AdditiveCodebook, OddShapesAndDegenerateRows) {
  for (auto [n, k] : {std::pair<int64_t, int64_t>{1, 1},
                      {1, 31},
                      {3, 5},
                      {17, 33},
                      {2, 172}}) {
    std::vector<float> w = normalMatrix(n * k, 1, 8);
    if (n > 2)
      std::fill(w.begin() + k, w.begin() + 2 * k, 0.0f);
    for (CodebookFormat format :
         {CodebookFormat(2, 8, 8, DType::F16, DType::F16),
          CodebookFormat(1, 12, 8, DType::F32, DType::F16),
          CodebookFormat(8, 1, 3, DType::BF16, DType::F32)}) {
      HostWeight weight = encode(format, w, n, k);
      EXPECT_LT(relativeError(format, weight, w.data()), 0.75)
          << format.spelling() << " " << n << "x" << k;
      if (n > 2) {
        for (int64_t i = 0; i < k; ++i)
          EXPECT_EQ(decode(format, weight)[static_cast<size_t>(k + i)], 0);
      }
      // More entries than vectors: nothing is lost but the rounding.
      if (format.bits == 12) {
        EXPECT_LT(relativeError(format, weight, w.data()), 1e-3);
      }
    }
  }
  CodebookFormat format(2, 4, 8, DType::F16, DType::F16);
  std::vector<float> zeros(8 * 16);
  for (double x : decode(format, encode(format, zeros, 8, 16)))
    EXPECT_EQ(x, 0);
}

TEST(AdditiveCodebook, ErrorsNameTheProblem) {
  auto failure = [](const CodebookFormat &format, std::vector<float> w) {
    HostWeight out;
    std::string error;
    EXPECT_FALSE(encodeAdditiveCodebook(format, {}, w.data(), 2,
                                        static_cast<int64_t>(w.size()) / 2, out,
                                        error));
    return error;
  };
  CodebookFormat half(1, 4, 2, DType::F16, DType::F16);
  EXPECT_EQ(failure(half, {1, 2, 3, NAN}),
            "weight is nan at row 1, column 1, expected finite numbers");
  EXPECT_EQ(failure(half, {1, 2, 3e6f, 4e6f}),
            "'scales' is infinite at [1], expected finite numbers; the scale "
            "does not fit its type, use scale = f32");
  EXPECT_EQ(failure(half, {1e-7f, 2e-7f, 3e-7f, 1e-7f}),
            "weight is too small for its scales: 2 of 2 are near the "
            "smallest number of their type, use scale = f32");
}
