//===- Encode.cpp - What all encoders share -------------------------------===//
#include "qc/Quantization/Encode.h"

#include "qc/Format/Elements.h"

#include <algorithm>
#include <array>
#include <cmath>

using namespace qc;

HostWeight qc::allocateWeight(const Format &format, int64_t n, int64_t k) {
  HostWeight weight{n, k, {}};
  for (const TensorSpec &spec : format.components(n, k))
    weight.components.emplace_back(spec);
  return weight;
}

std::optional<std::string> qc::checkWeight(const float *w, int64_t k,
                                           RowRange rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    // 0 x is 0 but for what is not finite; without a branch for each number.
    std::array<float, 16> zeros = {};
    int64_t whole = k / 16 * 16;
    for (int64_t i = 0; i < whole; i += 16)
      for (int64_t j = 0; j < 16; ++j)
        zeros[static_cast<size_t>(j)] += w[row * k + i + j] * 0.0f;
    if (whole == k &&
        std::ranges::all_of(zeros, [](float zero) { return zero == 0; }))
      continue;
    for (int64_t i = 0; i < k; ++i)
      if (float value = w[row * k + i]; !std::isfinite(value))
        return std::string("weight is ") +
               (std::isnan(value) ? "nan" : "infinite") + " at row " +
               std::to_string(row) + ", column " + std::to_string(i) +
               ", expected finite numbers";
  }
  return std::nullopt;
}

double qc::relativeError(const Format &format, const HostWeight &weight,
                         const float *w) {
  Components views = weight.views();
  std::vector<double> row(static_cast<size_t>(weight.k));
  double error = 0, total = 0;
  for (int64_t r = 0; r < weight.n; ++r) {
    format.decodeRow(views, weight.n, weight.k, r, row.data());
    for (int64_t i = 0; i < weight.k; ++i) {
      double value = w[r * weight.k + i];
      double difference = value - row[static_cast<size_t>(i)];
      error += difference * difference;
      total += value * value;
    }
  }
  return total == 0 ? 0 : std::sqrt(error / total);
}

bool qc::encodeFloat(const FloatFormat &format, const float *w, int64_t n,
                     int64_t k, HostWeight &out, std::string &error) {
  if (auto problem = checkWeight(w, k, {0, n})) {
    error = *problem;
    return false;
  }
  out = allocateWeight(format, n, k);
  uint8_t *data = out.components[0].bytes.data();
  for (int64_t i = 0; i < n * k; ++i) {
    uint32_t bits = floatToBits(format.type, w[i]);
    if (!std::isfinite(bitsToFloat(format.type, bits))) {
      error = "weight " + std::to_string(w[i]) + " at row " +
              std::to_string(i / k) + ", column " + std::to_string(i % k) +
              " does not fit " + format.spelling();
      return false;
    }
    storeBits(format.type, data, i, bits);
  }
  return true;
}
