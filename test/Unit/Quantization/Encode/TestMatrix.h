//===- TestMatrix.h - Matrices for encoder tests ----------------*- C++ -*-===//
#ifndef QC_TEST_UNIT_QUANTIZATION_ENCODE_TESTMATRIX_H
#define QC_TEST_UNIT_QUANTIZATION_ENCODE_TESTMATRIX_H

#include "qc/Format/Format.h"

#include <random>
#include <vector>

namespace qc::test {

/// Normally distributed, by a sum of 12 uniform numbers: the same everywhere.
inline std::vector<float> normalMatrix(int64_t count, float deviation,
                                       uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> w(static_cast<size_t>(count));
  for (float &x : w) {
    double sum = -6;
    for (int i = 0; i < 12; ++i)
      sum += random() * 0x1p-32;
    x = static_cast<float>(sum) * deviation;
  }
  return w;
}

inline std::vector<double> decode(const Format &format, const HostWeight &w) {
  std::vector<double> out(static_cast<size_t>(w.n * w.k));
  Components views = w.views();
  for (int64_t row = 0; row < w.n; ++row)
    format.decodeRow(views, w.n, w.k, row, out.data() + row * w.k);
  return out;
}

inline bool sameComponents(const HostWeight &a, const HostWeight &b) {
  for (size_t i = 0; i < a.components.size(); ++i)
    if (a.components[i].bytes != b.components[i].bytes)
      return false;
  return a.components.size() == b.components.size();
}

} // namespace qc::test

#endif // QC_TEST_UNIT_QUANTIZATION_ENCODE_TESTMATRIX_H
