//===- RandomWeight.cpp - Weights to measure with -------------------------===//
#include "qc/Target/CPU/Tuning/Measure.h"

#include "qc/Format/Elements.h"
#include "llvm/ADT/STLExtras.h"
#include <cstring>
#include <random>

std::vector<::qc::Tensor>
mlir::qc::cpu::randomComponents(const ::qc::Format &format, int64_t n,
                                int64_t k) {
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> uniform(0.001f, 0.02f);
  std::vector<::qc::Tensor> result;
  uint32_t entries = 65536; // of a codebook
  for (const ::qc::TensorSpec &spec : format.components(n, k))
    if (spec.name == "codebooks")
      entries = static_cast<uint32_t>(spec.shape[1]);
  for (const ::qc::TensorSpec &spec : format.components(n, k)) {
    ::qc::Tensor tensor(spec);
    for (int64_t i = 0; i < spec.numElements(); ++i) {
      uint8_t *at = tensor.bytes.data() + i * ::qc::byteWidth(spec.type);
      float value = uniform(rng);
      // Random bits of bf16 would be numbers too small to be fast.
      if (llvm::is_contained(
              {::qc::DType::F32, ::qc::DType::F16, ::qc::DType::BF16},
              spec.type))
        ::qc::storeFloat(spec.type, tensor.bytes.data(), i, value);
      else if (spec.type == ::qc::DType::U16) {
        auto code = static_cast<uint16_t>(rng() % entries);
        std::memcpy(at, &code, 2);
      } else if (spec.name == "zeros")
        *at = static_cast<uint8_t>(rng() % 16);
      else
        *at = static_cast<uint8_t>(rng());
    }
    result.push_back(std::move(tensor));
  }
  return result;
}
