//===- CodesTest.cpp - Bit streams and packed chunks ----------------------===//
#include "TestWeights.h"

#include "qc/Format/Codes.h"
#include "gtest/gtest.h"

#include <random>

using namespace qc;
using namespace qc::test;

TEST(Codes, BitStreamIsLsbFirst) {
  std::mt19937 random(1);
  for (int bits = 1; bits <= 16; ++bits) {
    const int64_t count = 75;
    std::vector<uint32_t> values(count);
    std::vector<uint8_t> stream(static_cast<size_t>(count * bits + 7) / 8 + 1,
                                0xff);
    for (int64_t i = 0; i < count; ++i) {
      values[static_cast<size_t>(i)] = random() & ((1u << bits) - 1);
      writeBits(stream.data(), i, bits, values[static_cast<size_t>(i)]);
    }
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(readBits(stream.data(), i, bits),
                values[static_cast<size_t>(i)]);
      ASSERT_EQ(bitsOf(stream.data(), i * bits, bits),
                values[static_cast<size_t>(i)]);
    }
    EXPECT_EQ(stream.back(), 0xff) << "wrote past the end";
  }
}

TEST(Codes, BulkRoutinesEqualSingleOnes) {
  std::mt19937 random(2);
  for (int bits = 1; bits <= 8; ++bits)
    for (int64_t count : {1, 7, 8, 9, 31, 64, 172}) {
      std::vector<uint8_t> codes(static_cast<size_t>(count));
      for (uint8_t &code : codes)
        code = static_cast<uint8_t>(random() & ((1u << bits) - 1));
      auto size = static_cast<size_t>((count * bits + 7) / 8);
      std::vector<uint8_t> stream(size + 1, 0xff), single(size);
      packBits(codes.data(), count, bits, stream.data());
      for (int64_t i = 0; i < count; ++i)
        writeBits(single.data(), i, bits, codes[static_cast<size_t>(i)]);
      EXPECT_EQ(stream.back(), 0xff);
      stream.pop_back();
      EXPECT_EQ(stream, single);
      for (int64_t begin : {int64_t(0), count / 3, count - 1}) {
        std::vector<uint8_t> back(static_cast<size_t>(count - begin));
        unpackBits(stream.data(), begin, count, bits, back.data());
        EXPECT_TRUE(
            std::equal(back.begin(), back.end(), codes.begin() + begin));
      }
    }
}

TEST(Codes, PlanesAndChunks) {
  using V = std::vector<int>;
  const V planes[] = {{},     {1},    {2},       {2, 1}, {4},
                      {4, 1}, {4, 2}, {4, 2, 1}, {8}};
  const int64_t chunks[] = {0, 32, 16, 32, 8, 32, 16, 32, 4};
  for (int bits = 1; bits <= 8; ++bits) {
    EXPECT_EQ(codePlanes(bits), planes[bits]);
    EXPECT_EQ(codeChunkK(bits), chunks[bits]);
  }
}

TEST(Codes, PackedChunkAsDocumented) {
  std::mt19937 random(3);
  for (int bits = 1; bits <= 8; ++bits)
    for (int64_t rows : {1, 4, 8, 16})
      for (int64_t chunkK : {codeChunkK(bits), 2 * codeChunkK(bits)}) {
        std::vector<uint8_t> codes(static_cast<size_t>(rows * chunkK));
        for (uint8_t &code : codes)
          code = static_cast<uint8_t>(random() & ((1u << bits) - 1));
        std::vector<uint8_t> chunk(
            static_cast<size_t>(rows * chunkK * bits / 8));
        packCodes(codes.data(), bits, rows, chunkK, chunk.data());
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t f = 0; f < chunkK; ++f)
            ASSERT_EQ(codeInChunk(chunk.data(), bits, rows, chunkK, row, f),
                      codes[static_cast<size_t>(row * chunkK + f)])
                << bits << " bits, row " << row << ", feature " << f;
      }
}

TEST(Codes, PackedChunkByHand) {
  // 4 bits, one row: byte q holds feature q below feature 4 + q.
  const uint8_t four[] = {1, 2, 3, 4, 5, 6, 7, 8};
  uint8_t out[4];
  packCodes(four, 4, 1, 8, out);
  EXPECT_EQ(std::vector<uint8_t>(out, out + 4),
            (std::vector<uint8_t>{0x51, 0x62, 0x73, 0x84}));
}
