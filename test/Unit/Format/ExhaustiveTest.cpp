//===- ExhaustiveTest.cpp - exhaustiveWeight really meets everything ------===//
#include "TestWeights.h"
#include "qc/Format/Codebook.h"
#include "qc/Format/Grouped.h"
#include "qc/Format/LUT.h"
#include "gtest/gtest.h"

#include <cmath>
#include <set>

using namespace qc;
using namespace qc::test;

static std::shared_ptr<const Format> parse(const std::string &text) {
  std::string error;
  auto format = parseFormat(text, error);
  EXPECT_TRUE(format) << error;
  return format;
}

static int64_t sizeOf(const HostWeight &weight) {
  int64_t bytes = 0;
  for (const Tensor &tensor : weight.components)
    bytes += tensor.spec.numBytes();
  return bytes;
}

/// Fits, is plausible, decodes to finite f32 numbers.
static void expectSound(const Format &format, const HostWeight &weight) {
  Components views = weight.views();
  ASSERT_EQ(format.check(weight.n, weight.k), std::nullopt);
  ASSERT_EQ(format.checkComponents(views, weight.n, weight.k), std::nullopt);
  ASSERT_EQ(format.checkValues(views, weight.n, weight.k), std::nullopt);
  std::vector<double> row(static_cast<size_t>(weight.k));
  for (int64_t r = 0; r < weight.n; ++r) {
    format.decodeRow(views, weight.n, weight.k, r, row.data());
    for (double w : row)
      ASSERT_LE(std::fabs(w), 3.4028235e38) << "row " << r;
  }
}

/// Bit patterns of element `index`.
static uint32_t raw(const Tensor &tensor, int64_t index) {
  int64_t width = byteWidth(tensor.spec.type);
  uint32_t bits = 0;
  for (int64_t i = 0; i < width; ++i)
    bits |= uint32_t(tensor.bytes[static_cast<size_t>(index * width + i)])
            << (8 * i);
  return bits;
}

/// Pairs (code, bits of parameter `component`) that occur in a weight with
/// groups.
static std::set<std::pair<uint32_t, uint32_t>>
pairs(const HostWeight &weight, int bits, int64_t group, size_t component) {
  std::set<std::pair<uint32_t, uint32_t>> met;
  int64_t rowBytes = (weight.k * bits + 7) / 8;
  int64_t groups = group ? (weight.k + group - 1) / group : 1;
  for (int64_t r = 0; r < weight.n; ++r)
    for (int64_t i = 0; i < weight.k; ++i)
      met.emplace(bitsOf(weight.components[0].bytes.data() + r * rowBytes,
                         i * bits, bits),
                  raw(weight.components[component],
                      r * groups + (group ? i / group : 0)));
  return met;
}

static const size_t finiteHalves = 2 * 31 * 1024;

TEST(Exhaustive, GroupedMeetsEveryScale) {
  for (int bits : {1, 3, 4}) {
    auto format = parse("grouped<bits = " + std::to_string(bits) +
                        ", group = 8, scale = f16>");
    HostWeight weight = format->exhaustiveWeight(false);
    expectSound(*format, weight);
    EXPECT_EQ(pairs(weight, bits, 8, 1).size(), finiteHalves << bits);
  }
}

TEST(Exhaustive, GroupedMeetsEveryZeroPointEvenQuickly) {
  for (int bits : {1, 2, 5, 8})
    for (const char *group : {"channel", "64"}) {
      auto format = parse("grouped<bits = " + std::to_string(bits) +
                          ", group = " + group + ", scale = f16, zero = int>");
      HostWeight weight = format->exhaustiveWeight(true);
      expectSound(*format, weight);
      EXPECT_EQ(pairs(weight, bits, *group == 'c' ? 0 : 64, 2).size(),
                size_t(256) << bits);
    }
  auto format = parse("grouped<bits = 3, group = 64, scale = f16, zero = f16>");
  HostWeight weight = format->exhaustiveWeight(true);
  expectSound(*format, weight);
  EXPECT_EQ(pairs(weight, 3, 64, 2).size(), finiteHalves << 3);
}

TEST(Exhaustive, QuickKeepsEveryExponentOfTheScale) {
  auto format = parse("grouped<bits = 4, group = 64, scale = f16>");
  HostWeight weight = format->exhaustiveWeight(true);
  EXPECT_LT(weight.n, 1000);
  std::set<uint32_t> signExponent, patterns;
  for (int64_t row = 0; row < weight.n; ++row) {
    patterns.insert(raw(weight.components[1], row));
    signExponent.insert(raw(weight.components[1], row) >> 10);
  }
  EXPECT_EQ(signExponent.size(), 62u);
  for (uint32_t bits : {0x0000u, 0x8000u, 0x03ffu, 0x0400u, 0x7bffu, 0xfbffu})
    EXPECT_TRUE(patterns.count(bits)) << bits;
}

TEST(Exhaustive, LUTMeetsEveryScaleAndEveryScaleCode) {
  for (const char *text :
       {"lut<nf4, group = 64, scale = f16>", "lut<fp4, group = 5, scale = f16>",
        "lut<bits = 4, group = channel, scale = f16>"}) {
    auto format = parse(text);
    HostWeight weight = format->exhaustiveWeight(false);
    expectSound(*format, weight);
    std::set<uint32_t> scales;
    for (int64_t i = 0; i < weight.components[1].spec.numElements(); ++i)
      scales.insert(raw(weight.components[1], i));
    EXPECT_EQ(scales.size(), finiteHalves);
  }
  for (const char *rest : {"256", "1", "100000"}) {
    auto format = parse("lut<nf4, group = 64, scale = f32, double_quant = " +
                        std::string(rest) + ">");
    HostWeight weight = format->exhaustiveWeight(true);
    expectSound(*format, weight);
    EXPECT_EQ(pairs(weight, 4, 64, 1).size(), size_t(256) << 4);
  }
}

TEST(Exhaustive, CodebookMeetsEveryEntry) {
  for (int bits : {1, 8, 10, 16}) {
    auto format = parse("codebook<books = 3, bits = " + std::to_string(bits) +
                        ", vector = 4, scale = f16, entry = f16>");
    for (bool quick : {true, false}) {
      HostWeight weight = format->exhaustiveWeight(quick);
      expectSound(*format, weight);
      std::set<std::pair<int64_t, uint32_t>> met;
      for (int64_t i = 0; i < weight.components[0].spec.numElements(); ++i)
        met.emplace(i % 3, raw(weight.components[0], i));
      EXPECT_EQ(met.size(), size_t(3) << bits);
      std::set<uint32_t> scales;
      for (int64_t i = 0; i < weight.n; ++i)
        scales.insert(raw(weight.components[2], i));
      if (!quick) {
        EXPECT_EQ(scales.size(), finiteHalves);
      }
    }
  }
}

TEST(Exhaustive, FloatHoldsEveryFiniteNumber) {
  auto format = parse("float<f16>");
  HostWeight weight = format->exhaustiveWeight(true);
  expectSound(*format, weight);
  std::set<uint32_t> met;
  for (int64_t i = 0; i < weight.n * weight.k; ++i)
    met.insert(raw(weight.components[0], i));
  EXPECT_EQ(met.size(), finiteHalves);
}

TEST(Exhaustive, StaysSmallAndSound) {
  for (const char *text :
       {"grouped<bits = 8, group = channel, scale = f32>",
        "grouped<bits = 8, group = 1, scale = bf16, zero = f32>",
        "grouped<bits = 8, group = 16, scale = f16, zero = f16>",
        "grouped<bits = 8, group = 64, scale = bf16, zero = int>",
        "grouped<bits = 8, group = 3, scale = f16>",
        "lut<bits = 8, group = 2, scale = f32>",
        "lut<bits = 8, group = 1, scale = bf16>",
        "lut<bits = 8, group = 1, scale = f32, double_quant = 1>",
        "codebook<books = 8, bits = 8, vector = 64, scale = bf16, entry = f32>",
        "float<f32>", "float<bf16>"}) {
    auto format = parse(text);
    for (bool quick : {true, false}) {
      HostWeight weight = format->exhaustiveWeight(quick);
      EXPECT_LT(sizeOf(weight), 64 << 20) << text;
      expectSound(*format, weight);
    }
  }
}
