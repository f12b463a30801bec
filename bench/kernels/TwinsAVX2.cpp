//===- TwinsAVX2.cpp - Twins with AVX2 ------------------------------------===//
#include "Twins.h"

#include <cstring>
#include <immintrin.h>

using namespace qc;
using namespace qc::bench;

static float reduceMax(__m256 v) {
  __m128 half =
      _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

static int reduceAdd(__m256i v) {
  __m128i half =
      _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

static void quantize(const PackedLayout &layout, const float *x, int64_t m,
                     Activations out) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  for (int64_t block = 0; block < m * layout.numBlocks(); ++block) {
    const float *from = x + block * 128;
    __m256 top = _mm256_setzero_ps();
    for (int i = 0; i < 16; ++i)
      top = _mm256_max_ps(
          top, _mm256_and_ps(_mm256_loadu_ps(from + 8 * i), magnitude));
    float scale = reduceMax(top) / 127.0f;
    __m256 inverse = _mm256_set1_ps(scale == 0 ? 1.0f : 1.0f / scale);
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < 16; ++i) {
      __m256i code = _mm256_cvtps_epi32(
          _mm256_mul_ps(_mm256_loadu_ps(from + 8 * i), inverse));
      sum = _mm256_add_epi32(sum, code);
      __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code),
                                      _mm256_extracti128_si256(code, 1));
      _mm_storel_epi64(
          reinterpret_cast<__m128i *>(out.codes + block * 128 + 8 * i),
          _mm_packs_epi16(words, words));
    }
    out.scales[block] = scale;
    out.sums[block] = static_cast<float>(reduceAdd(sum));
  }
}

static __m256i four(const int8_t *codes) {
  int word;
  std::memcpy(&word, codes, 4);
  return _mm256_set1_epi32(word);
}

static __m256i load(const void *at) {
  return _mm256_loadu_si256(static_cast<const __m256i *>(at));
}

static __m256 loadScales(const uint8_t *at) {
  return _mm256_cvtph_ps(
      _mm_loadu_si128(reinterpret_cast<const __m128i *>(at)));
}

void bench::gemvInt4AVX2(const PackedLayout &layout, const uint8_t *weight,
                         const float *x, int64_t, float *y, void *scratch) {
  Activations a = Activations::in(scratch, layout, 1);
  quantize(layout, x, 1, a);
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  int64_t blocks = layout.numBlocks();
  for (int64_t r = 0; r < layout.numRowBlocks(); ++r) {
    const uint8_t *at =
        weight + layout.headerBytes + r * layout.rowBlockBytes();
    __m256 total = _mm256_setzero_ps();
    for (int64_t b = 0; b < blocks; ++b) {
      __m256 scale = _mm256_mul_ps(loadScales(at), _mm256_set1_ps(a.scales[b]));
      at += layout.blockParamBytes;
      const int8_t *codes = a.codes + 128 * b;
      __m256i sum = _mm256_setzero_si256();
      // A pair of products is at most 2 * 15 * 127: eight pairs fit 16 bits.
      for (int outer = 0; outer < 4; ++outer) {
        __m256i pairs = _mm256_setzero_si256();
        for (int c = 0; c < 4; ++c, at += 32, codes += 8) {
          __m256i both = load(at);
          __m256i lo = _mm256_and_si256(both, low);
          __m256i hi = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
          pairs =
              _mm256_add_epi16(pairs, _mm256_maddubs_epi16(lo, four(codes)));
          pairs = _mm256_add_epi16(pairs,
                                   _mm256_maddubs_epi16(hi, four(codes + 4)));
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
      }
      __m256 shifted =
          _mm256_sub_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(8 * a.sums[b]));
      total = _mm256_fmadd_ps(shifted, scale, total);
    }
    _mm256_storeu_ps(y + 8 * r, total);
  }
}

/// One row block times `M` tokens. vpmaddubsw wants one unsigned side and
/// saturates: |w - 128| <= 128 times a <= 127 keeps pairs below 2^15.
template <int M>
static void tileInt8(const PackedLayout &layout, const uint8_t *weight,
                     Activations a, int64_t token, int64_t row, float *y) {
  const __m256i ones = _mm256_set1_epi16(1), middle = _mm256_set1_epi8(-128);
  int64_t blocks = layout.numBlocks();
  const uint8_t *first =
      weight + layout.headerBytes + row * layout.rowBlockBytes();
  __m256 totals[M] = {};
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t *params = first + b * layout.blockBytes();
    const uint8_t *at = params + layout.blockParamBytes;
    const int8_t *codes = a.codes + token * layout.k + 128 * b;
    __m256i sums[M] = {};
    for (int c = 0; c < 32; ++c) {
      __m256i w = _mm256_xor_si256(load(at + 32 * c), middle);
      __m256i size = _mm256_abs_epi8(w);
      for (int t = 0; t < M; ++t) {
        __m256i signs = _mm256_sign_epi8(four(codes + t * layout.k + 4 * c), w);
        sums[t] = _mm256_add_epi32(
            sums[t],
            _mm256_madd_epi16(_mm256_maddubs_epi16(size, signs), ones));
      }
    }
    __m256 scale = loadScales(params);
    for (int t = 0; t < M; ++t)
      totals[t] = _mm256_fmadd_ps(
          _mm256_cvtepi32_ps(sums[t]),
          _mm256_mul_ps(scale,
                        _mm256_set1_ps(a.scales[(token + t) * blocks + b])),
          totals[t]);
  }
  for (int t = 0; t < M; ++t)
    _mm256_storeu_ps(y + (token + t) * layout.n + 8 * row, totals[t]);
}

void bench::gemmInt8AVX2(const PackedLayout &layout, const uint8_t *weight,
                         const float *x, int64_t m, float *y, void *scratch) {
  Activations a = Activations::in(scratch, layout, m);
  quantize(layout, x, m, a);
  for (int64_t row = 0; row < layout.numRowBlocks(); ++row)
    for (int64_t token = 0; token < m; token += 4)
      tileInt8<4>(layout, weight, a, token, row, y);
}

double bench::spinInt8AVX2(int64_t repeats) {
  __m256i sums[10] = {}, a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < repeats; ++i) {
    for (auto &sum : sums) {
      sum = _mm256_add_epi32(
          sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
      // Without it, equal products would be computed once.
      asm volatile("" : "+x"(a), "+x"(b));
    }
  }
  for (auto &sum : sums)
    asm volatile("" ::"x"(sum));
  return static_cast<double>(repeats) * 10 * 32 * 2;
}
