//===- E8P.h - Vectors of eight from the E8 lattice -------------*- C++ -*-===//
#ifndef QC_FORMAT_E8P_H
#define QC_FORMAT_E8P_H

#include "qc/Format/Format.h"

#include <array>

namespace qc {

/// e8p<scale = f16|bf16|f32>
///
///   w[row, 8 i + j] = scale[row] * e8pPoint(codes[row, i])[j]
///
/// The codebook of QuIP# (Tseng et al., arXiv 2402.04396), 16 bits for eight
/// weights, without its rotation. Eight need not divide k: the end of a row's
/// last vector is unused.
///
/// Components:
///   codes   u16 [n, ceil(k/8)]
///   scales  scale [n]
///
/// Four times a coordinate is an odd integer in [-11, 11], so that kernels of
/// `int8` arithmetic are exact.
///
/// Packed: the row header is the scales of the rows in f32; K blocks of 128
/// inputs have no parameters. A chunk is four vectors of inputs: first the
/// indices of magnitudes, vector q of row r in byte codeByte(r, q), then in the
/// same order the signs: bit j is set where coordinate j is negative before the
/// shift, and bit 7 is inverted where the shift is +1/4. The shift is then the
/// parity of those eight bits and of the coordinates of magnitude 3/2. The
/// header holds tables, see the offsets below.
class E8PFormat final : public Format {
public:
  const DType scale;

  explicit E8PFormat(DType scale) : scale(scale) {}

  static constexpr int64_t vector = 8;
  static int64_t numVectors(int64_t k) { return (k + vector - 1) / vector; }

  std::string spelling() const override;
  std::optional<std::string> check(int64_t n, int64_t k) const override;
  std::vector<TensorSpec> components(int64_t n, int64_t k) const override;
  void decodeRow(const Components &c, int64_t n, int64_t k, int64_t row,
                 double *out) const override;
  std::optional<std::string> checkValues(const Components &c, int64_t n,
                                         int64_t k) const override;
  PackedLayout packedLayout(int64_t n, int64_t k, int64_t rows) const override;
  void packHeader(const Components &c, const PackedLayout &layout,
                  uint8_t *out) const override;
  void packRowBlock(const Components &c, const PackedLayout &layout,
                    int64_t block, uint8_t *out) const override;
  /// Every code, and a row for each scale.
  HostWeight exhaustiveWeight(bool quick) const override;

  /// Byte of vector q of row r in each half of a chunk: in vector registers
  /// bytes of four rows are transposed, so that interleaving four registers of
  /// coordinates puts those of a row into its lane.
  static int64_t codeByte(int64_t rows, int64_t r, int64_t q) {
    return rows <= 16 && rows % 4 == 0 ? r / 4 * 16 + 4 * q + r % 4 : 4 * r + q;
  }

  /// Kernels multiply unsigned integers of four bits:
  ///   coordinate = step * (integer - zero)
  ///   integer = 8 (1 - n) + 4 (f ^ n) + 2 (t ^ n) + p
  /// where n, t, f, p are 1 for negative before the shift, magnitude 3/2, 5/2
  /// and a shift of +1/4. So the bits are sums modulo 2 of those of the signs
  /// and of the magnitudes.
  static constexpr double zero = 7.5, step = 0.5;

  /// Byte offsets in the header. For each index of magnitudes a byte whose bit
  /// j says that magnitude j is 3/2; the same for 5/2.
  static constexpr int64_t threesOffset = 0, fivesOffset = 256;
  /// 32-bit words of the eight integers, 0 and 4 in the low byte and so on:
  /// word(index of magnitudes) ^ word(signs).
  static constexpr int64_t indexWordsOffset = 512, signWordsOffset = 1536;
  static constexpr int64_t tablesEnd = 2560;
};

/// Magnitudes in halves (1, 3 or 5).
using E8PMagnitudes = std::array<uint8_t, 8>;

/// The 256 vectors of magnitudes, in the order of their indices.
const std::array<E8PMagnitudes, 256> &e8pMagnitudes();

/// The coordinates of a code in quarters. The upper byte is the index of the
/// magnitudes, the lower one says signs and shift, as published.
std::array<int8_t, 8> e8pPoint(uint16_t code);

/// The code of an index of magnitudes, a shift and signs: bit j for coordinate
/// j; the lattice asks for an even number of signs where the sum of the
/// magnitudes is even, an odd one where it is odd.
uint16_t e8pCode(uint8_t index, bool plus, uint8_t negative);

} // namespace qc

#endif // QC_FORMAT_E8P_H
