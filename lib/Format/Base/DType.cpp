//===- DType.cpp - Element types and their conversions --------------------===//
//
// IEEE 754 binary16 and bfloat16 by integer arithmetic: the result must not
// depend on the machine, its rounding mode or its compiler flags.
//
//===----------------------------------------------------------------------===//
#include "qc/Format/Format.h"

#include <bit>
#include <cstring>
#include <limits>

using namespace qc;

namespace {
struct DTypeInfo {
  std::string_view name;
  int64_t width;
};
} // namespace

/// In the order of DType.
static constexpr DTypeInfo dtypes[] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4},
    {"I16", 2}, {"I8", 1},  {"U8", 1},  {"U16", 2},  {"BOOL", 1}};

int64_t qc::byteWidth(DType type) { return dtypes[int(type)].width; }

std::string_view qc::dtypeName(DType type) { return dtypes[int(type)].name; }

std::optional<DType> qc::parseDType(std::string_view name) {
  for (size_t i = 0; i < std::size(dtypes); ++i)
    if (dtypes[i].name == name)
      return static_cast<DType>(i);
  return std::nullopt;
}

float qc::halfToFloat(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 31;
  uint32_t mantissa = bits & 0x3ff;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    // mantissa * 2^-24, exact in f32.
    float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

/// value >> shift, rounded to nearest even; 0 < shift < 32.
static uint32_t shiftRoundEven(uint32_t value, int shift) {
  uint32_t half = uint32_t(1) << (shift - 1);
  uint32_t odd = value >> shift & 1;
  return (value + half - 1 + odd) >> shift;
}

uint16_t qc::floatToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = bits >> 16 & 0x8000;
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) // quiet NaN with the top of the payload
    return sign | 0x7e00 | (magnitude >> 13 & 0x3ff);
  if (magnitude >= 0x47800000) // 2^16 and above, infinity
    return sign | 0x7c00;
  if (magnitude >= 0x38800000) // 2^-14: normal; the carry may reach infinity
    return sign | (shiftRoundEven(magnitude, 13) - (112 << 10));
  int shift = 126 - static_cast<int>(magnitude >> 23);
  if (shift > 25) // below half of the smallest subnormal
    return sign;
  return sign | shiftRoundEven((magnitude & 0x7fffff) | 0x800000, shift);
}

float qc::bfloatToFloat(uint16_t bits) {
  return std::bit_cast<float>(uint32_t(bits) << 16);
}

uint16_t qc::floatToBfloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return bits >> 16 | 0x40;
  return static_cast<uint16_t>((uint64_t(bits) + 0x7fff + (bits >> 16 & 1)) >>
                               16);
}

int64_t TensorSpec::numElements() const {
  // Saturates, so that a nonsensical shape read from a file cannot wrap round
  // to a small number; numBytes() stays in range.
  constexpr int64_t limit = std::numeric_limits<int64_t>::max() / 8;
  int64_t count = 1;
  for (int64_t size : shape)
    if (size == 0)
      return 0;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count) ||
        count > limit)
      return limit;
  return count;
}

template <typename T>
static T load(const uint8_t *data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)),
              sizeof(T));
  return value;
}

double TensorView::at(int64_t index) const {
  switch (spec.type) {
  case DType::F64:
    return load<double>(data, index);
  case DType::F32:
    return load<float>(data, index);
  case DType::F16:
    return halfToFloat(load<uint16_t>(data, index));
  case DType::BF16:
    return bfloatToFloat(load<uint16_t>(data, index));
  case DType::I64:
    return static_cast<double>(load<int64_t>(data, index));
  case DType::I32:
    return load<int32_t>(data, index);
  case DType::I16:
    return load<int16_t>(data, index);
  case DType::U16:
    return load<uint16_t>(data, index);
  case DType::I8:
    return load<int8_t>(data, index);
  case DType::U8:
  case DType::Bool:
    return data[index];
  }
  return 0;
}
