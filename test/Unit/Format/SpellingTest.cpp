//===- SpellingTest.cpp - Textual forms, good and bad ---------------------===//
#include "qc/Format/Codebook.h"
#include "qc/Format/Float.h"
#include "qc/Format/Grouped.h"
#include "qc/Format/LUT.h"
#include "gtest/gtest.h"

using namespace qc;

TEST(Spelling, RoundTrips) {
  for (const char *text :
       {"float<f32>", "float<f16>", "float<bf16>",
        "grouped<bits = 4, group = 64, scale = f16>",
        "grouped<bits = 8, group = channel, scale = f32>",
        "grouped<bits = 1, group = 7, scale = bf16, zero = int>",
        "grouped<bits = 3, group = 128, scale = f32, zero = f16>",
        "grouped<bits = 2, group = 16, scale = f16, zero = f32>",
        "lut<nf4, group = 64, scale = f32>",
        "lut<fp4, group = channel, scale = bf16>",
        "lut<nf4, group = 64, scale = f32, double_quant = 256>",
        "lut<bits = 8, group = 32, scale = f16>",
        "codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = "
        "f32>",
        "e8p<scale = bf16>"}) {
    std::string error;
    auto format = parseFormat(text, error);
    ASSERT_TRUE(format) << error;
    EXPECT_EQ(format->spelling(), text);
    EXPECT_EQ(error, "");
  }
}

TEST(Spelling, ConstructorsSayTheSame) {
  using Zero = GroupedFormat::Zero;
  EXPECT_EQ(FloatFormat(DType::BF16).spelling(), "float<bf16>");
  EXPECT_EQ(GroupedFormat(3, 0, DType::F16, Zero::Int).spelling(),
            "grouped<bits = 3, group = channel, scale = f16, zero = int>");
  EXPECT_EQ(LUTFormat(LUTFormat::Table::NF4, 4, 64, DType::F32, 256).spelling(),
            "lut<nf4, group = 64, scale = f32, double_quant = 256>");
  EXPECT_EQ(CodebookFormat(1, 16, 8, DType::F16, DType::F16).spelling(),
            "codebook<books = 1, bits = 16, vector = 8, scale = f16, entry = "
            "f16>");
}

TEST(Spelling, SpaceOrderAndZeroGroupAreFree) {
  std::string error;
  auto format = parseFormat(" grouped < scale=f16,bits=4 ,group=0> ", error);
  ASSERT_TRUE(format) << error;
  EXPECT_EQ(format->spelling(),
            "grouped<bits = 4, group = channel, scale = f16>");
}

TEST(Spelling, EachMistakeHasItsMessage) {
  const std::pair<const char *, const char *> cases[] = {
      {"", "expected the name of a format, found the end"},
      {"<f32>", "expected the name of a format, found '<'"},
      {"float", "expected '<' after 'float', found the end"},
      {"float[f32]", "expected '<' after 'float', found '['"},
      {"float<>", "expected a value, found '>'"},
      {"float<f32", "expected ',' or '>', found the end"},
      {"float<f32>x", "expected the end after '>', found 'x'"},
      {"float<f64>", "type must be f32, f16 or bf16, found 'f64'"},
      {"float<f32, f16>", "unexpected value 'f16'"},
      {"float<f32, bits = 3>", "unknown parameter 'bits'"},
      {"mxfp4<f32>",
       "unknown format, known are codebook e8p float grouped lut"},
      {"grouped<group = 64, scale = f16>", "parameter 'bits' is missing"},
      {"grouped<bits = 4, scale = f16>", "parameter 'group' is missing"},
      {"grouped<bits = 4, group = 64>", "parameter 'scale' is missing"},
      {"grouped<bits = 9, group = 64, scale = f16>",
       "bits must lie in [1, 8], found 9"},
      {"grouped<bits = 0, group = 64, scale = f16>",
       "bits must lie in [1, 8], found 0"},
      {"grouped<bits = four, group = 64, scale = f16>",
       "bits must be an integer, found 'four'"},
      {"grouped<bits = 99999999999999999999, group = 64, scale = f16>",
       "bits must lie in [1, 8], found 99999999999999999999"},
      {"grouped<bits = , group = 64, scale = f16>",
       "expected a value for 'bits', found ','"},
      {"grouped<bits = 4, bits = 4, group = 64, scale = f16>",
       "parameter 'bits' is given twice"},
      {"grouped<bits = 4, group = -1, scale = f16>",
       "group must lie in [0, 2147483647], found -1"},
      {"grouped<bits = 4, group = row, scale = f16>",
       "group must be an integer, found 'row'"},
      {"grouped<bits = 4, group = 64, scale = f64>",
       "scale must be f32, f16 or bf16, found 'f64'"},
      {"grouped<bits = 4, group = 64, scale = f16, zero = bf16>",
       "zero must be int, f16 or f32, found 'bf16'"},
      {"grouped<bits = 4, group = 64, scale = f16, sym = 1>",
       "unknown parameter 'sym'"},
      {"lut<nf3, group = 64, scale = f16>",
       "table must be nf4, fp4 or 'bits = b', found 'nf3'"},
      {"lut<group = 64, scale = f16>", "parameter 'bits' is missing"},
      {"lut<nf4, bits = 4, group = 64, scale = f16>",
       "unknown parameter 'bits'"},
      {"lut<nf4, group = 64, scale = f16, double_quant = 256>",
       "double_quant needs scale = f32, found f16"},
      {"lut<nf4, group = 64, scale = f32, double_quant = 0>",
       "double_quant must lie in [1, 2147483647], found 0"},
      {"codebook<books = 9, bits = 8, vector = 8, scale = f16, entry = f16>",
       "books must lie in [1, 8], found 9"},
      {"codebook<books = 1, bits = 17, vector = 8, scale = f16, entry = f16>",
       "bits must lie in [1, 16], found 17"},
      {"codebook<books = 1, bits = 8, vector = 65, scale = f16, entry = f16>",
       "vector must lie in [1, 64], found 65"},
      {"codebook<books = 1, bits = 8, vector = 8, scale = f16, entry = u8>",
       "entry must be f32, f16 or bf16, found 'u8'"},
  };
  for (auto [text, message] : cases) {
    std::string error;
    EXPECT_FALSE(parseFormat(text, error)) << text;
    EXPECT_EQ(error, "format '" + std::string(text) + "': " + message);
  }
}

TEST(Spelling, MessagesAreOnePrintableLine) {
  std::string error;
  std::string hostile = "float<\n\x01" + std::string(5000, 'x');
  EXPECT_FALSE(parseFormat(hostile, error));
  EXPECT_LT(error.size(), 400u);
  for (char c : error)
    EXPECT_TRUE(c >= ' ' && c <= '~');
}
