//===- TestWeights.h - Random weights and layouts read again ----*- C++ -*-===//
//
// Written from the documentation of Format.h and of each format, sharing no
// code with the library: bit by bit, in double.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TEST_UNIT_FORMAT_TESTWEIGHTS_H
#define QC_TEST_UNIT_FORMAT_TESTWEIGHTS_H

#include "qc/Format/Format.h"

namespace qc::test {

/// Bits [first, first + count) of an LSB-first stream.
inline uint32_t bitsOf(const uint8_t *data, int64_t first, int count) {
  uint32_t value = 0;
  for (int64_t i = 0; i < count; ++i)
    value |= uint32_t(data[(first + i) / 8] >> (first + i) % 8 & 1) << i;
  return value;
}

/// The code of (row, feature) in a chunk as packCodes() documents it.
inline uint32_t codeInChunk(const uint8_t *chunk, int bits, int64_t rows,
                            int64_t chunkK, int64_t row, int64_t feature) {
  static const std::vector<int> planes[] = {
      {}, {1}, {2}, {2, 1}, {4}, {4, 1}, {4, 2}, {4, 2, 1}, {8}};
  uint32_t code = 0;
  int low = 0;
  for (int width : planes[bits]) {
    int64_t span = 32 / width, reg = feature / span;
    int64_t j = feature % span / 4, q = feature % 4;
    uint32_t byte = chunk[reg * 4 * rows + 4 * row + q];
    code |= (byte >> (j * width) & ((1u << width) - 1)) << low;
    chunk += rows * chunkK * width / 8;
    low += width;
  }
  return code;
}

/// A spelling, taken apart once more.
struct Oracle {
  std::string kind, scale = "f32", zero, entry;
  int64_t bits = 0, group = 0, books = 0, vector = 1, doubleQuant = 0;
  bool nf4 = false, fp4 = false;

  explicit Oracle(const Format &format);

  /// Random components that are valid for the format: codes of all values,
  /// scales and zero points of moderate size and both signs.
  HostWeight randomWeight(const Format &format, int64_t n, int64_t k,
                          uint32_t seed) const;

  /// Weight (row, feature) from the components, by the published formula.
  double fromComponents(const HostWeight &weight, int64_t row,
                        int64_t feature) const;
  /// The same from a packed blob.
  double fromPacked(const PackedLayout &layout, const uint8_t *blob,
                    int64_t row, int64_t feature) const;

private:
  double affine(double q, double factor, const uint8_t *point) const;
  double tableEntry(uint32_t q) const;
};

} // namespace qc::test

#endif // QC_TEST_UNIT_FORMAT_TESTWEIGHTS_H
