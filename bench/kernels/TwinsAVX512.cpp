//===- TwinsAVX512.cpp - Twins with AVX-512 VNNI --------------------------===//
#include "Twins.h"

#include <cstring>
#include <immintrin.h>

using namespace qc;
using namespace qc::bench;

static void quantize(const PackedLayout &layout, const float *x, int64_t m,
                     Activations out) {
  for (int64_t block = 0; block < m * layout.numBlocks(); ++block) {
    const float *from = x + block * 128;
    __m512 v[8], top = _mm512_setzero_ps();
    for (int i = 0; i < 8; ++i) {
      v[i] = _mm512_loadu_ps(from + 16 * i);
      top = _mm512_max_ps(top, _mm512_abs_ps(v[i]));
    }
    float scale = _mm512_reduce_max_ps(top) / 127.0f;
    __m512 inverse = _mm512_set1_ps(scale == 0 ? 1.0f : 1.0f / scale);
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < 8; ++i) {
      __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(v[i], inverse));
      sum = _mm512_add_epi32(sum, code);
      _mm_storeu_si128(
          reinterpret_cast<__m128i *>(out.codes + block * 128 + 16 * i),
          _mm512_cvtsepi32_epi8(code));
    }
    out.scales[block] = scale;
    out.sums[block] = static_cast<float>(_mm512_reduce_add_epi32(sum));
  }
}

static __m512i four(const int8_t *codes) {
  int word;
  std::memcpy(&word, codes, 4);
  return _mm512_set1_epi32(word);
}

static __m512 loadScales(const uint8_t *at) {
  return _mm512_cvtph_ps(
      _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)));
}

/// One K block of one row block: total + scale * (sum c a - 8 sum a).
static __m512 blockInt4(const uint8_t *at, const PackedLayout &layout,
                        const Activations &a, int64_t b, __m512 total) {
  const __m512i low = _mm512_set1_epi8(15);
  __m512 scale = _mm512_mul_ps(loadScales(at), _mm512_set1_ps(a.scales[b]));
  at += layout.blockParamBytes;
  const int8_t *codes = a.codes + 128 * b;
  __m512i sums[4] = {};
  for (int c = 0; c < 16; ++c, at += 64, codes += 8) {
    __m512i both = _mm512_loadu_si512(at);
    __m512i lo = _mm512_and_si512(both, low);
    __m512i hi = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    int s = c % 2 * 2;
    sums[s] = _mm512_dpbusd_epi32(sums[s], lo, four(codes));
    sums[s + 1] = _mm512_dpbusd_epi32(sums[s + 1], hi, four(codes + 4));
  }
  __m512i sum = _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]),
                                 _mm512_add_epi32(sums[2], sums[3]));
  __m512 shifted =
      _mm512_sub_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(8 * a.sums[b]));
  return _mm512_fmadd_ps(shifted, scale, total);
}

void bench::gemvInt4AVX512(const PackedLayout &layout, const uint8_t *weight,
                           const float *x, int64_t, float *y, void *scratch) {
  Activations a = Activations::in(scratch, layout, 1);
  quantize(layout, x, 1, a);
  int64_t rows = layout.numRowBlocks(), stride = layout.rowBlockBytes();
  const uint8_t *at = weight + layout.headerBytes;
  // Row blocks are read one after the other, as they lie: one stream, which the
  // hardware prefetches; software prefetch made it slower.
  for (int64_t r = 0; r < rows; ++r, at += stride) {
    __m512 total = _mm512_setzero_ps();
    for (int64_t b = 0; b < layout.numBlocks(); ++b)
      total = blockInt4(at + b * layout.blockBytes(), layout, a, b, total);
    _mm512_storeu_ps(y + 16 * r, total);
  }
}

/// `R` row blocks times `M` tokens: R * M sums stay in registers.
template <int R, int M>
static void tileInt8(const PackedLayout &layout, const uint8_t *weight,
                     Activations a, int64_t token, int64_t row, float *y) {
  int64_t blocks = layout.numBlocks(), stride = layout.rowBlockBytes();
  const uint8_t *first = weight + layout.headerBytes + row * stride;
  __m512 totals[R][M] = {};
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t *params = first + b * layout.blockBytes();
    const uint8_t *at = params + layout.blockParamBytes;
    const int8_t *codes = a.codes + token * layout.k + 128 * b;
    __m512i sums[R][M] = {};
    for (int c = 0; c < 32; ++c) {
      __m512i w[R];
      for (int r = 0; r < R; ++r)
        w[r] = _mm512_loadu_si512(at + r * stride + 64 * c);
      for (int t = 0; t < M; ++t) {
        __m512i x = four(codes + t * layout.k + 4 * c);
        for (int r = 0; r < R; ++r)
          sums[r][t] = _mm512_dpbusd_epi32(sums[r][t], w[r], x);
      }
    }
    for (int r = 0; r < R; ++r) {
      __m512 scale = loadScales(params + r * stride);
      for (int t = 0; t < M; ++t) {
        int64_t item = (token + t) * blocks + b;
        __m512 shifted = _mm512_sub_ps(_mm512_cvtepi32_ps(sums[r][t]),
                                       _mm512_set1_ps(128 * a.sums[item]));
        totals[r][t] = _mm512_fmadd_ps(
            shifted, _mm512_mul_ps(scale, _mm512_set1_ps(a.scales[item])),
            totals[r][t]);
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < M; ++t)
      _mm512_storeu_ps(y + (token + t) * layout.n + 16 * (row + r),
                       totals[r][t]);
}

void bench::gemmInt8AVX512(const PackedLayout &layout, const uint8_t *weight,
                           const float *x, int64_t m, float *y, void *scratch) {
  Activations a = Activations::in(scratch, layout, m);
  quantize(layout, x, m, a);
  int64_t rows = layout.numRowBlocks(), row = 0;
  for (; row + 2 <= rows; row += 2) {
    int64_t token = 0;
    for (; token + 8 <= m; token += 8)
      tileInt8<2, 8>(layout, weight, a, token, row, y);
    for (; token < m; token += 4)
      tileInt8<2, 4>(layout, weight, a, token, row, y);
  }
  for (; row < rows; ++row)
    for (int64_t token = 0; token < m; token += 4)
      tileInt8<1, 4>(layout, weight, a, token, row, y);
}

double bench::spinInt8AVX512(int64_t repeats) {
  // More sums than latency times throughput of any known CPU.
  __m512i sums[16] = {}, a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
  for (int64_t i = 0; i < repeats; ++i) {
    for (auto &sum : sums)
      sum = _mm512_dpbusd_epi32(sum, a, b);
    // Keeps the compiler from computing the products beforehand.
    asm volatile("" : "+v"(a), "+v"(b));
  }
  for (auto &sum : sums)
    asm volatile("" ::"v"(sum));
  return static_cast<double>(repeats) * 16 * 64 * 2;
}
