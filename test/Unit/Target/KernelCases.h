//===- KernelCases.h - Formats, shapes and weights of kernel tests -*- C++ -*-//
#ifndef QC_TEST_UNIT_TARGET_KERNELCASES_H
#define QC_TEST_UNIT_TARGET_KERNELCASES_H

#include "qc/Format/Format.h"

#include <cmath>
#include <cstring>
#include <random>

namespace qc::test {

inline const char *const formats[] = {
    "float<f32>",
    "float<f16>",
    "float<bf16>",
    "grouped<bits = 1, group = 32, scale = f16>",
    "grouped<bits = 2, group = 64, scale = f16>",
    "grouped<bits = 2, group = 16, scale = f32, zero = int>",
    "grouped<bits = 3, group = 32, scale = f16, zero = f16>",
    "grouped<bits = 3, group = 128, scale = bf16>",
    "grouped<bits = 4, group = 32, scale = f16>",
    "grouped<bits = 4, group = 64, scale = f16, zero = int>",
    "grouped<bits = 4, group = 10, scale = f16>",
    "grouped<bits = 4, group = channel, scale = f16>",
    "grouped<bits = 5, group = 64, scale = f16>",
    "grouped<bits = 6, group = 64, scale = f16, zero = int>",
    "grouped<bits = 7, group = 64, scale = f16>",
    "grouped<bits = 8, group = 128, scale = f16, zero = int>",
    "grouped<bits = 8, group = channel, scale = f32>",
    "grouped<bits = 8, group = 300, scale = f32, zero = f32>",
    "lut<nf4, group = 64, scale = f32>",
    "lut<fp4, group = 32, scale = f16>",
    "lut<nf4, group = 64, scale = f32, double_quant = 256>",
    "lut<bits = 3, group = 48, scale = f16>",
    "lut<bits = 8, group = 64, scale = f16>",
    "lut<bits = 6, group = 32, scale = f16>",
    "codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>",
    "codebook<books = 1, bits = 12, vector = 4, scale = f32, entry = f32>",
    "codebook<books = 3, bits = 5, vector = 6, scale = f16, entry = f32>",
    "codebook<books = 2, bits = 7, vector = 12, scale = f16, entry = f16>",
};

struct Shape {
  int64_t n, k;
};
// 1xN, odd K, K not a multiple of the group, N not a multiple of the tile.
inline const Shape shapes[] = {{1, 64}, {17, 33}, {5, 1}, {50, 172}, {16, 256}};

/// A weight with random components whose numbers are moderate.
inline HostWeight randomWeight(const Format &format, int64_t n, int64_t k,
                               std::mt19937 &rng) {
  HostWeight weight;
  weight.n = n;
  weight.k = k;
  std::normal_distribution<float> normal(0, 1);
  int64_t entries = 256; // of a codebook
  for (const TensorSpec &spec : format.components(n, k))
    if (spec.name == "codebooks")
      entries = spec.shape[1];
  for (const TensorSpec &spec : format.components(n, k)) {
    Tensor tensor(spec);
    for (int64_t i = 0; i < spec.numElements(); ++i) {
      uint8_t *at = tensor.bytes.data() + i * byteWidth(spec.type);
      float value = normal(rng);
      // Scales are positive; one of a hundred is subnormal in f16.
      if (spec.name == "scales" || spec.name == "scale_absmax")
        value = rng() % 100 ? std::abs(value) * 0.05f + 0.001f : 3e-8f;
      if (spec.name == "zeros")
        value = std::abs(value) * 3;
      switch (spec.type) {
      case DType::F32:
        std::memcpy(at, &value, 4);
        break;
      case DType::F16: {
        uint16_t bits = floatToHalf(value);
        std::memcpy(at, &bits, 2);
        break;
      }
      case DType::BF16: {
        uint16_t bits = floatToBfloat(value);
        std::memcpy(at, &bits, 2);
        break;
      }
      case DType::U16: {
        auto code = static_cast<uint16_t>(rng() % entries);
        std::memcpy(at, &code, 2);
        break;
      }
      default:
        *at =
            static_cast<uint8_t>(rng() % (spec.name == "zeros" ? 16 : entries));
      }
    }
    weight.components.push_back(std::move(tensor));
  }
  return weight;
}

inline std::vector<uint8_t> packed(const Format &format,
                                   const HostWeight &weight, int64_t rows) {
  PackedLayout layout = format.packedLayout(weight.n, weight.k, rows);
  std::vector<uint8_t> blob(static_cast<size_t>(layout.totalBytes()));
  format.pack(weight.views(), layout, blob.data());
  return blob;
}

inline bool hasIntegerCodes(const std::string &format) {
  // Codebooks of 6 values do not fill 4-byte words.
  return format.rfind("float", 0) != 0 &&
         format.find("vector = 6") == std::string::npos;
}
inline bool hasFloatZeros(const std::string &format) {
  return format.find("zero = ") != std::string::npos;
}

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_KERNELCASES_H
