//===- FakeModel.cpp - A toy model with hand-written steps ----------------===//
//
// Linked like generated code: with the runtime's archive, into an executable
// and a shared object. QC_FAKE_FEATURES: what it claims to need of a CPU.
// Environment QC_FAKE_BREAK: "decode", "matmul", "nan" makes it wrong there;
// "slow" makes a step take 20 ms.
//
//===----------------------------------------------------------------------===//
#include "FakeModel.h"
#include "qc/Runtime/ModelABI.h"

#include <cstdlib>
#include <cstring>
#include <ctime>

using namespace fake;

static bool broken(const char *where) {
  const char *wanted = std::getenv("QC_FAKE_BREAK");
  return wanted && std::strcmp(wanted, where) == 0;
}

/// Each thread takes every threads-th token or column; three phases with
/// barriers between, so that a barrier that lets somebody through early gives
/// wrong logits.
static void step(const void *weights, void *arena, void *kv, int64_t capacity,
                 const int32_t *ids, int64_t count, int64_t position,
                 float *logits, int64_t thread, int64_t threads, void *team,
                 bool all) {
  auto *w = static_cast<const float *>(weights);
  auto *cache = static_cast<char *>(kv);
  auto *scratch = static_cast<float *>(arena);
  if (broken("slow") && thread == 0) {
    timespec time = {0, 20000000};
    nanosleep(&time, nullptr);
  }
  if (position + count > capacity)
    std::abort();
  for (int64_t t = thread; t < count; t += threads)
    std::memcpy(cache + (position + t) * kvBytesPerToken, &ids[t], 4);
  qc_barrier(team);
  for (int64_t t = thread; t < count; t += threads) {
    int32_t id, previous = 0;
    std::memcpy(&id, cache + (position + t) * kvBytesPerToken, 4);
    if (position + t > 0)
      std::memcpy(&previous, cache + (position + t - 1) * kvBytesPerToken, 4);
    for (int64_t v = 0; v < vocabulary; ++v)
      scratch[t * vocabulary + v] =
          w[id * vocabulary + v] +
          0.5f * w[previous * vocabulary + (v + position + t) % vocabulary];
  }
  qc_barrier(team);
  for (int64_t v = thread; v < vocabulary; v += threads)
    for (int64_t t = all ? 0 : count - 1; t < count; ++t)
      logits[(all ? t : 0) * vocabulary + v] =
          broken("nan") ? __builtin_nanf("") : scratch[t * vocabulary + v];
  qc_barrier(team);
}

static void last(const void *weights, void *arena, void *kv, int64_t capacity,
                 const int32_t *ids, int64_t count, int64_t position,
                 float *logits, int64_t thread, int64_t threads, void *team) {
  step(weights, arena, kv, capacity, ids, count, position, logits, thread,
       threads, team, false);
}

static void score(const void *weights, void *arena, void *kv, int64_t capacity,
                  const int32_t *ids, int64_t count, int64_t position,
                  float *logits, int64_t thread, int64_t threads, void *team) {
  step(weights, arena, kv, capacity, ids, count, position, logits, thread,
       threads, team, true);
}

static void decodeRow(const void *weight, int64_t row, float *out) {
  std::memcpy(out, static_cast<const float *>(weight) + row * vocabulary,
              vocabulary * sizeof(float));
}

static void matmul(const void *weight, const float *x, int64_t m, float *y,
                   void *) {
  auto *w = static_cast<const float *>(weight);
  for (int64_t t = 0; t < m; ++t)
    for (int64_t n = 0; n < vocabulary; ++n) {
      float sum = broken("matmul") && n == vocabulary - 1 ? 0.5f : 0.0f;
      for (int64_t k = 0; k < vocabulary; ++k)
        sum += w[n * vocabulary + k] * x[t * vocabulary + k];
      y[t * vocabulary + n] = sum;
    }
}

/// #qc.float<bf16> packed for 8 rows: [row block][k][row].
static void decodeBfloat(const void *weight, int64_t row, float *out) {
  auto *bits = static_cast<const uint16_t *>(weight) + row / 8 * 256 * 8;
  for (int64_t k = 0; k < 256; ++k) {
    uint32_t wide = uint32_t(bits[k * 8 + row % 8]) << 16;
    if (broken("decode") && row == 200 && k == 7)
      wide ^= 1u << 16;
    std::memcpy(&out[k], &wide, 4);
  }
}

static const QCKernel kernels[] = {
    {"fake_matmul", "float<f32>", vocabulary, vocabulary, 1, 0,
     vocabulary * vocabulary * 4, 0, 0, 0, 0, 0, matmul, decodeRow}};
static const QCFormatTest formatTests[] = {
    {"float<bf16>", 255, 256, 8, decodeBfloat}};

#ifndef QC_FAKE_FEATURES
#define QC_FAKE_FEATURES "sse3"
#endif

extern "C" {
extern const QCModel qc_model;
}

#ifdef QC_FAKE_MULTI
// Other versions of the code, the first for CPUs that do not exist.
static QCModel version(const char *cpu, const char *features) {
  QCModel copy = qc_model;
  copy.target_cpu = cpu;
  copy.cpu_features = features;
  copy.versions = nullptr;
  copy.num_versions = 0;
  return copy;
}
static const QCModel future = version("x86-64-v9", "sse3,avx1024");
static const QCModel present = version("x86-64-v3", "sse3");
static const QCModel *const versions[] = {&future, &present, &qc_model};
#define QC_FAKE_VERSIONS versions, 3
#else
#define QC_FAKE_VERSIONS nullptr, 0
#endif

extern "C" {
const QCModel qc_model = {QC_ABI_VERSION,
                          0,
                          "fake",
                          "x86-64",
                          QC_FAKE_FEATURES,
                          vocabulary,
                          8,
                          1,
                          positions,
                          maxTokens,
                          maxTokens * vocabulary * 4,
                          kvBytesPerToken,
                          vocabulary * vocabulary * 4,
                          last,
                          last,
                          score,
                          kernels,
                          1,
                          formatTests,
                          1,
                          nullptr,
                          0,
                          0,
                          QC_FAKE_VERSIONS};
}
