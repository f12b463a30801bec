//===- Kernels.h - Kernel generators of the CPU target ----------*- C++ -*-===//
//
// Each generator returns the private function of one kernel, creating it when
// the module does not have it yet (the name encodes everything it depends on).
// Arguments, by kind:
//   weights  memref<?xi8>, section "weights"; weight offsets are byte offsets
//   x, out   memref<?xCxf32>, activations [tokens, C]
//   thread, threads   index; work is split inside of the kernel
// No kernel allocates; none synchronizes.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_CPU_KERNELS_H
#define QC_TARGET_CPU_KERNELS_H

#include "KernelBuilder.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Dialect/QC/IR/ActivationBlocks.h"
#include "qc/Target/CPU/KernelTuning.h"

namespace mlir::qc::cpu {

struct KernelContext {
  ModuleOp module;
  TargetFeatures target;
  TuningTable tuning;
};

//===-- Elementwise and row kernels (RowKernels.cpp) ----------------------===//

/// (x, weights, offset of gamma f32 [group], out, thread, threads)
func::FuncOp rmsNormKernel(KernelContext &ctx, int64_t columns, int64_t group,
                           double eps);
/// (x, weights, offset of gamma, offset of beta, out, thread, threads)
func::FuncOp layerNormKernel(KernelContext &ctx, int64_t columns, double eps);
/// (a, b, out, thread, threads): out = a + b
func::FuncOp addKernel(KernelContext &ctx, int64_t columns);
/// (gate, up, out, thread, threads): out = act(gate) * up
func::FuncOp gateKernel(KernelContext &ctx, int64_t columns, GateKind kind);
/// (x, out [1, columns], thread, threads)
func::FuncOp lastTokenKernel(KernelContext &ctx, int64_t columns);
/// act(x) of a vector or scalar of f32.
Value emitActivation(KernelBuilder &b, GateKind kind, Value x);

/// Positions of a tile of the KV cache; capacities are multiples of it.
inline constexpr int64_t cacheTile = 16;
/// Elements of one tile of keys or values of one head.
int64_t cacheTileElements(lm::KVCacheType cache);

//===-- Positions and attention (AttentionKernels.cpp) --------------------===//

/// (position, out [tokens, dim], thread, threads)
func::FuncOp rotaryTableKernel(KernelContext &ctx, lm::RopeAttr rope);
/// (x, table, out, thread, threads)
func::FuncOp rotaryKernel(KernelContext &ctx, int64_t columns, int64_t headDim,
                          int64_t tableColumns);
/// (key, value, cache memref<?xT>, element offset of the layer, capacity,
///  position, thread, threads)
func::FuncOp appendKernel(KernelContext &ctx, lm::KVCacheType cache);
/// (query, cache, element offset of the layer, capacity, position, out, thread,
///  threads)
func::FuncOp attentionKernel(KernelContext &ctx, lm::KVCacheType cache,
                             int64_t heads, double scale,
                             std::optional<int64_t> window);
/// The same in reproducible mode.
func::FuncOp reproducibleAttentionKernel(KernelContext &ctx,
                                         lm::KVCacheType cache, int64_t heads,
                                         double scale,
                                         std::optional<int64_t> window);

//===-- Packed weights (MatmulKernels.cpp, DecodeKernels.cpp) -------------===//

/// Tokens and inputs of a tile of AMX's registers.
inline constexpr int64_t amxTokens = 16, amxTileK = 64;

/// How a matmul reads its activations: in blocks of `blockK` inputs, which are
/// one or several to a K block of the weight.
struct ActivationLayout {
  Arithmetic arithmetic = Arithmetic::F32;
  int64_t k = 0, blockK = 0, paddedBlockK = 0, blocks = 0;
  int64_t tile = 0; ///< tokens that int8 codes are interleaved by

  static ActivationLayout get(WeightType weight, Arithmetic arithmetic,
                              const KernelTuning &tuning);
  /// Inputs of a token that lie side by side: what one dot product takes.
  int64_t group() const {
    return arithmetic == Arithmetic::Int8   ? 4
           : arithmetic == Arithmetic::BF16 ? 2
                                            : 1;
  }
  int64_t numBlocks() const { return blocks; }
  int64_t paddedK() const { return numBlocks() * paddedBlockK; }
  /// f32 activations that are neither interleaved nor padded are read where
  /// they are.
  bool needsPreparation() const { return tile || paddedK() != k; }
  /// Elements from token to token in tiles of 16: of one A tile, so that it is
  /// contiguous, or of a whole block, where the last A tile overlaps others.
  int64_t amxStride() const {
    if (arithmetic == Arithmetic::BF16)
      return amxTileK / 2;
    return paddedBlockK % amxTileK ? paddedBlockK : amxTileK;
  }
  bool operator==(const ActivationLayout &) const = default;
  std::string name() const;
};

/// So many tokens and more are multiplied in tile registers on CPUs that have
/// them, the last ones beside rows of padding. Granite Rapids, one matrix of
/// int4, 2 threads: 8 tokens in 253 us, of which 4 take 206 by vectors; 5 would
/// be a product of 4 and one of 1.
inline constexpr int64_t amxLeastTokens = 5;

/// Whether `tokens` tokens are multiplied in tile registers, all of them.
inline Value usesAMX(KernelBuilder &b, Value tokens) {
  return b.less(b.index(amxLeastTokens - 1), tokens);
}
/// `tokens` with the padding of the last tile.
inline Value padToAMXTiles(KernelBuilder &b, Value tokens) {
  return b.mul(b.div(b.add(tokens, amxTokens - 1), amxTokens), amxTokens);
}

/// The buffers that prepareKernel() writes have whole tiles of so many rows.
inline int64_t activationRowTile(const TargetFeatures &target) {
  return target.amx || target.amxBF16 ? amxTokens : 1;
}
inline Value activationRows(KernelBuilder &b, Value tokens) {
  return activationRowTile(b.target) > 1 ? padToAMXTiles(b, tokens) : tokens;
}

/// The arithmetic that kernels have for `wanted` on a CPU: bf16 needs its dot
/// products and pairs of inputs; f32 is what it approximates.
Arithmetic supported(Arithmetic wanted, WeightType weight,
                     const TargetFeatures &target);

/// f32: (x, out f32 [tokens, paddedK], thread, threads); with layout.tile the
/// tokens interleaved as for int8, by single inputs
/// bf16: (x, out bf16 [tokens, paddedK], thread, threads), rounded to nearest
/// even; the tokens interleaved as for int8, by pairs of inputs; K padded with
/// zeros to whole tiles of AMX
/// int8: (x, out i8 [tokens, paddedK], scales f32 [tokens, blocks],
///        sums of codes i32 [tokens, blocks], thread, threads)
///
/// The int8 outputs interleave the tokens of each tile of KernelBuilder::
/// forTiles() with layout.tile, so that a kernel reads one stream: with t the
/// tile's first token and c its size, the code of token t + m and input i is
/// element t * paddedK + i / 4 * 4 * c + 4 * m + i % 4 of the buffer, the scale
/// of block j element t * blocks + j * c + m. For one token that is its row.
///
/// Where usesAMX() all tiles have c = 16, and the buffers room for
/// padToAMXTiles() tokens; the padding has scale 0. The codes are A tiles: with
/// w from ActivationLayout::amxStride(), that of input i of a block which
/// begins at input f is element t * paddedK + f * 16 + i / w * w * 16 + m * w +
/// i % w.
func::FuncOp prepareKernel(KernelContext &ctx, const ActivationLayout &layout);

/// Types of what prepareKernel() writes.
SmallVector<Type> activationTypes(KernelBuilder &b,
                                  const ActivationLayout &input);

/// Stores the sums of the lanes' rows to columns of `out` from `column` on, as
/// far as the weight has them.
void emitStoreRows(KernelBuilder &b, const ::qc::PackedLayout &layout,
                   Value sums, Value out, Value row, Value column);

/// The value of a splat constant that is an integer.
std::optional<int64_t> matchInteger(Value vector);

/// f32: (weights, offset, x, out, first row block, last row block)
/// int8: (weights, offset, x, scales, sums, out, first, last)
/// out [tokens, N] columns [first * rows, last * rows) = x W^T
func::FuncOp matmulKernel(KernelContext &ctx, WeightType weight,
                          Arithmetic arithmetic, const KernelTuning &tuning);
SmallVector<Type> matmulArguments(KernelBuilder &b, WeightType weight,
                                  Arithmetic arithmetic,
                                  const KernelTuning &tuning);
/// The same as matmulKernel() in int8 arithmetic, where usesAMX().
func::FuncOp amxMatmulKernel(KernelContext &ctx, WeightType weight,
                             const KernelTuning &tuning);
/// In bf16 arithmetic.
func::FuncOp amxBF16MatmulKernel(KernelContext &ctx, WeightType weight,
                                 const KernelTuning &tuning);

/// Rows that look a code up at once: the bytes of a register.
inline constexpr int64_t tableRows = 64;

/// Tables of partial sums for one token, u8 [vectors][books][entries] a K
/// block.
struct TableLayout {
  /// K is split in at most so many parts, and the rows in so many shares.
  static constexpr int64_t maxParts = 16, maxShares = 4;

  AdditiveTables books;
  int64_t vectors = 0; ///< of a K block
  int64_t blocks = 0;

  /// None where the CPU or the format has no use for them.
  static std::optional<TableLayout>
  get(const TargetFeatures &target, WeightType weight, Arithmetic arithmetic);
  int64_t entries() const { return int64_t(1) << books.bits; }
  int64_t tableBytes() const { return std::max<int64_t>(64, entries()); }
  int64_t blockBytes() const { return vectors * books.books * tableBytes(); }
  int64_t scratchWords() const { return blockBytes(); }
  /// Bytes of the tables of all threads, which have partBytes() each.
  int64_t totalBytes() const {
    return maxShares * (blocks + maxParts) * blockBytes();
  }
};

/// How many partial outputs lookupKernel() writes.
Value emitNumParts(KernelBuilder &b, const TableLayout &t, Value threads);

/// One token: (weights, offset, codes, scales, sums, tables memref<?xi8>, byte
///  offset of the thread's tables, partial outputs f32 [maxParts, N], thread,
///  threads)
func::FuncOp lookupKernel(KernelContext &ctx, WeightType weight);

/// From so many tokens on oneDNN is asked: there it is the faster one
/// (docs/Performance.md).
inline constexpr int64_t oneDNNTokens = 128;
/// Whether qc_onednn_matmul_f32() of the runtime reads the packed weight.
bool hasOneDNNLayout(WeightType weight, Arithmetic arithmetic);

/// One qc.matmul: all its weights in one pass, then its epilogue.
struct MatmulSignature {
  SmallVector<WeightType> weights;
  /// One token is multiplied by tables of partial sums.
  bool tables = false;
  /// oneDNN multiplies where there are oneDNNTokens or more, if it can.
  bool oneDNN = false;
  Arithmetic arithmetic = Arithmetic::F32;
  KernelTuning tuning;
  bool bias = false, residual = false;
  std::optional<GateKind> gate;
};
/// (weights, x..., [x as the matmul has it, with oneDNN],
///  [offset of weight i]..., [partial outputs i]..., [offset of bias i]...,
///  [residual], [out i]..., thread, threads); with gate a second buffer like
///  out follows it.
func::FuncOp fusedMatmulKernel(KernelContext &ctx, const MatmulSignature &sig);

/// (weights, offset, row, out memref<?xKxf32>, row of out)
func::FuncOp decodeRowKernel(KernelContext &ctx, WeightType weight);
/// (ids memref<?xi32>, weights, offset, out, thread, threads)
func::FuncOp embeddingKernel(KernelContext &ctx, WeightType weight);

/// Identifier of a packed weight type in kernel names.
std::string weightName(WeightType weight);
/// Identifier in kernel names of a tuning that is not the target's own.
std::string tuningName(const KernelContext &ctx, const KernelTuning &tuning);

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_KERNELS_H
