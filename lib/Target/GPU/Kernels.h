//===- Kernels.h - Kernel generators of the GPU targets ---------*- C++ -*-===//
//
// Each generator returns one kernel, creating it when the module does not have
// it yet (the name encodes everything it depends on). Comments list its buffers
// and its grid. Buffers:
//   state    i32, QCDeviceState
//   weight   i32, a packed weight, at its beginning
//   gamma... f32 vectors of parameters
//   x, out   f32, activations [tokens][columns]
// Grids are (x, tokens); a kernel of one token runs on (x, 1).
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_GPU_KERNELS_H
#define QC_TARGET_GPU_KERNELS_H

#include "GPUBuilder.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Dialect/QC/IR/ActivationBlocks.h"

namespace mlir::qc::gpu {

using Kernel = mlir::gpu::GPUFuncOp;

//===-- Elementwise and row kernels (RowKernels.cpp) ----------------------===//

/// x, gamma [group], out; (columns / group, tokens)
Kernel rmsNormKernel(KernelContext &ctx, int64_t columns, int64_t group,
                     double eps);
/// x, gamma, beta, out; (1, tokens)
Kernel layerNormKernel(KernelContext &ctx, int64_t columns, double eps);
/// a, b, out; (elementGroups(columns), tokens)
Kernel addKernel(KernelContext &ctx, int64_t columns);
/// gate, up, out: act(gate) * up; (elementGroups(columns), tokens)
Kernel gateKernel(KernelContext &ctx, int64_t columns, GateKind kind);
/// state, x, out [1][columns]; (elementGroups(columns), 1)
Kernel lastTokenKernel(KernelContext &ctx, int64_t columns);
/// state, x, table, out; (elementGroups(columns), tokens)
Kernel rotaryKernel(KernelContext &ctx, int64_t columns, int64_t headDim,
                    int64_t tableColumns);
/// Workgroups that cover `columns` elements, one a thread.
inline int64_t elementGroups(int64_t columns) {
  return (columns + workgroupThreads - 1) / workgroupThreads;
}
Value emitActivation(GPUBuilder &b, GateKind kind, Value x);

//===-- Attention (AttentionKernels.cpp) ----------------------------------===//

/// One layer of the KV cache: keys in tiles [head][capacity / 32][word][32],
/// values [head][capacity][word]; a word holds one f32, two f16 or four i8 of
/// consecutive dimensions, so that neighbouring threads (positions in the first
/// half of attention, dimensions in the second) read neighbouring words. Behind
/// i8 elements: their scales in f32, of keys [head][capacity], of values
/// [head][capacity].
struct CacheLayout {
  lm::KVCacheType type;
  static constexpr int64_t tile = 32;

  bool isInt8() const { return type.getElementType().isInteger(8); }
  int64_t perWord() const {
    return 32 / type.getElementType().getIntOrFloatBitWidth();
  }
  int64_t words() const { return type.getHeadDim() / perWord(); }
  /// Bytes of one layer a position, keys and values.
  int64_t bytesPerPosition() const {
    return 2 * type.getHeads() * (words() + isInt8()) * 4;
  }
  /// Workgroups of appendKernel() a token: of i8, one a head.
  int64_t appendGroups() const;
};

/// state, key, value, cache; (appendGroups(), tokens)
Kernel appendKernel(KernelContext &ctx, const CacheLayout &cache);
/// state, query, cache, out; (heads, tokens)
Kernel attentionKernel(KernelContext &ctx, const CacheLayout &cache,
                       int64_t heads, double scale,
                       std::optional<int64_t> window);
/// The same on tensor cores, where it is made for the cache: queries and
/// probabilities are f16, sums f32. (heads, tokens / attentionTokens)
Kernel tensorAttentionKernel(KernelContext &ctx, const CacheLayout &cache,
                             int64_t heads, double scale,
                             std::optional<int64_t> window);
bool canAttendOnTensorCores(const KernelContext &ctx, const CacheLayout &cache);
/// Tokens of a workgroup.
inline constexpr int64_t attentionTokens = 64;

/// What attentionStepKernel() does besides: columns of the rotary tables of the
/// query and of the key, 0 if they come rotated.
struct AttentionStep {
  int64_t queryTable = 0, keyTable = 0;
};
bool canFuseAttention(const KernelContext &ctx, const CacheLayout &cache);
/// Workgroups that share the positions of one head, and what they leave.
int64_t attentionParts(int64_t heads);
int64_t attentionPartBytes(const CacheLayout &cache, int64_t heads);
/// Of one token: rotates, appends, attends. state, query, key, value, [table
/// of the query], [of the key], cache, out, with several parts what they leave;
/// (heads, attentionParts(heads))
Kernel attentionStepKernel(KernelContext &ctx, const CacheLayout &cache,
                           int64_t heads, double scale,
                           std::optional<int64_t> window,
                           const AttentionStep &step);
/// What parts leave, out; (heads, 1)
Kernel attentionCombineKernel(KernelContext &ctx, const CacheLayout &cache,
                              int64_t heads);

//===-- Packed weights (MatmulKernels.cpp, EmbeddingKernels.cpp) ----------===//

/// How a matmul in int8 arithmetic reads its activations: codes in
/// [-127, 127], four to a word, [tokens][blocks * paddedBlockK / 4]; a scale
/// (f32) and the sum of the codes (i32) of each block, [tokens][blocks].
/// x, codes i32, scales, sums i32; (quantizeGroups(), tokens)
Kernel quantizeKernel(KernelContext &ctx, const ActivationBlocks &layout);
/// A workgroup a block, or several where warps compute them.
int64_t quantizeGroups(const KernelContext &ctx,
                       const ActivationBlocks &layout);

/// Of a block whose largest magnitude is `top`.
struct Int8Scale {
  Value scale, inverse;
};
Int8Scale emitInt8Scale(GPUBuilder &b, Value top);
/// A word of the codes of four values, whose sum is added to `total`.
Value emitCodes(GPUBuilder &b, const Int8Scale &scale, ArrayRef<Value> values,
                Value &total);

/// Whether a kernel of one token can round such an input for itself.
bool canQuantizeInProduct(const ActivationBlocks &layout);
/// Codes, scales and sums in shared memory, of x, or of its RMS norm if there
/// is a `gamma`; codes from a multiple of `alignment` bytes on. Meets barriers.
SmallVector<Value> emitQuantizedInput(GPUBuilder &b,
                                      const ActivationBlocks &layout, Value x,
                                      Value gamma, double eps,
                                      int64_t alignment = 4);
/// The same for products with more workgroups than should do it each. x, gamma,
/// codes i32, scales, sums i32; (1, 1)
Kernel normQuantizeKernel(KernelContext &ctx, const ActivationBlocks &layout,
                          double eps);

/// One weight, or two with a gate; tokens in tiles of `tokens`.
struct MatmulSignature {
  Arithmetic arithmetic = Arithmetic::F32;
  WeightType weight;
  std::optional<WeightType> second; ///< with `gate`
  std::optional<GateKind> gate;
  bool bias = false, residual = false;
  /// Of one token in int8 arithmetic: x is f32, the kernel rounds it, with
  /// `normEps` after its RMS norm.
  bool quantizes = false;
  std::optional<double> normEps;
  /// Further weights of the same input, by workgroups of their own.
  SmallVector<WeightType> others;
  int64_t tokens = 1;
  int64_t threads = workgroupThreads; ///< of a workgroup
  /// Of one token, with tables in shared memory: rows of a unit, 16 or 32.
  int64_t tableRows = 0;

  /// Enough threads for a kernel of one token to keep a large GPU's memory busy
  /// with few row blocks.
  void chooseThreads(int64_t most);
  int64_t groups() const;
  /// All of them, in the order of their buffers.
  SmallVector<WeightType> weights() const;
};
/// Most tokens that share a decoded weight.
inline constexpr int64_t tokenTile = 8;
/// Rows that a workgroup computes, and so of a row block of packed weights.
inline constexpr int64_t rowsPerGroup = 32;

/// [state if tokens > 1], weight..., x (int8: codes, scales, sums), [gamma],
/// [bias...], [residual], out...; (groups(), tokens / tile)
Kernel matmulKernel(KernelContext &ctx, const MatmulSignature &sig);

/// The same of one token, of weights whose codes are looked up in tables, if
/// copies of those fit shared memory (TableMatmulKernel.cpp): chooses threads
/// and tableRows, or returns false. (tableGroups(), 1)
bool chooseTables(const KernelContext &ctx, MatmulSignature &sig);
int64_t tableGroups(const MatmulSignature &sig);
Kernel tableMatmulKernel(KernelContext &ctx, const MatmulSignature &sig);

/// The name and the buffers of its kernel.
std::string matmulName(const MatmulSignature &sig);
SmallVector<Type> matmulBuffers(KernelContext &ctx, const MatmulSignature &sig);
/// The same, apart.
struct MatmulArguments {
  MatmulArguments(const MatmulSignature &sig, ValueRange args);
  ValueRange state, blobs, input, gamma, biases, residual, outs;
};
/// body(weights from `first` on, how many, output, row block) for the product
/// of this workgroup.
void forProduct(
    GPUBuilder &b, const MatmulSignature &sig, ValueRange outs,
    function_ref<void(size_t first, size_t count, Value out, Value rowBlock)>
        body);
/// Stores a row of a token from its sums in the products from `first` on: adds
/// bias and residual, `added` if that is loaded already, and gates.
void storeResult(GPUBuilder &b, const MatmulSignature &sig,
                 const MatmulArguments &args, size_t first,
                 SmallVector<Value> sums, Value out, Value row, Value token,
                 Value added = Value());
/// Before the kernel may read its input: fetches a part of this workgroup's
/// weights into the cache, which hides the kernel's start.
void prefetchWeights(GPUBuilder &b, const MatmulSignature &sig,
                     const MatmulArguments &args);
/// acc + 4-way dot product of unsigned codes with signed activations.
Value emitDot(GPUBuilder &b, const KernelContext &ctx, Value acc, Value codes,
              Value activations);
/// `sums` of a thread's rows, which each `lanes`th thread of the warp has too,
/// become the sum of one row over as many threads as there are rows: of row
/// (thread / lanes) % rows.
Value emitExchange(GPUBuilder &b, ValueRange sums, int64_t lanes);
/// Whether the arrays of a row block begin at multiples of 16 bytes.
bool isWide(const ::qc::PackedLayout &layout);
/// The value of a splat constant that is an integer.
std::optional<int64_t> matchInteger(Value vector);

/// The same in int8 arithmetic on tensor cores, tokens in tiles of sig.tokens,
/// a multiple of 8; (groups() / 4, tokens / tile)
Kernel tensorMatmulKernel(KernelContext &ctx, const MatmulSignature &sig);
/// Most tokens of a tile.
inline constexpr int64_t mostTensorTokens = 64;
/// Tokens of a tile for these weights and gate.
int64_t tensorTokens(const MatmulSignature &sig);

/// The same on the cooperative matrices of `ctx`, tokens in tiles of
/// sig.tokens; (groups(), tokens / tile)
Kernel cooperativeMatmulKernel(KernelContext &ctx, const MatmulSignature &sig);
/// Tokens of a tile for these weights and gate; 0 if their codes do not fit
/// shared memory.
int64_t cooperativeTokens(const KernelContext &ctx, const MatmulSignature &sig);
/// The same for few tokens: a workgroup a row block, whose warps share K; also
/// with others. sig.tokens, a multiple of 8; (groups(), tokens / tile)
Kernel fewTokensMatmulKernel(KernelContext &ctx, const MatmulSignature &sig);
/// Threads of its workgroups.
int64_t fewTokensThreads(const KernelContext &ctx, const MatmulSignature &sig);

/// state, weight, out; (1, tokens)
Kernel embeddingKernel(KernelContext &ctx, WeightType weight);
/// weight, out [n][k]; (256, n / 256): every row decoded, for --self-test
Kernel decodeKernel(KernelContext &ctx, WeightType weight);

//===-- Sampling (SamplingKernels.cpp) ------------------------------------===//

/// Candidates that a workgroup sorts; it keeps QC_TOP_CANDIDATES.
inline constexpr int64_t sortedCandidates = 1024;
/// Workgroups for n candidates.
inline int64_t topGroups(int64_t n) {
  return (n + sortedCandidates - 1) / sortedCandidates;
}
/// x [n], out QCDeviceTop [topGroups(n)], ids are indices; (topGroups(n), 1)
Kernel topKernel(KernelContext &ctx, int64_t n);
/// in QCDeviceTop [groups], out QCDeviceTop [topGroups(groups *
/// QC_TOP_CANDIDATES)]; (that, 1)
Kernel mergeTopKernel(KernelContext &ctx, int64_t groups);
/// QCDeviceTop, state: the best candidate becomes the next step's token; (1, 1)
Kernel advanceKernel(KernelContext &ctx);

/// Identifier of a packed weight type in kernel names.
std::string weightName(WeightType weight);

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_KERNELS_H
