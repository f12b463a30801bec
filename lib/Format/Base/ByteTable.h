//===- ByteTable.h - Tables in 8 bits ---------------------------*- C++ -*-===//
#ifndef QC_LIB_FORMAT_BASE_BYTETABLE_H
#define QC_LIB_FORMAT_BASE_BYTETABLE_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace qc {

/// Entries in steps of max |entry| / 127, plus 128: what integer dot products
/// of unsigned weights with signed activations read.
struct ByteTable {
  std::vector<uint8_t> codes;
  float step = 0;

  template <typename Entry>
  ByteTable(int64_t count, Entry entry) {
    float top = 0;
    for (int64_t i = 0; i < count; ++i)
      top = std::max(top, std::abs(entry(i)));
    step = top / 127;
    codes.assign(static_cast<size_t>(count), 128);
    if (step > 0)
      for (int64_t i = 0; i < count; ++i)
        codes[static_cast<size_t>(i)] = static_cast<uint8_t>(
            128 + std::clamp(static_cast<int>(std::lround(entry(i) / step)),
                             -127, 127));
  }
  double value(int64_t i) const {
    return static_cast<double>(step) * (codes[static_cast<size_t>(i)] - 128);
  }
};

} // namespace qc

#endif // QC_LIB_FORMAT_BASE_BYTETABLE_H
