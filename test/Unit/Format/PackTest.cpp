//===- PackTest.cpp - Components, packed blobs and decoding agree ---------===//
#include "TestWeights.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace qc;
using namespace qc::test;

static std::shared_ptr<const Format> parse(const std::string &text) {
  std::string error;
  auto format = parseFormat(text, error);
  EXPECT_TRUE(format) << error;
  return format;
}

static std::vector<std::string> allSpellings() {
  std::vector<std::string> list = {"float<f32>", "float<f16>", "float<bf16>"};
  for (int bits = 1; bits <= 8; ++bits) {
    std::string b = "<bits = " + std::to_string(bits) + ", group = ";
    for (const char *rest :
         {"32, scale = f16>", "channel, scale = f32>",
          "64, scale = bf16, zero = int>", "7, scale = f32, zero = f16>",
          "128, scale = f16, zero = f32>", "512, scale = f16>"})
      list.push_back("grouped" + b + rest);
    for (const char *rest : {"32, scale = f16>", "channel, scale = bf16>",
                             "24, scale = f32, double_quant = 5>"})
      list.push_back("lut" + b + rest);
  }
  for (const char *text :
       {"lut<nf4, group = 64, scale = f32>",
        "lut<nf4, group = 32, scale = f32, double_quant = 256>",
        "lut<fp4, group = 64, scale = f16>",
        "codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>",
        "codebook<books = 1, bits = 10, vector = 8, scale = f32, entry = f16>",
        "codebook<books = 3, bits = 5, vector = 6, scale = bf16, entry = bf16>",
        "codebook<books = 8, bits = 1, vector = 1, scale = f16, entry = f32>",
        "codebook<books = 1, bits = 9, vector = 64, scale = f16, entry = f16>"})
    list.push_back(text);
  return list;
}

class Pack : public testing::TestWithParam<std::string> {};

TEST_P(Pack, DecodesToTheSameNumbers) {
  auto format = parse(GetParam());
  ASSERT_TRUE(format);
  Oracle oracle(*format);
  uint32_t seed = 0;
  for (int64_t n : {1, 3, 17})
    for (int64_t k : {1, 31, 33, 65, 172, 600}) {
      ASSERT_EQ(format->check(n, k), std::nullopt);
      HostWeight weight = oracle.randomWeight(*format, n, k, ++seed);
      Components views = weight.views();
      ASSERT_EQ(format->checkComponents(views, n, k), std::nullopt);
      ASSERT_EQ(format->checkValues(views, n, k), std::nullopt);
      std::vector<double> decoded(static_cast<size_t>(n * k));
      for (int64_t row = 0; row < n; ++row)
        format->decodeRow(views, n, k, row, decoded.data() + row * k);
      for (int64_t i = 0; i < n * k; ++i)
        ASSERT_EQ(decoded[static_cast<size_t>(i)],
                  oracle.fromComponents(weight, i / k, i % k))
            << "[" << n << ", " << k << "] at " << i;

      for (int64_t rows : {4, 8, 16}) {
        PackedLayout layout = format->packedLayout(n, k, rows);
        EXPECT_EQ(layout.headerBytes % 64, 0);
        EXPECT_EQ(layout.paddedBlockK % layout.chunkK, 0);
        EXPECT_GE(layout.paddedBlockK, layout.blockK);
        std::vector<uint8_t> blob(static_cast<size_t>(layout.totalBytes()) + 1,
                                  0xcd);
        format->pack(views, layout, blob.data());
        EXPECT_EQ(blob.back(), 0xcd) << "wrote past the end";
        for (int64_t i = 0; i < n * k; ++i)
          ASSERT_EQ(decoded[static_cast<size_t>(i)],
                    oracle.fromPacked(layout, blob.data(), i / k, i % k))
              << "[" << n << ", " << k << "], " << rows << " rows, at " << i;
        // Whatever stands in the padding decodes to finite numbers, and rows
        // beyond n to zero (a scale of zero).
        for (int64_t row = 0; row < layout.numRowBlocks() * rows; ++row)
          for (int64_t b = 0; b < layout.numBlocks(); ++b) {
            double w =
                oracle.fromPacked(layout, blob.data(), row, b * layout.blockK);
            ASSERT_TRUE(std::isfinite(w));
            if (row >= n) {
              ASSERT_EQ(w, 0);
            }
          }
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, Pack, testing::ValuesIn(allSpellings()));

TEST(Layout, DocumentedExample) {
  auto format = parse("grouped<bits = 4, group = 64, scale = f16>");
  std::vector<TensorSpec> specs = format->components(128, 172);
  ASSERT_EQ(specs.size(), 2u);
  EXPECT_EQ(specs[0].shape, (std::vector<int64_t>{128, 86}));
  EXPECT_EQ(specs[1].shape, (std::vector<int64_t>{128, 3}));
  PackedLayout layout = format->packedLayout(128, 172, 16);
  EXPECT_EQ(layout.numRowBlocks(), 8);
  EXPECT_EQ(layout.numBlocks(), 3);
  EXPECT_EQ(layout.blockParamBytes, 32);
  EXPECT_EQ(layout.chunksPerBlock(), 8);
  EXPECT_EQ(layout.chunkBytes, 64);
  // 3 * (32 + 8 * 64) = 1632, padded to 64.
  EXPECT_EQ(layout.totalBytes(), 8 * 1664);
}

TEST(Layout, KBlocks) {
  auto blockK = [](const std::string &group, int64_t k) {
    PackedLayout l =
        parse("grouped<bits = 4, group = " + group + ", scale = f16>")
            ->packedLayout(8, k, 8);
    return std::pair(l.blockK, l.paddedBlockK);
  };
  EXPECT_EQ(blockK("64", 4096), std::pair(int64_t(64), int64_t(64)));
  EXPECT_EQ(blockK("256", 4096), std::pair(int64_t(256), int64_t(256)));
  EXPECT_EQ(blockK("512", 4096), std::pair(int64_t(128), int64_t(128)));
  EXPECT_EQ(blockK("300", 4096), std::pair(int64_t(300), int64_t(304)));
  EXPECT_EQ(blockK("channel", 4096), std::pair(int64_t(128), int64_t(128)));
  EXPECT_EQ(blockK("channel", 44), std::pair(int64_t(44), int64_t(48)));
  EXPECT_EQ(blockK("64", 44), std::pair(int64_t(44), int64_t(48)));
}

TEST(BitsPerWeight, CountsMetadata) {
  auto bits = [](const std::string &text, int64_t n, int64_t k) {
    return parse(text)->bitsPerWeight(n, k);
  };
  EXPECT_EQ(bits("float<bf16>", 3, 5), 16);
  EXPECT_EQ(bits("grouped<bits = 4, group = 64, scale = f16>", 64, 128), 4.25);
  EXPECT_EQ(
      bits("grouped<bits = 4, group = 64, scale = f16, zero = int>", 64, 128),
      4.375);
  // 4 + 8/64 + 32/(64*256), and a map of 256 floats and an offset.
  double n = 4096, k = 4096;
  EXPECT_DOUBLE_EQ(
      bits("lut<nf4, group = 64, scale = f32, double_quant = 256>", 4096, 4096),
      4 + 8 / 64.0 + 32 / (64 * 256.0) + 257 * 32 / (n * k));
  EXPECT_DOUBLE_EQ(
      bits("codebook<books = 2, bits = 8, vector = 8, scale = f16, "
           "entry = f16>",
           4096, 4096),
      2 + 2 * 256 * 8 * 16 / (n * k) + 16 / k);
}

TEST(Check, RejectsImpossibleShapes) {
  for (const std::string &text : allSpellings()) {
    auto format = parse(text);
    EXPECT_EQ(format->check(1, 1), std::nullopt);
    EXPECT_TRUE(format->check(0, 4));
    EXPECT_TRUE(format->check(4, -1));
    EXPECT_TRUE(format->check(int64_t(1) << 40, int64_t(1) << 40));
  }
  EXPECT_EQ(*parse("float<f32>")->check(0, 4),
            "weight has shape [0, 4], expected positive sizes of at most 2^44 "
            "elements");
}

TEST(Check, ComponentsMustFit) {
  auto format = parse("grouped<bits = 4, group = 64, scale = f16>");
  HostWeight weight = Oracle(*format).randomWeight(*format, 2, 70, 1);
  auto check = [&] { return *format->checkComponents(weight.views(), 2, 70); };
  weight.components.pop_back();
  EXPECT_EQ(check(), "component 'scales' is missing: expected F16 [2, 2]");
  weight.components.emplace_back(TensorSpec{"scales", DType::F32, {2, 2}});
  EXPECT_EQ(check(), "component 'scales' must be F16 [2, 2], found F32 [2, 2]");
  weight.components.back().spec = {"scales", DType::F16, {2, 4}};
  EXPECT_EQ(check(), "component 'scales' must be F16 [2, 2], found F16 [2, 4]");
  weight.components.back().spec = {"zeros", DType::F16, {2, 2}};
  EXPECT_EQ(check(), "component 1 must be 'scales', found 'zeros'");
  weight.components.back().spec = {"scales", DType::F16, {2, 2}};
  weight.components.emplace_back(TensorSpec{"more", DType::F16, {1}});
  EXPECT_EQ(check(), "unexpected component 'more'");
}

TEST(Check, ValuesMustBePlausible) {
  auto poison = [](const std::string &text, size_t component, int64_t index,
                   uint32_t bits) {
    auto format = parse(text);
    HostWeight weight = Oracle(*format).randomWeight(*format, 3, 70, 1);
    Tensor &tensor = weight.components[component];
    for (int64_t i = 0; i < byteWidth(tensor.spec.type); ++i)
      tensor
          .bytes[static_cast<size_t>(index * byteWidth(tensor.spec.type) + i)] =
          static_cast<uint8_t>(bits >> (8 * i));
    return format->checkValues(weight.views(), 3, 70).value_or("fine");
  };
  EXPECT_EQ(poison("float<f32>", 0, 75, 0x7fc00000),
            "'data' is nan at [1, 5], expected finite numbers");
  EXPECT_EQ(poison("grouped<bits = 4, group = 64, scale = f16>", 1, 3, 0x7c00),
            "'scales' is infinite at [1, 1], expected finite numbers");
  EXPECT_EQ(poison("grouped<bits = 4, group = 64, scale = f16, zero = f32>", 2,
                   0, 0xffffffff),
            "'zeros' is nan at [0, 0], expected finite numbers");
  EXPECT_EQ(poison("lut<bits = 3, group = 64, scale = f16>", 2, 2, 0x7f800000),
            "'table' is infinite at [2], expected finite numbers");
  EXPECT_EQ(poison("lut<nf4, group = 64, scale = f32, double_quant = 2>", 4, 0,
                   0x7fc00000),
            "'scale_offset' is nan at [0], expected finite numbers");
  std::string codebook =
      "codebook<books = 2, bits = 10, vector = 8, scale = f16, entry = f16>";
  EXPECT_EQ(poison(codebook, 0, 23, 1024),
            "'codes' is 1024 at [1, 2, 1], but a codebook has 1024 entries");
  EXPECT_EQ(poison(codebook, 0, 23, 1023), "fine");
  EXPECT_EQ(poison(codebook, 1, 9, 0xfc00),
            "'codebooks' is infinite at [0, 1, 1], expected finite numbers");
}
