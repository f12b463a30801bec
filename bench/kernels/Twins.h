//===- Twins.h - Hand-written twins of generated kernels --------*- C++ -*-===//
//
// The same products on the same packed layout, written with intrinsics for one
// instruction set and one format: what a programmer would deliver, to see what
// generating costs. Each computes y [m, n] = x [m, k] W^T with activations
// rounded to int8 by K block, as the generated kernel does.
//
//===----------------------------------------------------------------------===//
#ifndef QC_BENCH_KERNELS_TWINS_H
#define QC_BENCH_KERNELS_TWINS_H

#include "qc/Format/Format.h"

namespace qc::bench {

/// x rounded to int8: codes [m, k], scale and sum of the codes [m, blocks].
struct Activations {
  int8_t *codes;
  float *scales, *sums;

  /// Places the arrays in `scratch` of scratchBytes().
  static Activations in(void *scratch, const PackedLayout &layout, int64_t m) {
    auto *scales = static_cast<float *>(scratch);
    float *sums = scales + m * layout.numBlocks();
    return {reinterpret_cast<int8_t *>(sums + m * layout.numBlocks()), scales,
            sums};
  }
  static int64_t scratchBytes(const PackedLayout &layout, int64_t m) {
    return m * (8 * layout.numBlocks() + layout.k) + 64;
  }
};

using TwinFn = void (*)(const PackedLayout &layout, const uint8_t *weight,
                        const float *x, int64_t m, float *y, void *scratch);

/// grouped<bits = 4, group = 128, scale = f16>, one token; 16 and 8 rows.
void gemvInt4AVX512(const PackedLayout &, const uint8_t *, const float *,
                    int64_t, float *, void *);
void gemvInt4AVX2(const PackedLayout &, const uint8_t *, const float *, int64_t,
                  float *, void *);
/// grouped<bits = 8, group = 128, scale = f16>, m a multiple of 4.
void gemmInt8AVX512(const PackedLayout &, const uint8_t *, const float *,
                    int64_t, float *, void *);
void gemmInt8AVX2(const PackedLayout &, const uint8_t *, const float *, int64_t,
                  float *, void *);

/// 2 * multiply-adds of `repeats` rounds of independent dot products.
double spinInt8AVX512(int64_t repeats);
double spinInt8AVX2(int64_t repeats);
/// The same of products in tile registers.
double spinInt8AMX(int64_t repeats);

} // namespace qc::bench

#endif // QC_BENCH_KERNELS_TWINS_H
