//===- Tables.cpp - The fixed tables of the 4-bit formats -----------------===//
//
// Values as in bitsandbytes, to the bit. NF4: the positive half are the normal
// quantiles of 8 of 9 equidistant points from 0.9677083 to 0.5, the negative
// half those of 7 of 8, divided by the largest. Test: Unit/Format/LUTTest.cpp.
//
//===----------------------------------------------------------------------===//
#include "qc/Format/LUT.h"

#include <algorithm>

using namespace qc;

const std::array<float, 16> qc::nf4Table = {-1.0f,
                                            -0.6961928009986877f,
                                            -0.5250730514526367f,
                                            -0.39491748809814453f,
                                            -0.28444138169288635f,
                                            -0.18477343022823334f,
                                            -0.09105003625154495f,
                                            0.0f,
                                            0.07958029955625534f,
                                            0.16093020141124725f,
                                            0.24611230194568634f,
                                            0.33791524171829224f,
                                            0.44070982933044434f,
                                            0.5626170039176941f,
                                            0.7229568362236023f,
                                            1.0f};

// E2M1 magnitudes / 12, in the library's order of codes.
const std::array<float, 16> qc::fp4Table = {0.0f,
                                            0.0052083333333333333f,
                                            0.6666666666666667f,
                                            1.0f,
                                            0.3333333333333333f,
                                            0.5f,
                                            0.16666666666666667f,
                                            0.25f,
                                            0.0f,
                                            -0.0052083333333333333f,
                                            -0.6666666666666667f,
                                            -1.0f,
                                            -0.3333333333333333f,
                                            -0.5f,
                                            -0.16666666666666667f,
                                            -0.25f};

std::array<float, 256> qc::dynamicMap() {
  std::array<float, 256> map;
  size_t size = 0;
  map[size++] = 0.0f;
  map[size++] = 1.0f;
  // 10^-6 ... 10^0, nearest to the decimal numbers.
  const double powers[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0};
  for (int i = 0; i < 7; ++i) {
    int parts = 1 << i;
    for (int j = 0; j < parts; ++j) {
      double middle = 0.1 + 0.9 * (j + 0.5) / parts;
      map[size++] = static_cast<float>(middle * powers[i]);
      map[size++] = static_cast<float>(-middle * powers[i]);
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}
