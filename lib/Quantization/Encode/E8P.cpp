//===- E8P.cpp - Rounding to points of the E8 lattice ---------------------===//
//
// A point is e * m + shift with signs e whose number has the parity of the sum
// of the magnitudes m. For one shift and one m the best signs are those of
// y = x - shift if their parity fits; if not, one has to be flipped, which
// costs 4 |y_j| m_j, least for the smallest product. So the squared distance is
//   |y|^2 + |m|^2 - 2 sum |y_j| m_j + (parity fits ? 0 : 4 min |y_j| m_j),
// taken for all 256 m and both shifts.
//
//===----------------------------------------------------------------------===//
#include "qc/Quantization/E8P.h"

#include "qc/Format/Elements.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

using namespace qc;

namespace {
/// Coordinate by coordinate, for vector instructions over the entries.
struct Magnitudes {
  alignas(64) float value[8][256];
  alignas(64) float norm[256];
  /// 4 where the number of negative coordinates must be odd.
  alignas(64) float odd[256];

  Magnitudes() {
    for (size_t i = 0; i < 256; ++i) {
      norm[i] = 0;
      int sum = 0;
      for (size_t j = 0; j < 8; ++j) {
        int halves = e8pMagnitudes()[i][j];
        value[j][i] = static_cast<float>(halves) / 2;
        norm[i] += value[j][i] * value[j][i];
        sum += halves;
      }
      odd[i] = sum / 2 % 2 ? 4.0f : 0.0f;
    }
  }
};
} // namespace

static const Magnitudes &magnitudes() {
  static const Magnitudes table;
  return table;
}

/// Only the first coordinates count: all codes, one after the other.
static uint16_t nearestOfAll(const float *x, int64_t size) {
  float best = std::numeric_limits<float>::infinity();
  uint16_t result = 0;
  for (uint32_t code = 0; code < 65536; ++code) {
    std::array<int8_t, 8> point = e8pPoint(static_cast<uint16_t>(code));
    float sum = 0;
    for (int64_t j = 0; j < size; ++j) {
      float difference =
          x[j] - static_cast<float>(point[static_cast<size_t>(j)]) / 4;
      sum += difference * difference;
    }
    if (sum < best) {
      best = sum;
      result = static_cast<uint16_t>(code);
    }
  }
  return result;
}

uint16_t qc::nearestE8P(const float *x, int64_t size) {
  if (size < E8PFormat::vector)
    return nearestOfAll(x, size);
  const Magnitudes &m = magnitudes();
  float best = std::numeric_limits<float>::infinity();
  uint16_t result = 0;
  for (bool plus : {false, true}) {
    float y[8], base = 0;
    unsigned negative = 0;
    for (unsigned j = 0; j < 8; ++j) {
      float shifted = x[j] - (plus ? 0.25f : -0.25f);
      negative |= static_cast<unsigned>(shifted < 0) << j;
      y[j] = std::abs(shifted);
      base += y[j] * y[j];
    }
    // cost of a flip = |flip - odd| of 4 and 0.
    float flip = std::popcount(negative) % 2 ? 4.0f : 0.0f;
    alignas(64) float cost[256];
    for (int i = 0; i < 256; ++i) {
      float product = y[0] * m.value[0][i];
      float sum = product, least = product;
      for (int j = 1; j < 8; ++j) {
        product = y[j] * m.value[j][i];
        sum += product;
        least = product < least ? product : least;
      }
      cost[i] = m.norm[i] - 2 * sum + std::abs(flip - m.odd[i]) * least;
    }
    auto index = static_cast<size_t>(std::min_element(cost, cost + 256) - cost);
    if (base + cost[index] >= best)
      continue;
    best = base + cost[index];
    if (m.odd[index] != flip) {
      unsigned smallest = 0;
      for (unsigned j = 1; j < 8; ++j)
        if (y[j] * m.value[j][index] < y[smallest] * m.value[smallest][index])
          smallest = j;
      negative ^= 1u << smallest;
    }
    result = e8pCode(static_cast<uint8_t>(index), plus,
                     static_cast<uint8_t>(negative));
  }
  return result;
}

/// Codes of every `step`-th vector; returns the sum of squared errors.
static double encode(const float *w, int64_t k, float scale, int64_t step,
                     uint16_t *codes) {
  double error = 0;
  float inverse = scale > 0 ? 1 / scale : 0;
  for (int64_t i = 0; i * 8 < k; i += step) {
    int64_t size = std::min<int64_t>(8, k - i * 8);
    float x[8];
    for (int64_t j = 0; j < size; ++j)
      x[j] = w[i * 8 + j] * inverse;
    uint16_t code = nearestE8P(x, size);
    std::array<int8_t, 8> point = e8pPoint(code);
    for (int64_t j = 0; j < size; ++j) {
      double difference = w[i * 8 + j] - static_cast<double>(scale) *
                                             point[static_cast<size_t>(j)] / 4;
      error += difference * difference;
    }
    if (codes)
      codes[i] = code;
  }
  return error;
}

float qc::encodeE8PRow(const float *w, int64_t k, DType type, uint16_t *codes) {
  double square = 0;
  for (int64_t i = 0; i < k; ++i)
    square += static_cast<double>(w[i]) * w[i];
  double start = std::sqrt(square / static_cast<double>(k)) / 1.03;
  float scale = 0;
  double least = std::numeric_limits<double>::infinity();
  // A scale that its type cannot hold is the caller's to reject.
  if (!std::isfinite(roundToType(type, static_cast<float>(start))))
    return std::numeric_limits<float>::infinity();
  // Long rows choose by a part of their vectors.
  int64_t step = std::max<int64_t>(1, k / 8 / 64);
  for (double factor : {1.0, 0.8, 0.87, 0.93, 1.07, 1.14, 1.22, 1.32}) {
    float candidate = roundToType(type, static_cast<float>(start * factor));
    if (!std::isfinite(candidate))
      continue;
    double error = encode(w, k, candidate, step, nullptr);
    if (error < least) {
      least = error;
      scale = candidate;
    }
  }
  encode(w, k, scale, 1, codes);
  return scale;
}
