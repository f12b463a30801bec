//===- GPUBuilder.h - Short names for emitting GPU kernels ------*- C++ -*-===//
//
// A builder for kernel bodies in gpu, arith, math, memref, scf and vector, for
// any GPU. A kernel is a gpu.func whose arguments are one-dimensional buffers
// of i32 or f32; index arithmetic fits 32 bits.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_GPU_GPUBUILDER_H
#define QC_TARGET_GPU_GPUBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qc/Dialect/QC/IR/DecodeEmitter.h"
#include "qc/Target/GPU/Passes.h"
#include "llvm/Support/FormatVariadic.h"

namespace mlir::qc::gpu {

class GPUBuilder : public ImplicitLocOpBuilder {
public:
  GPUBuilder(Location loc, MLIRContext *context, int64_t threads,
             bool subgroups)
      : ImplicitLocOpBuilder(loc, context), threads(threads),
        subgroups(subgroups) {}

  const int64_t threads; ///< of a workgroup, all in x
  const bool subgroups;  ///< reduce, whatever size they have

  // Constants
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(*this, value);
  }
  Value i32(int64_t value) {
    return arith::ConstantOp::create(
        *this, getI32IntegerAttr(static_cast<int32_t>(value)));
  }
  Value f32(double value) {
    return arith::ConstantOp::create(*this, getF32FloatAttr(value));
  }

  // Integer arithmetic
  Value add(Value a, Value b) { return arith::AddIOp::create(*this, a, b); }
  Value add(Value a, int64_t b) { return b ? add(a, index(b)) : a; }
  Value sub(Value a, Value b) { return arith::SubIOp::create(*this, a, b); }
  Value mul(Value a, Value b) { return arith::MulIOp::create(*this, a, b); }
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, index(b)); }
  Value div(Value a, int64_t b) {
    return b == 1 ? a : arith::DivUIOp::create(*this, a, index(b)).getResult();
  }
  Value rem(Value a, int64_t b) {
    return b == 1 ? index(0)
                  : arith::RemUIOp::create(*this, a, index(b)).getResult();
  }
  Value shr(Value a, int64_t bits) {
    return arith::ShRUIOp::create(*this, a, i32(bits));
  }
  Value shl(Value a, int64_t bits) {
    return arith::ShLIOp::create(*this, a, i32(bits));
  }
  Value land(Value a, Value b) { return arith::AndIOp::create(*this, a, b); }
  Value lor(Value a, Value b) { return arith::OrIOp::create(*this, a, b); }
  Value compare(arith::CmpIPredicate predicate, Value a, Value b) {
    return arith::CmpIOp::create(*this, predicate, a, b);
  }
  Value less(Value a, Value b) {
    return compare(arith::CmpIPredicate::slt, a, b);
  }
  Value less(Value a, int64_t b) { return less(a, index(b)); }
  Value select(Value condition, Value a, Value b) {
    return arith::SelectOp::create(*this, condition, a, b);
  }
  Value min(Value a, Value b) { return select(less(a, b), a, b); }
  Value max(Value a, Value b) { return select(less(a, b), b, a); }
  Value toIndex(Value word) {
    return arith::IndexCastOp::create(*this, getIndexType(), word);
  }
  Value toI32(Value index) {
    return arith::IndexCastOp::create(*this, getI32Type(), index);
  }

  // Float arithmetic, scalar or vector
  Value fadd(Value a, Value b) { return arith::AddFOp::create(*this, a, b); }
  Value fsub(Value a, Value b) { return arith::SubFOp::create(*this, a, b); }
  Value fmul(Value a, Value b) { return arith::MulFOp::create(*this, a, b); }
  Value fdiv(Value a, Value b) { return arith::DivFOp::create(*this, a, b); }
  Value fma(Value a, Value b, Value c) {
    return math::FmaOp::create(*this, a, b, c);
  }
  // Not maxnumf: there are no NaNs to care for, and SPIR-V would test for them.
  Value fmax(Value a, Value b) {
    return select(arith::CmpFOp::create(*this, arith::CmpFPredicate::OGT, a, b),
                  a, b);
  }
  Value exp(Value a) { return math::ExpOp::create(*this, a); }
  Value asF32(Value word) {
    return arith::BitcastOp::create(*this, getF32Type(), word);
  }
  Value asWord(Value value) {
    return arith::BitcastOp::create(*this, getI32Type(), value);
  }
  /// The only element of vector<1xT>.
  Value scalar(Value vector) { return element(vector, 0); }
  Value element(Value vector, int64_t at) {
    return vector::ExtractOp::create(*this, vector, at);
  }

  // Memory
  Value load(Value memref, Value at) {
    return memref::LoadOp::create(*this, memref, at);
  }
  void store(Value value, Value memref, Value at) {
    memref::StoreOp::create(*this, value, memref, at);
  }
  /// `count` elements as a vector, from a multiple of `count`.
  Value loadWide(Value memref, Value at, int64_t count) {
    Type element = cast<MemRefType>(memref.getType()).getElementType();
    return vector::LoadOp::create(*this, VectorType::get({count}, element),
                                  memref, ValueRange{at}, /*nontemporal=*/false,
                                  llvm::MaybeAlign(4 * count));
  }
  void storeWide(ArrayRef<Value> values, Value memref, Value at) {
    auto count = static_cast<int64_t>(values.size());
    Value all = vector::FromElementsOp::create(
        *this, VectorType::get({count}, values[0].getType()), values);
    vector::StoreOp::create(*this, all, memref, ValueRange{at},
                            /*nontemporal=*/false,
                            llvm::MaybeAlign(4 * values.size()));
  }
  /// Memory that the workgroup shares, from a multiple of `alignment` bytes on.
  Value shared(int64_t elements, Type type, int64_t alignment = 4);
  Value shared(int64_t elements) { return shared(elements, getF32Type()); }

  // Execution
  Value thread() {
    return mlir::gpu::ThreadIdOp::create(*this, mlir::gpu::Dimension::x);
  }
  Value group(mlir::gpu::Dimension dimension) {
    return mlir::gpu::BlockIdOp::create(*this, dimension);
  }
  Value groupX() { return group(mlir::gpu::Dimension::x); }
  Value groupY() { return group(mlir::gpu::Dimension::y); }
  /// `value` of the lane of the warp whose number differs in the bits `lanes`.
  Value shuffleXor(Value value, int64_t lanes) {
    return mlir::gpu::ShuffleOp::create(*this, value,
                                        static_cast<int32_t>(lanes), 32,
                                        mlir::gpu::ShuffleMode::XOR)
        .getShuffleResult();
  }
  /// All threads of the workgroup meet; their stores are seen.
  void barrier() { mlir::gpu::BarrierOp::create(*this); }

  using LoopBody =
      function_ref<SmallVector<Value>(Value iv, ValueRange carried)>;
  SmallVector<Value> loop(Value begin, Value end, int64_t step, ValueRange init,
                          LoopBody body);
  void loop(Value begin, Value end, int64_t step,
            function_ref<void(Value iv)> body) {
    loop(begin, end, step, ValueRange{}, [&](Value iv, ValueRange) {
      body(iv);
      return SmallVector<Value>();
    });
  }
  void ifThen(Value condition, function_ref<void()> body);
  /// What `then` returns if `condition` holds, else what `otherwise` does.
  SmallVector<Value> choose(Value condition,
                            function_ref<SmallVector<Value>()> then,
                            function_ref<SmallVector<Value>()> otherwise);

  /// `value` combined over `lanes` neighbouring threads of a warp, in all of
  /// them, in the order of a fixed tree.
  Value reduceLanes(Value value, int64_t lanes,
                    function_ref<Value(Value, Value)> combine);
  /// The same over the workgroup, of full warps: each, and then one after the
  /// other. `scratch` has an element a warp. Meets a barrier, but others may
  /// still read the scratch.
  Value reduceWarps(Value value, Value scratch,
                    function_ref<Value(Value, Value)> combine);

  /// Sum or largest of `value` over the workgroup, in all threads: in the order
  /// of a fixed tree, or each subgroup as its device likes and then one
  /// subgroup after the other. `scratch` has `threads` elements. Meets a
  /// barrier.
  Value reduceSum(Value value, Value scratch) {
    return reduce(value, scratch, mlir::gpu::AllReduceOperation::ADD,
                  [&](Value a, Value b) { return fadd(a, b); });
  }
  Value reduceMax(Value value, Value scratch) {
    return reduce(value, scratch, mlir::gpu::AllReduceOperation::MAXNUMF,
                  [&](Value a, Value b) { return fmax(a, b); });
  }

private:
  using Combine = function_ref<Value(Value, Value)>;
  Value reduce(Value value, Value scratch,
               mlir::gpu::AllReduceOperation operation, Combine combine);
  Value reduceSubgroups(Value value, Value scratch,
                        mlir::gpu::AllReduceOperation operation,
                        Combine combine);
};

/// How kernels multiply four signed with four unsigned bytes.
enum class IntegerDot {
  Emulated, ///< shifts and products
  SPIRV,    ///< OpSUDot, Vulkan 1.3
  NVVM,     ///< dp4a
};

/// A product of cooperative matrices, M x N x K bytes, by the threads of a
/// subgroup.
struct CooperativeShape {
  int64_t rows, tokens, inputs, subgroup;
};

/// Threads of a warp, where KernelContext::hasWarps().
inline constexpr int64_t warpThreads = 32;

struct KernelContext {
  ModuleOp module;
  mlir::gpu::GPUModuleOp kernels;
  TargetFeatures target; ///< with `words`
  int64_t maxTokens;
  IntegerDot integerDot = IntegerDot::Emulated;
  int64_t maxThreads = 128; ///< of a workgroup; Vulkan promises 128
  bool tensorCores = false; ///< mma.sync of 16x8x32 bytes, sm_80
  /// A thread has 4 rows and loads 128 bits.
  bool wideLoads = false;
  /// Threads of a warp, which exchange sums by shuffles; 0 where devices
  /// differ.
  int64_t warpSize = 0;
  /// In steps of one token products take rounding to int8 and norms in,
  /// attention the rotation and the KV cache. Needs hasWarps().
  bool fusedSteps = false;
  /// Shared memory that a workgroup may have, if more than 48 KB.
  int64_t sharedBytes = 0;
  /// New kernels may start before those that they depend on have ended, and
  /// wait for them by griddepcontrol (sm_90).
  bool programmatic = false;
  std::optional<CooperativeShape> cooperative = std::nullopt;
  bool subgroupReductions = false; ///< gpu.subgroup_reduce in reductions

  /// Whether kernels are made of warps of 32 threads that load 128 bits each,
  /// of any buffer.
  bool hasWarps() const { return wideLoads && warpSize == warpThreads; }

  // Types of buffers
  MemRefType words() {
    return MemRefType::get({ShapedType::kDynamic},
                           IntegerType::get(module.getContext(), 32));
  }
  MemRefType floats() {
    return MemRefType::get({ShapedType::kDynamic},
                           Float32Type::get(module.getContext()));
  }
};

/// The next kernel may start.
void emitLetNextStart(GPUBuilder &b, const KernelContext &ctx);
/// Begins to fetch prefetchBytes from word `at` of a buffer.
void emitPrefetch(GPUBuilder &b, Value buffer, Value at);
/// All threads begin to fetch a vector of `bytes` bytes, but for an end that is
/// shorter than prefetchBytes.
void emitPrefetchVector(GPUBuilder &b, Value buffer, int64_t bytes);
/// The bits of `value` as f32, in names of kernels.
std::string bitsOf(double value);

/// Threads of a workgroup, unless a kernel says otherwise.
inline constexpr int64_t workgroupThreads = 128;

/// Of a kernel: threads that a subgroup must have, i64; any number without it.
inline constexpr StringLiteral subgroupSizeAttrName = "qc.subgroup_size";

/// The kernel `name`; `body` fills it with its buffers when it is new. What
/// `early` does happens before kernels that it depends on have ended: it may
/// fetch weights. The next kernel may start, and fetch its weights, as soon as
/// this one has begun if `letsNextStart`, else where the body says so
/// (emitLetNextStart()) or at its end.
mlir::gpu::GPUFuncOp
getOrCreateKernel(KernelContext &ctx, StringRef name, TypeRange buffers,
                  function_ref<void(GPUBuilder &, ValueRange)> body,
                  int64_t threads = workgroupThreads,
                  function_ref<void(GPUBuilder &, ValueRange)> early = nullptr,
                  bool letsNextStart = true);

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_GPUBUILDER_H
