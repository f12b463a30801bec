//===- Codes.cpp - Bit streams and packed chunks of small codes -----------===//
#include "qc/Format/Codes.h"
#include "qc/Format/Format.h"

#include <algorithm>
#include <cstring>

using namespace qc;

std::vector<int> qc::codePlanes(int bits) {
  std::vector<int> planes;
  for (int width : {8, 4, 2, 1})
    if (bits & width)
      planes.push_back(width);
  return planes;
}

int64_t qc::codeChunkK(int bits) { return 32 / (bits & -bits); }

void qc::packCodes(const uint8_t *codes, int bits, int64_t rows, int64_t chunkK,
                   uint8_t *out) {
  int shift = 0;
  for (int width : codePlanes(bits)) {
    // Four codes at a time: byte q of a 32-bit word is feature ... + q. Masking
    // after the shift drops the bits that crossed a byte border.
    uint32_t mask = ((1u << width) - 1) * 0x01010101u;
    int64_t span = 32 / width;
    for (int64_t first = 0; first < chunkK; first += span)
      for (int64_t row = 0; row < rows; ++row) {
        uint32_t word = 0;
        const uint8_t *from = codes + row * chunkK + first;
        for (int64_t j = 0; j < span / 4; ++j) {
          uint32_t four;
          std::memcpy(&four, from + 4 * j, 4);
          word |= (four >> shift & mask) << (width * j);
        }
        std::memcpy(out, &word, 4);
        out += 4;
      }
    shift += width;
  }
}

uint32_t qc::readBits(const uint8_t *data, int64_t index, int bits) {
  int64_t first = index * bits;
  uint32_t value = 0;
  for (int got = 0; got < bits;) {
    int64_t at = first + got;
    int offset = static_cast<int>(at & 7);
    int take = std::min(8 - offset, bits - got);
    uint32_t part = data[at >> 3] >> offset & ((1u << take) - 1);
    value |= part << got;
    got += take;
  }
  return value;
}

void qc::writeBits(uint8_t *data, int64_t index, int bits, uint32_t value) {
  int64_t first = index * bits;
  for (int done = 0; done < bits;) {
    int64_t at = first + done;
    int offset = static_cast<int>(at & 7);
    int take = std::min(8 - offset, bits - done);
    uint32_t mask = ((1u << take) - 1) << offset;
    uint8_t &byte = data[at >> 3];
    byte = static_cast<uint8_t>((byte & ~mask) |
                                ((value >> done) << offset & mask));
    done += take;
  }
}

void qc::unpackBits(const uint8_t *data, int64_t begin, int64_t end, int bits,
                    uint8_t *out) {
  if (bits == 8) {
    std::memcpy(out, data + begin, static_cast<size_t>(end - begin));
    return;
  }
  int64_t i = begin;
  for (; i < end && i % 8; ++i)
    *out++ = static_cast<uint8_t>(readBits(data, i, bits));
  // Eight codes are `bits` whole bytes.
  uint64_t mask = (uint64_t(1) << bits) - 1;
  // Compilers make vectors of this.
  if (bits == 4) {
    int64_t pairs = std::max<int64_t>(0, end - i) / 2;
    const uint8_t *bytes = data + i / 2;
    for (int64_t j = 0; j < pairs; ++j) {
      out[2 * j] = bytes[j] & 15;
      out[2 * j + 1] = bytes[j] >> 4;
    }
    out += 2 * pairs;
    i += 2 * pairs;
  }
  for (; i + 8 <= end; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + i / 8 * bits, static_cast<size_t>(bits));
    for (int j = 0; j < 8; ++j)
      *out++ = static_cast<uint8_t>(word >> (j * bits) & mask);
  }
  for (; i < end; ++i)
    *out++ = static_cast<uint8_t>(readBits(data, i, bits));
}

void qc::packBits(const uint8_t *codes, int64_t count, int bits, uint8_t *out) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    uint64_t word = 0;
    for (int j = 0; j < 8; ++j)
      word |= static_cast<uint64_t>(codes[i + j]) << (j * bits);
    std::memcpy(out + i / 8 * bits, &word, static_cast<size_t>(bits));
  }
  if (i == count)
    return;
  std::memset(out + i / 8 * bits, 0,
              static_cast<size_t>(((count - i) * bits + 7) / 8));
  for (; i < count; ++i)
    writeBits(out, i, bits, codes[i]);
}
