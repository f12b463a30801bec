//===- OneDNN.h - Products of prompts by oneDNN -----------------*- C++ -*-===//
//
// What code compiled with --prefill-backend=onednn calls. oneDNN is loaded by
// name when a prompt needs it first; a machine without it loses speed only.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_ONEDNN_ONEDNN_H
#define QC_RUNTIME_ONEDNN_ONEDNN_H

#include <cstdint>

/// out [m, columns], rows `stride` floats apart, = x [m, k] W^T, in the calling
/// thread alone. W: f32 [columns, k] packed in row blocks of 16,
/// [ceil(columns / 16)][k][16], k a multiple of 16.
///
/// Returns 1, or 0 with `out` as it was where oneDNN has no fast kernel for
/// this, or is not there: the caller computes it then. Threads may call this at
/// the same time and get different answers.
extern "C" int32_t qc_onednn_matmul_f32(const void *weight, const float *x,
                                        float *out, int64_t m, int64_t k,
                                        int64_t columns, int64_t stride);

namespace qc::rt {
/// Null if oneDNN can be used, else why not.
const char *oneDNNProblem();
} // namespace qc::rt

#endif // QC_RUNTIME_ONEDNN_ONEDNN_H
