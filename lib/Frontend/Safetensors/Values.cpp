//===- Values.cpp - Float values of stored tensors ------------------------===//
#include "qc/Frontend/Json.h"
#include "qc/Frontend/Safetensors.h"

#include <cmath>
#include <cstring>

using namespace qc;

bool qc::isFloat(DType type) {
  return type == DType::F64 || type == DType::F32 || type == DType::F16 ||
         type == DType::BF16;
}

template <typename T, typename Convert>
static void convert(const uint8_t *data, int64_t begin,
                    llvm::MutableArrayRef<float> out, Convert toFloat) {
  const uint8_t *from = data + begin * static_cast<int64_t>(sizeof(T));
  for (float &value : out) {
    T bits;
    std::memcpy(&bits, from, sizeof(T));
    from += sizeof(T);
    value = toFloat(bits);
  }
}

void qc::toFloat(const TensorView &tensor, int64_t begin,
                 llvm::MutableArrayRef<float> out) {
  if (out.empty())
    return;
  switch (tensor.spec.type) {
  case DType::F64:
    return convert<double>(tensor.data, begin, out,
                           [](double v) { return static_cast<float>(v); });
  case DType::F32:
    std::memcpy(out.data(), tensor.data + 4 * begin, 4 * out.size());
    return;
  case DType::F16:
    return convert<uint16_t>(tensor.data, begin, out, halfToFloat);
  case DType::BF16:
    // Not bfloatToFloat: inline, so that the loop is vectorized.
    return convert<uint16_t>(tensor.data, begin, out, [](uint16_t bits) {
      uint32_t wide = uint32_t(bits) << 16;
      float value;
      std::memcpy(&value, &wide, 4);
      return value;
    });
  default:
    for (float &value : out)
      value = static_cast<float>(tensor.at(begin++));
  }
}

/// Not finite means: all bits of the exponent are set. The inner loop has no
/// branch, so that it is vectorized.
template <typename T>
static std::optional<int64_t> findExponent(const uint8_t *data, int64_t count,
                                           T exponent) {
  constexpr int64_t block = 4096;
  for (int64_t start = 0; start < count; start += block) {
    int64_t end = std::min(start + block, count);
    T any = 0;
    for (int64_t i = start; i < end; ++i) {
      T bits;
      std::memcpy(&bits, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
      any |= static_cast<T>((bits & exponent) == exponent);
    }
    if (!any)
      continue;
    for (int64_t i = start; i < end; ++i) {
      T bits;
      std::memcpy(&bits, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
      if ((bits & exponent) == exponent)
        return i;
    }
  }
  return std::nullopt;
}

std::optional<int64_t> qc::findNonFinite(const TensorView &tensor) {
  int64_t count = tensor.spec.numElements();
  switch (tensor.spec.type) {
  case DType::F64:
    return findExponent<uint64_t>(tensor.data, count,
                                  uint64_t(0x7ff0'0000'0000'0000));
  case DType::F32:
    return findExponent<uint32_t>(tensor.data, count, 0x7f80'0000u);
  case DType::F16:
    return findExponent<uint16_t>(tensor.data, count, 0x7c00);
  case DType::BF16:
    return findExponent<uint16_t>(tensor.data, count, 0x7f80);
  default:
    return std::nullopt;
  }
}

llvm::Error qc::checkFinite(const SafetensorsFile &file,
                            const SafetensorsTensor &tensor) {
  std::optional<int64_t> bad = findNonFinite(tensor.view());
  if (!bad)
    return llvm::Error::success();
  std::string place;
  int64_t rest = *bad;
  for (size_t i = tensor.spec.shape.size(); i-- > 0;) {
    place = std::to_string(rest % tensor.spec.shape[i]) +
            (place.empty() ? "" : ", ") + place;
    rest /= tensor.spec.shape[i];
  }
  bool nan = std::isnan(tensor.view().at(*bad));
  return makeError(file.path(), ": tensor ", quote(tensor.spec.name), " is ",
                   nan ? "NaN" : "infinite", " at [", place,
                   "], expected finite numbers");
}
