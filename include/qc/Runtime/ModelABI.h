//===- ModelABI.h - Contract between compiler and runtime -------*- C -*-===//
//
// The only contract between generated code (emitted by qc-compile) and the
// runtime that is linked into the user's executable. Plain C, versioned: a
// runtime refuses a model whose `abi_version` differs from its own.
//
// The generated object file defines one symbol, `qc_model`, and calls two,
// `qc_barrier` (below) and functions of libm.
//
// Execution model: every step function is called by *all* threads of a team at
// the same time with the same arguments except `thread` (SPMD). Generated code
// partitions the work of each kernel over the threads and meets in
// `qc_barrier` between kernels. It never allocates, locks or makes a syscall.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_MODELABI_H
#define QC_RUNTIME_MODELABI_H

#include "qc/Runtime/DeviceABI.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QC_ABI_VERSION 5
#define QC_CACHE_TILE 16

/// Meets all threads of the team. Provided by the runtime; `team` is the value
/// passed to the step function.
void qc_barrier(void *team);

/// Work that `thread` of `threads` has to do next, of `items` that the team
/// shares until it meets: items [result & 0xffffffff, result >> 32), or -1
/// when all have been given out. First of the thread's own share, half of what
/// is left of it but at least `least`; then of others' shares, from their
/// ends, so that nobody waits for a thread that is slow. All threads pass the
/// same `items` < 2^31 and `least`. Between two meetings it serves one kernel.
int64_t qc_claim(void *team, int64_t thread, int64_t threads, int64_t items,
                 int64_t least);

/// Runs the model over `count` tokens (1 <= count <= QCModel::max_tokens) that
/// stand at positions [position, position + count) of the sequence; appends
/// their keys and values to the KV cache. position + count <= capacity.
///   weights   section "weights" of the artefact, 64-byte aligned
///   arena     QCModel::arena_bytes of scratch, 64-byte aligned
///   kv        QCModel::kv_bytes_per_token * capacity bytes, 64-byte aligned;
///             the layout is the generated code's own
///   capacity  a multiple of QC_CACHE_TILE
///   ids       int32 [count], each in [0, vocab_size): the caller checks
///   logits    decode, prefill: float [vocab_size] of the last token;
///             score: float [count][vocab_size]
///             Of a mixed placement (QCModel::gpu_layers): the hidden states,
///             float [count][hidden_size], that the device goes on with
typedef void (*QCStepFn)(const void *weights, void *arena, void *kv,
                         int64_t capacity, const int32_t *ids, int64_t count,
                         int64_t position, float *logits, int64_t thread,
                         int64_t threads, void *team);

/// One generated matmul kernel, exposed for --self-test. Both functions are
/// single threaded and take raw pointers.
typedef struct QCKernel {
  const char *name;      ///< symbol of the kernel in the object file
  const char *format;    ///< textual format, readable by qc::parseFormat()
  int64_t n, k;          ///< weight is [n, k]: n outputs, k inputs
  int64_t rows;          ///< rows interleaved in the packed layout
  int64_t weight_offset; ///< of one weight of this kind in section "weights"
  int64_t weight_bytes;
  int64_t scratch_bytes;    ///< what `matmul` needs for count <= max_tokens
  int32_t int8_activations; ///< 1 when activations are quantized to int8, 2
                            ///< when they are rounded to bf16
  int32_t int8_block;       ///< k covered by one activation scale, 0 if none
  /// Table entries rounded to 8 bits in a weight of `matmul`, not of
  /// decode_row.
  int32_t weight_roundings;
  /// Partial sums rounded to 8 bits in one output of one token, 0 if none.
  int32_t table_lookups;
  /// y [m, n] = x [m, k] * W^T
  void (*matmul)(const void *weight, const float *x, int64_t m, float *y,
                 void *scratch);
  /// out [k] = row `row` of W, decoded by the generated code.
  void (*decode_row)(const void *weight, int64_t row, float *out);
} QCKernel;

/// The decode function of one format on the exhaustive weight of that format
/// (qc::Format::exhaustiveWeight): every code point.
typedef struct QCFormatTest {
  const char *format;
  int64_t n, k, rows; ///< shape of the exhaustive weight
  void (*decode_row)(const void *weight, int64_t row, float *out);
} QCFormatTest;

typedef struct QCModel {
  uint32_t abi_version; ///< QC_ABI_VERSION; keep first
  uint32_t reserved;
  const char *name;         ///< of the model folder
  const char *target_cpu;   ///< e.g. "x86-64-v3", "znver4"
  const char *cpu_features; ///< needed at run time, comma separated LLVM names
                            ///< without '+', e.g. "avx2,fma,f16c"
  int64_t vocab_size, hidden_size, num_layers, max_positions;
  int64_t max_tokens; ///< most tokens of one step
  int64_t arena_bytes;
  int64_t kv_bytes_per_token; ///< all layers, keys and values
  int64_t weights_bytes;
  QCStepFn decode;  ///< count == 1
  QCStepFn prefill; ///< logits of the last token only
  QCStepFn score;   ///< logits of every token
  const QCKernel *kernels;
  int64_t num_kernels;
  const QCFormatTest *format_tests;
  int64_t num_format_tests;
  /// The model on a GPU, or null. Unless `gpu_layers`, decode, prefill and
  /// score are null then.
  const QCDeviceModel *device;
  /// Where the device's weights begin in section "weights", to its end.
  int64_t device_weights_offset;
  /// Of a mixed placement: so many last layers, and the head, are the device's;
  /// steps end before them. Else 0. kv_bytes_per_token is the CPU's.
  int64_t gpu_layers;
  /// Code versions of the same model over the same weights for different CPUs,
  /// best first; the last is `qc_model` itself. Null and 0 when there is but
  /// one. Only `qc_model` has them.
  const struct QCModel *const *versions;
  int64_t num_versions;
} QCModel;

extern const QCModel qc_model;

//===----------------------------------------------------------------------===//
// Payload: sections appended to the executable (or shared object)
//===----------------------------------------------------------------------===//
//
//   ELF | zero padding to 4096 | section 0 | ... | section table | QCTrailer
//
// Every section starts at a multiple of 4096. The trailer is the last
// sizeof(QCTrailer) bytes of the file. Little endian.
//
// Sections: "weights" (raw), "metadata" (JSON object, see docs/ModelABI.md)
// and, if the model has a tokenizer, "tokenizer" (its file, whole:
// tokenizer.json or tokenizer.model; which one, `metadata.tokenizer.kind`
// says).

#define QC_TRAILER_MAGIC "QCPAYLD1"

typedef struct QCSection {
  char name[16];
  uint64_t offset; ///< from the start of the file
  uint64_t size;
  uint64_t checksum; ///< FNV-1a 64 of the section; "weights": see
                     ///< docs/ModelABI.md, read by --self-test only
} QCSection;

typedef struct QCTrailer {
  char magic[8];
  uint32_t version; ///< QC_ABI_VERSION
  uint32_t num_sections;
  uint64_t table_offset; ///< of QCSection[num_sections]
  uint64_t file_size;    ///< whole file, trailer included: detects truncation
  uint64_t checksum;     ///< FNV-1a 64 of the section table
} QCTrailer;

#ifdef __cplusplus
}
#endif

#endif // QC_RUNTIME_MODELABI_H
