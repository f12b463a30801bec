//===- DeviceABI.h - A model as kernels and dispatch lists ------*- C -*-===//
//
// What a model that was compiled for a GPU is to the runtime: device code, and
// for each step the list of kernels to launch on regions of a few buffers.
// Plain C, no pointer of one machine in it, the same for Vulkan and CUDA.
//
// The compiler has decided everything: shapes, memory, order. A runtime only
// makes the buffers, records each list once (a command buffer, a CUDA graph)
// and replays it. What changes from step to step stands in the state buffer,
// which kernels read; so nothing is recorded again when the position moves:
//
//   state  <- position, count, ids            (host)
//   replay the list of the step               (device)
//   logits -> host
//
// A kernel has no scalar arguments: the shapes are in its code, its offsets are
// in its bindings, the rest is in the state.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_DEVICEABI_H
#define QC_RUNTIME_DEVICEABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QC_DEVICE_ABI_VERSION 4

/// Offsets of bindings are multiples of this (the largest
/// minStorageBufferOffsetAlignment that Vulkan allows); so must the bases of
/// the spaces be.
#define QC_DEVICE_ALIGNMENT 256

//===-- Device code -------------------------------------------------------===//

enum {
  QC_CODE_SPIRV = 1, ///< words of one SPIR-V module, for Vulkan
  QC_CODE_PTX = 2,   ///< text, zero terminated
  QC_CODE_CUBIN = 3, ///< for one architecture
};

/// Features that device code may need beyond its floor (Vulkan 1.1).
enum {
  /// OpSUDot on packed bytes; core in Vulkan 1.3, whose SPIR-V 1.6 it needs.
  QC_FEATURE_INTEGER_DOT_PRODUCT = 1 << 0,
  QC_FEATURE_FLOAT16 = 1 << 1,             ///< arithmetic in f16
  QC_FEATURE_STORAGE16 = 1 << 2,           ///< 16-bit storage buffers
  QC_FEATURE_STORAGE8 = 1 << 3,            ///< 8-bit storage buffers
  QC_FEATURE_SUBGROUP_ARITHMETIC = 1 << 4, ///< reductions in kernels
  /// SPV_KHR_cooperative_matrix of signed bytes, with kernels of a required
  /// subgroup size; QCDeviceCode.arch says which. Vulkan 1.3.
  QC_FEATURE_COOPERATIVE_MATRIX = 1 << 5,
};

/// A product of M x N x K by a subgroup of `size` threads, in a word.
#define QC_COOPERATIVE_SHAPE(m, n, k, size)                                    \
  ((uint32_t)(m) << 24 | (uint32_t)(n) << 16 | (uint32_t)(k) << 8 |            \
   (uint32_t)(size))

/// One binary with all kernels. A runtime takes the first one that its device
/// can run.
typedef struct QCDeviceCode {
  uint32_t kind;     ///< QC_CODE_*
  uint32_t features; ///< QC_FEATURE_* that the device must have
  /// CUDA: 10 * major + minor of the compute capability; PTX runs on newer
  /// devices, a cubin on later minors of the same major. Vulkan: 0, or with
  /// cooperative matrices QC_COOPERATIVE_SHAPE.
  uint32_t arch;
  uint32_t reserved;
  const void *data; ///< 8-byte aligned
  uint64_t size;    ///< bytes
} QCDeviceCode;

enum {
  /// In code for compute capability 9.0 or later the kernel waits itself
  /// (griddepcontrol.wait) for those that it depends on: it may be launched
  /// before they have ended.
  QC_KERNEL_WAITS = 1 << 0,
};

typedef struct QCDeviceKernel {
  const char *name;           ///< entry point
  uint32_t workgroup_size[3]; ///< threads of a workgroup (CUDA: block)
  /// Buffers: descriptors of set 0 with bindings 0, 1, ... in Vulkan, pointers
  /// in CUDA.
  uint32_t num_buffers;
  uint32_t shared_bytes; ///< of dynamic shared memory (CUDA); Vulkan: 0
  uint32_t flags;        ///< QC_KERNEL_*
  /// Vulkan: threads that each subgroup must have; 0: any number.
  uint32_t subgroup_size;
} QCDeviceKernel;

//===-- Memory ------------------------------------------------------------===//

/// Buffers that the runtime makes, all 32-bit words, little endian.
enum {
  QC_SPACE_WEIGHTS = 0, ///< section "weights", read only
  QC_SPACE_ARENA = 1,   ///< arena_bytes; nothing in it outlives a step
  QC_SPACE_KV = 2,      ///< kv_bytes_per_position * capacity
  QC_SPACE_TABLES = 3,  ///< table_bytes_per_position * capacity, see below
  QC_SPACE_STATE = 4,   ///< QCDeviceState
  QC_SPACE_LOGITS = 5,  ///< float, [vocab_size], of score [count][vocab_size]
  QC_SPACE_TOP = 6,     ///< QCDeviceTop
  /// Of a model whose first layers the CPU runs: float [max_tokens rounded up
  /// to QC_INPUT_TILE][input_columns], the hidden states of the step's tokens,
  /// written by the host.
  QC_SPACE_INPUT = 7,
  QC_NUM_SPACES = 8,
};

/// Head of the state buffer; `ids` continue to max_tokens. All int32.
typedef struct QCDeviceState {
  int32_t position; ///< of the first token of the step
  int32_t count;    ///< tokens of the step
  int32_t capacity; ///< positions that the KV cache has room for
  int32_t token;    ///< written by decode_greedy: the most likely token
  /// Written by decode_greedy: that of the step at position p is element
  /// p % QC_RECENT_TOKENS.
  int32_t recent[4];
  int32_t ids[1]; ///< [max_tokens]
} QCDeviceState;

#define QC_RECENT_TOKENS 4 ///< a power of two

#define QC_STATE_IDS 8 ///< index of the first id in words

#define QC_TOP_CANDIDATES 64

/// The tokens with the largest logits, largest first, of equal ones the lowest
/// id first. NaNs count as larger than all numbers, -0 as 0. Vocabularies are
/// larger than this, or the steps that write it are absent.
typedef struct QCDeviceTop {
  float logits[QC_TOP_CANDIDATES];
  int32_t ids[QC_TOP_CANDIDATES];
} QCDeviceTop;

/// A region of a space: it begins at offset + offset_per_position * capacity
/// and has size + size_per_position * capacity bytes. All four are multiples
/// of QC_DEVICE_ALIGNMENT or such that, with a capacity that is a multiple of
/// QC_CAPACITY_TILE, the beginning is.
typedef struct QCDeviceBuffer {
  uint32_t space;
  uint32_t written; ///< 1: the kernel writes to it
  uint64_t offset, offset_per_position;
  uint64_t size, size_per_position;
} QCDeviceBuffer;

/// Capacities are multiples of this.
#define QC_CAPACITY_TILE 64
#define QC_INPUT_TILE 64

//===-- Steps -------------------------------------------------------------===//

/// Workgroups in one dimension: tile ? factor * ceil(count / tile) : factor.
typedef struct QCDeviceExtent {
  uint32_t factor, tile;
} QCDeviceExtent;

typedef struct QCDispatch {
  uint32_t kernel; ///< index in kernels
  /// 1: reads what dispatches since the last barrier wrote (or overwrites what
  /// they read), so they must have finished.
  uint32_t barrier;
  QCDeviceExtent grid[3];
  uint32_t first_buffer; ///< index in buffers; the kernel's num_buffers follow
  uint32_t reserved;
} QCDispatch;

enum {
  QC_STEP_DECODE = 0,  ///< one token; its logits
  QC_STEP_PREFILL = 1, ///< count <= max_tokens; logits of the last one
  QC_STEP_SCORE = 2,   ///< count <= max_tokens; logits of every token
  /// Optional (num_dispatches 0: absent). As decode_top; then state.token and
  /// state.ids[0] are the most likely token (of equal ones the lowest id) and
  /// state.position is one more, so that the list can be replayed at once. The
  /// token is -1, and the id 0, if the largest logit is not a finite number.
  QC_STEP_DECODE_GREEDY = 3,
  /// Optional. As decode; then QC_SPACE_TOP has the best candidates.
  QC_STEP_DECODE_TOP = 4,
  /// Optional. As prefill and score, of at most QC_FEW_TOKENS tokens: in about
  /// the time of one.
  QC_STEP_PREFILL_FEW = 5,
  QC_STEP_SCORE_FEW = 6,
  QC_NUM_STEPS = 7,
};

#define QC_FEW_TOKENS 16

typedef struct QCDispatchList {
  const QCDispatch *dispatches;
  uint64_t num_dispatches;
} QCDispatchList;

/// Cosines and sines of all positions, computed by the runtime on the host
/// (devices promise 2^-11 for them) when it makes the session:
///   float [capacity][dim] at offset_per_position * capacity of QC_SPACE_TABLES
///   row p: cosf((float)p * f[i]) for i < dim / 2, then sinf of the same
typedef struct QCRotaryTable {
  uint64_t offset_per_position; ///< bytes
  uint32_t dim;
  uint32_t reserved;
  const float *frequencies; ///< [dim / 2], radians a position
} QCRotaryTable;

/// The decoding of one format for --self-test, on the exhaustive weight of the
/// format (qc::Format::exhaustiveWeight).
typedef struct QCDeviceTest {
  const char *format; ///< readable by qc::parseFormat()
  int64_t n, k, rows; ///< shape of that weight, rows of its packing
  uint32_t kernel; ///< buffers: weight, out f32 [n][k]; workgroups: (256, n /
                   ///< 256 rounded up)
  uint32_t reserved;
} QCDeviceTest;

//===-- The model ---------------------------------------------------------===//

typedef struct QCDeviceModel {
  uint32_t abi_version; ///< QC_DEVICE_ABI_VERSION; keep first
  /// 1: products round their activations to int8.
  uint32_t int8_activations;
  const char *target; ///< "spirv" or "nvptx"
  const QCDeviceCode *codes;
  uint64_t num_codes;
  const QCDeviceKernel *kernels;
  uint64_t num_kernels;
  const QCDeviceBuffer *buffers; ///< of all dispatches, one after the other
  uint64_t num_buffers;
  QCDispatchList steps[QC_NUM_STEPS];
  const QCRotaryTable *rotary_tables;
  uint64_t num_rotary_tables;
  uint64_t arena_bytes;
  uint64_t kv_bytes_per_position;    ///< all layers, keys and values
  uint64_t table_bytes_per_position; ///< of all tables
  uint64_t max_tokens;               ///< most tokens of one step
  uint64_t vocab_size;
  uint64_t input_columns; ///< of QC_SPACE_INPUT; 0: steps begin with ids
  const QCDeviceTest *tests;
  uint64_t num_tests;
  /// The same model with other kernels and lists, to be used instead where the
  /// device runs it; null: none. Equal but for codes, kernels, buffers, steps,
  /// arena_bytes, and kernels of tests.
  const struct QCDeviceModel *preferred;
} QCDeviceModel;

#ifdef __cplusplus
}
#endif

#endif // QC_RUNTIME_DEVICEABI_H
