//===- Elements.h - Float elements of component tensors ---------*- C++ -*-===//
//
// Loads and stores of single elements of F32, F16 and BF16 tensors, without
// alignment promise. Other types are a programming error and read as zero.
//
//===----------------------------------------------------------------------===//
#ifndef QC_FORMAT_ELEMENTS_H
#define QC_FORMAT_ELEMENTS_H

#include "qc/Format/Format.h"

#include <bit>
#include <cstring>

namespace qc {

/// Bit pattern of the element: 16 or 32 bits wide.
inline uint32_t loadBits(DType type, const uint8_t *data, int64_t index) {
  if (byteWidth(type) == 2) {
    uint16_t bits;
    std::memcpy(&bits, data + 2 * index, 2);
    return bits;
  }
  uint32_t bits;
  std::memcpy(&bits, data + 4 * index, 4);
  return bits;
}

inline void storeBits(DType type, uint8_t *data, int64_t index, uint32_t bits) {
  auto half = static_cast<uint16_t>(bits);
  if (byteWidth(type) == 2)
    std::memcpy(data + 2 * index, &half, 2);
  else
    std::memcpy(data + 4 * index, &bits, 4);
}

/// The value of a bit pattern, exact.
inline float bitsToFloat(DType type, uint32_t bits) {
  if (type == DType::F16)
    return halfToFloat(static_cast<uint16_t>(bits));
  if (type == DType::BF16)
    return bfloatToFloat(static_cast<uint16_t>(bits));
  return type == DType::F32 ? std::bit_cast<float>(bits) : 0.0f;
}

/// The bit pattern nearest to `value`, ties to even.
inline uint32_t floatToBits(DType type, float value) {
  if (type == DType::F16)
    return floatToHalf(value);
  if (type == DType::BF16)
    return floatToBfloat(value);
  return std::bit_cast<uint32_t>(value);
}

inline float loadFloat(DType type, const uint8_t *data, int64_t index) {
  return bitsToFloat(type, loadBits(type, data, index));
}

inline void storeFloat(DType type, uint8_t *data, int64_t index, float value) {
  storeBits(type, data, index, floatToBits(type, value));
}

/// `value` as it will be read back after being stored as `type`.
inline float roundToType(DType type, float value) {
  return bitsToFloat(type, floatToBits(type, value));
}

/// The first element of a float tensor that is infinite or NaN, in one line
/// ("'scales' is nan at [3, 1]"); nullopt if all are finite.
std::optional<std::string> checkFinite(const TensorView &tensor);

} // namespace qc

#endif // QC_FORMAT_ELEMENTS_H
