//===- Rounding.h - Rounding of codes and scales ----------------*- C++ -*-===//
#ifndef QC_LIB_QUANTIZATION_ENCODE_ROUNDING_H
#define QC_LIB_QUANTIZATION_ENCODE_ROUNDING_H

#include "qc/Format/Elements.h"

#include <cmath>

namespace qc {

/// Round half to even for |x| < 2^22, in any instruction set.
inline float roundEven(float x) {
  constexpr float magic = 0x1.8p23f;
  float shifted = x + magic;
  return shifted - magic;
}

/// The stored type's nearest number, but not zero for a scale that is not:
/// then its smallest subnormal. Infinite if the scale is too large.
inline float roundScale(DType type, float scale) {
  float stored = roundToType(type, scale);
  if (stored == 0 && scale != 0)
    return std::copysign(bitsToFloat(type, 1), scale);
  return stored;
}

/// Stored with less than 5 bits of precision. Codes follow the stored scale, so
/// above that limit the range is off by 3 % at most, which hardly matters.
inline bool isTinyScale(DType type, float scale) {
  return scale != 0 &&
         std::fabs(scale) < (type == DType::F16 ? 0x1p-20f : 0x1p-126f);
}

/// The message when most scales are tiny; nullopt otherwise.
inline std::optional<std::string> checkScales(int64_t tiny, int64_t count) {
  if (2 * tiny <= count)
    return std::nullopt;
  return "weight is too small for its scales: " + std::to_string(tiny) +
         " of " + std::to_string(count) +
         " are near the smallest number of their type, use scale = f32";
}

} // namespace qc

#endif // QC_LIB_QUANTIZATION_ENCODE_ROUNDING_H
