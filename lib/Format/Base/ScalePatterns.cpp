//===- ScalePatterns.cpp - Bit patterns for exhaustive weights ------------===//
#include "ScalePatterns.h"

#include "qc/Format/Elements.h"

#include <cmath>
#include <limits>

using namespace qc;

std::vector<uint32_t> qc::scalePatterns(DType type, bool quick, double factor) {
  int mantissaBits = type == DType::F16 ? 10 : type == DType::BF16 ? 7 : 23;
  int totalBits = static_cast<int>(byteWidth(type)) * 8;
  uint32_t exponents = (uint32_t(1) << (totalBits - 1 - mantissaBits)) - 1;
  uint32_t mantissas = uint32_t(1) << mantissaBits;

  std::vector<uint32_t> patterns;
  auto add = [&](uint32_t exponent, uint32_t mantissa) {
    for (uint32_t sign : {0u, 1u}) {
      uint32_t bits = sign << (totalBits - 1) | exponent << mantissaBits |
                      (mantissa & (mantissas - 1));
      if (std::fabs(static_cast<double>(bitsToFloat(type, bits))) * factor <=
          std::numeric_limits<float>::max())
        patterns.push_back(bits);
    }
  };
  for (uint32_t e = 0; e < exponents; ++e) {
    if (quick) {
      // A golden-ratio sequence varies the mantissas; the ends of the
      // exponent range get all-zero and all-one mantissas too.
      add(e, e * 0x9e3779b1u >> 7);
      if (exponents < 32 || e < 2 || e + 2 >= exponents) {
        add(e, 0);
        add(e, mantissas - 1);
      }
    } else if (type == DType::F32) {
      for (uint32_t i = 0; i < 32; ++i)
        add(e, i < 2    ? i
               : i == 2 ? mantissas - 1
                        : (e * 32 + i) * 0x9e3779b1u >> 7);
    } else {
      for (uint32_t m = 0; m < mantissas; ++m)
        add(e, m);
    }
  }
  return patterns;
}
