//===- KernelBuilder.h - Short names for emitting kernels -------*- C++ -*-===//
//
// A builder for kernel bodies in arith, math, vector, memref and scf. Kernels
// are private functions on memrefs; every thread of the team calls them with
// the same arguments and its own `thread`, and takes its share of the items.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_CPU_KERNELBUILDER_H
#define QC_TARGET_CPU_KERNELBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qc/Dialect/QC/IR/DecodeEmitter.h"
#include "llvm/Support/FormatVariadic.h"

namespace mlir::qc::cpu {

/// A half-open range of type index.
struct ItemRange {
  Value begin, end;
};

class KernelBuilder : public ImplicitLocOpBuilder {
public:
  KernelBuilder(Location loc, MLIRContext *context,
                const TargetFeatures &target)
      : ImplicitLocOpBuilder(loc, context), target(target) {}

  const TargetFeatures &target;

  // Types
  VectorType f32s(int64_t n) { return VectorType::get({n}, getF32Type()); }
  VectorType i32s(int64_t n) { return VectorType::get({n}, getI32Type()); }
  VectorType i8s(int64_t n) { return VectorType::get({n}, getI8Type()); }
  MemRefType matrix(int64_t columns, Type type) {
    return MemRefType::get({ShapedType::kDynamic, columns}, type);
  }
  MemRefType matrix(int64_t columns) { return matrix(columns, getF32Type()); }
  MemRefType bytes() {
    return MemRefType::get({ShapedType::kDynamic}, getI8Type());
  }

  // Constants
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(*this, value);
  }
  Value f32(double value) {
    return arith::ConstantOp::create(*this, getF32FloatAttr(value));
  }
  Value splat(int64_t n, double value) {
    return arith::ConstantOp::create(
        *this, DenseElementsAttr::get(f32s(n), getF32FloatAttr(value)));
  }

  // Index arithmetic
  Value add(Value a, Value b) { return arith::AddIOp::create(*this, a, b); }
  Value add(Value a, int64_t b) { return b ? add(a, index(b)) : a; }
  Value sub(Value a, Value b) { return arith::SubIOp::create(*this, a, b); }
  Value mul(Value a, Value b) { return arith::MulIOp::create(*this, a, b); }
  Value mul(Value a, int64_t b) { return mul(a, index(b)); }
  Value div(Value a, Value b) { return arith::DivUIOp::create(*this, a, b); }
  Value div(Value a, int64_t b) { return div(a, index(b)); }
  Value rem(Value a, Value b) { return arith::RemUIOp::create(*this, a, b); }
  Value rem(Value a, int64_t b) { return rem(a, index(b)); }
  Value min(Value a, Value b) { return arith::MinSIOp::create(*this, a, b); }
  Value max(Value a, Value b) { return arith::MaxSIOp::create(*this, a, b); }

  // Float arithmetic, scalar or vector
  Value fadd(Value a, Value b) { return arith::AddFOp::create(*this, a, b); }
  Value fsub(Value a, Value b) { return arith::SubFOp::create(*this, a, b); }
  Value fmul(Value a, Value b) { return arith::MulFOp::create(*this, a, b); }
  Value fdiv(Value a, Value b) { return arith::DivFOp::create(*this, a, b); }
  Value fmax(Value a, Value b) { return arith::MaxNumFOp::create(*this, a, b); }
  /// a * b + c, rounded once where the CPU can.
  Value fma(Value a, Value b, Value c) {
    if (!target.fma || target.reproducible)
      return fadd(fmul(a, b), c);
    return math::FmaOp::create(*this, a, b, c);
  }
  Value broadcast(int64_t n, Value scalar) {
    return vector::BroadcastOp::create(
        *this, VectorType::get({n}, scalar.getType()), scalar);
  }
  /// Of a vector of a power of two elements.
  Value reduce(vector::CombiningKind kind, Value v);
  Value sum(Value v) { return reduce(vector::CombiningKind::ADD, v); }
  /// Sum of a vector of a power of two elements: of its halves, of their halves
  /// and so on, as the threads of a GPU's workgroup add up.
  Value treeSum(Value v);

  // Memory
  Value dim(Value memref, int64_t i) {
    return memref::DimOp::create(*this, memref, i);
  }
  Value load(Value memref, ValueRange at) {
    return memref::LoadOp::create(*this, memref, at);
  }
  void store(Value value, Value memref, ValueRange at) {
    memref::StoreOp::create(*this, value, memref, at);
  }
  Value loadVector(int64_t n, Value memref, ValueRange at) {
    Type element = cast<MemRefType>(memref.getType()).getElementType();
    return vector::LoadOp::create(*this, VectorType::get({n}, element), memref,
                                  at);
  }
  /// All elements of a contiguous matrix in one row.
  Value flatten(Value matrix) {
    return memref::CollapseShapeOp::create(
        *this, matrix, ArrayRef<ReassociationIndices>{{0, 1}});
  }
  void storeVector(Value value, Value memref, ValueRange at) {
    vector::StoreOp::create(*this, value, memref, at);
  }
  /// rows x columns matrix of `type` at byte `offset` of `memory`.
  Value view(Value memory, Value offset, Value rows, int64_t columns,
             Type type) {
    return memref::ViewOp::create(*this, matrix(columns, type), memory, offset,
                                  ValueRange{rows});
  }

  /// Asks for `bytes` bytes of `memory`, `ahead` behind `at`, in the
  /// second-level cache. They may be beyond its end. `stays`: code generation
  /// leaves it where it is (pinPrefetches in Emit.cpp), for which it is marked
  /// as one for writing.
  void prefetch(Value memory, Value at, int64_t ahead, int64_t bytes,
                bool stays = false) {
    for (int64_t i = 0; i < bytes; i += 64)
      memref::PrefetchOp::create(*this, memory, ValueRange{add(at, ahead + i)},
                                 /*isWrite=*/stays, /*localityHint=*/2,
                                 /*isDataCache=*/true);
  }

  // Control flow
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
  Value less(Value a, Value b) {
    return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, a, b);
  }

  /// Calls body(first, count) for tiles that cover [begin, end): of `largest`,
  /// a power of two, then of smaller powers of two.
  void forTiles(Value begin, Value end, int64_t largest,
                function_ref<void(Value, int64_t)> body);

  /// First item and size of the tile of forTiles(0, count, largest) that holds
  /// `item`.
  std::pair<Value, Value> tileOf(Value item, Value count, int64_t largest);

  /// Share of thread `thread` of `threads` in `items`.
  ItemRange partition(Value items, Value thread, Value threads);

  /// Calls body(range) for the parts of `items` that the team's thread gets
  /// (qc_claim of ModelABI.h).
  void forClaims(Value team, Value thread, Value threads, int64_t items,
                 Value tokens, function_ref<void(ItemRange)> body);

  /// Covers [0, n) in vectors: a loop of full registers, then a straight-line
  /// tail of powers of two. body(width, offset).
  void forVectors(int64_t n, function_ref<void(int64_t, Value)> body);
  /// The same, adding up (or taking the maximum of) what `body` returns for
  /// each vector to one scalar. In reproducible mode element i is added to the
  /// sum i % treeLanes, then these are by treeSum().
  Value reduceVectors(int64_t n, vector::CombiningKind kind, double identity,
                      function_ref<Value(int64_t, Value)> body);
};

/// Sums that reproducible kernels add up in parallel: the threads of a GPU's
/// workgroup.
inline constexpr int64_t treeLanes = 128;

/// Largest power of two that divides `n`, at most `limit`.
int64_t vectorWidth(int64_t n, int64_t limit);

/// The private function `name` of `module`; `body` fills it when it is new.
func::FuncOp
getOrCreateKernel(ModuleOp module, StringRef name, TypeRange arguments,
                  const TargetFeatures &target,
                  function_ref<void(KernelBuilder &, ValueRange)> body);

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_KERNELBUILDER_H
