//===- GPUBuilder.cpp - Short names for emitting GPU kernels --------------===//
#include "GPUBuilder.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::qc;

SmallVector<Value> mlir::qc::gpu::GPUBuilder::loop(Value begin, Value end,
                                                   int64_t step,
                                                   ValueRange init,
                                                   LoopBody body) {
  auto op = scf::ForOp::create(*this, begin, end, index(step), init);
  OpBuilder::InsertionGuard guard(*this);
  // The builder adds an empty terminator only to loops that carry nothing.
  if (init.empty())
    setInsertionPoint(op.getBody()->getTerminator());
  else
    setInsertionPointToEnd(op.getBody());
  SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
  if (!init.empty())
    scf::YieldOp::create(*this, next);
  return SmallVector<Value>(op.getResults());
}

void mlir::qc::gpu::GPUBuilder::ifThen(Value condition,
                                       function_ref<void()> body) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  body();
}

SmallVector<Value> mlir::qc::gpu::GPUBuilder::choose(
    Value condition, function_ref<SmallVector<Value>()> then,
    function_ref<SmallVector<Value>()> otherwise) {
  auto branch = [this](function_ref<SmallVector<Value>()> body) {
    return [this, body](OpBuilder &nested, Location) {
      OpBuilder::InsertionGuard guard(*this);
      restoreInsertionPoint(nested.saveInsertionPoint());
      scf::YieldOp::create(*this, body());
    };
  };
  return SmallVector<Value>(
      scf::IfOp::create(*this, condition, branch(then), branch(otherwise))
          .getResults());
}

Value mlir::qc::gpu::GPUBuilder::shared(int64_t elements, Type type,
                                        int64_t alignment) {
  auto space = mlir::gpu::AddressSpaceAttr::get(
      getContext(), mlir::gpu::AddressSpace::Workgroup);
  Operation *parent = getInsertionBlock()->getParentOp();
  auto kernel = dyn_cast<mlir::gpu::GPUFuncOp>(parent);
  if (!kernel)
    kernel = parent->getParentOfType<mlir::gpu::GPUFuncOp>();
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(&kernel.front());
  return memref::AllocOp::create(
      *this,
      MemRefType::get({elements}, type, MemRefLayoutAttrInterface(), space),
      alignment > 4 ? getI64IntegerAttr(alignment) : IntegerAttr());
}

// Subgroups need not be full, and their number is only known to the device.
Value mlir::qc::gpu::GPUBuilder::reduceSubgroups(
    Value value, Value scratch, mlir::gpu::AllReduceOperation operation,
    Combine combine) {
  Value part = mlir::gpu::SubgroupReduceOp::create(*this, value, operation,
                                                   /*uniform=*/false);
  Value lane = mlir::gpu::LaneIdOp::create(*this, IntegerAttr());
  Value own = mlir::gpu::SubgroupIdOp::create(*this, IntegerAttr());
  ifThen(compare(arith::CmpIPredicate::eq, lane, index(0)),
         [&] { store(part, scratch, own); });
  barrier();
  Value count = mlir::gpu::NumSubgroupsOp::create(*this, IntegerAttr());
  Value result =
      loop(index(1), count, 1, load(scratch, index(0)),
           [&](Value i, ValueRange carried) {
             return SmallVector<Value>{combine(carried[0], load(scratch, i))};
           })
          .front();
  // The scratch may be written again at once.
  barrier();
  return result;
}

Value mlir::qc::gpu::GPUBuilder::reduce(Value value, Value scratch,
                                        mlir::gpu::AllReduceOperation operation,
                                        Combine combine) {
  if (subgroups)
    return reduceSubgroups(value, scratch, operation, combine);
  Value own = thread();
  store(value, scratch, own);
  barrier();
  for (int64_t half = threads / 2; half > 0; half /= 2) {
    ifThen(less(own, half), [&] {
      store(combine(load(scratch, own), load(scratch, add(own, half))), scratch,
            own);
    });
    barrier();
  }
  Value result = load(scratch, index(0));
  // The scratch may be written again at once.
  barrier();
  return result;
}

Value mlir::qc::gpu::GPUBuilder::reduceLanes(
    Value value, int64_t lanes, function_ref<Value(Value, Value)> combine) {
  for (int64_t half = lanes / 2; half > 0; half /= 2)
    value = combine(value, shuffleXor(value, half));
  return value;
}

Value mlir::qc::gpu::GPUBuilder::reduceWarps(
    Value value, Value scratch, function_ref<Value(Value, Value)> combine) {
  value = reduceLanes(value, warpThreads, combine);
  ifThen(less(rem(thread(), warpThreads), 1),
         [&] { store(value, scratch, div(thread(), warpThreads)); });
  barrier();
  Value result = load(scratch, index(0));
  for (int64_t warp = 1; warp < threads / warpThreads; ++warp)
    result = combine(result, load(scratch, index(warp)));
  return result;
}

void mlir::qc::gpu::emitLetNextStart(GPUBuilder &b, const KernelContext &ctx) {
  if (ctx.programmatic)
    NVVM::GriddepcontrolOp::create(b,
                                   NVVM::GridDepActionKind::launch_dependents);
}

void mlir::qc::gpu::emitPrefetch(GPUBuilder &b, Value buffer, Value at) {
  memref::PrefetchOp::create(b, buffer, ValueRange{at}, /*isWrite=*/false,
                             /*localityHint=*/3, /*isDataCache=*/true);
}

void mlir::qc::gpu::emitPrefetchVector(GPUBuilder &b, Value buffer,
                                       int64_t bytes) {
  if (int64_t pieces = bytes / prefetchBytes; pieces > 0)
    b.ifThen(b.less(b.thread(), pieces), [&] {
      emitPrefetch(b, buffer, b.mul(b.thread(), prefetchBytes / 4));
    });
}

std::string mlir::qc::gpu::bitsOf(double value) {
  return llvm::formatv("{0:x-}",
                       llvm::bit_cast<uint32_t>(static_cast<float>(value)));
}

mlir::gpu::GPUFuncOp mlir::qc::gpu::getOrCreateKernel(
    KernelContext &ctx, StringRef name, TypeRange buffers,
    function_ref<void(GPUBuilder &, ValueRange)> body, int64_t threads,
    function_ref<void(GPUBuilder &, ValueRange)> early, bool letsNextStart) {
  if (auto known = ctx.kernels.lookupSymbol<mlir::gpu::GPUFuncOp>(name))
    return known;
  MLIRContext *context = ctx.module.getContext();
  Location loc = NameLoc::get(StringAttr::get(context, name));
  GPUBuilder b(loc, context, threads, ctx.subgroupReductions);
  b.setInsertionPointToEnd(ctx.kernels.getBody());
  auto kernel = mlir::gpu::GPUFuncOp::create(
      b, name, b.getFunctionType(buffers, TypeRange{}));
  kernel->setAttr(mlir::gpu::GPUDialect::getKernelFuncAttrName(),
                  b.getUnitAttr());
  int32_t size[] = {static_cast<int32_t>(threads), 1, 1};
  kernel.setKnownBlockSize(ArrayRef<int32_t>(size));
  b.setInsertionPointToStart(&kernel.front());
  if (ctx.programmatic) {
    kernel->setAttr(programmaticAttr, b.getUnitAttr());
    if (early)
      early(b, kernel.getArguments());
    NVVM::GriddepcontrolOp::create(b, NVVM::GridDepActionKind::wait);
    if (letsNextStart)
      emitLetNextStart(b, ctx);
  }
  body(b, kernel.getArguments());
  mlir::gpu::ReturnOp::create(b);
  return kernel;
}
