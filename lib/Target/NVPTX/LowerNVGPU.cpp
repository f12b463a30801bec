//===- LowerNVGPU.cpp - nvgpu and prefetches to NVVM ----------------------===//
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/NVPTX/Passes.h"

namespace mlir::qc::nvptx {
#define GEN_PASS_DEF_LOWERNVGPUPASS
#include "qc/Target/NVPTX/Passes.h.inc"
} // namespace mlir::qc::nvptx

using namespace mlir;

namespace {
struct LowerNVGPUPass
    : mlir::qc::nvptx::impl::LowerNVGPUPassBase<LowerNVGPUPass> {
  using LowerNVGPUPassBase::LowerNVGPUPassBase;
  void runOnOperation() override;
};
} // namespace

/// What a cast that the conversion left was made from, if it has `Type`.
template <typename Type>
static Value converted(Value value) {
  auto cast = value.getDefiningOp<UnrealizedConversionCastOp>();
  if (!cast || cast.getInputs().size() != 1 ||
      !isa<Type>(cast.getInputs()[0].getType()))
    return Value();
  return cast.getInputs()[0];
}

/// memref[index] as a pointer; null if the operands were not converted.
static Value pointerTo(ImplicitLocOpBuilder &b, Value memref,
                       ValueRange indices) {
  auto type = cast<MemRefType>(memref.getType());
  Value descriptor = converted<LLVM::LLVMStructType>(memref);
  if (!descriptor || indices.size() != 1 || !type.getLayout().isIdentity())
    return Value();
  Value index = converted<IntegerType>(indices[0]);
  if (!index)
    return Value();
  Value base = LLVM::ExtractValueOp::create(b, descriptor, 1);
  return LLVM::GEPOp::create(b, base.getType(), type.getElementType(), base,
                             ArrayRef<LLVM::GEPArg>{index});
}

static LogicalResult lower(nvgpu::DeviceAsyncCopyOp copy) {
  ImplicitLocOpBuilder b(copy.getLoc(), copy);
  if (!copy->use_empty() || copy.getSrcElements())
    return copy.emitOpError(
        "must copy whole elements and have a token that nobody uses");
  Value to = pointerTo(b, copy.getDst(), copy.getDstIndices());
  Value from = pointerTo(b, copy.getSrc(), copy.getSrcIndices());
  if (!to || !from)
    return copy.emitOpError("must have one index of a one-dimensional memref "
                            "that convert-gpu-to-nvvm has lowered");
  from = LLVM::AddrSpaceCastOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), /*addressSpace=*/1), from);
  auto type = cast<MemRefType>(copy.getDst().getType());
  int64_t bytes =
      copy.getDstElements().getSExtValue() * type.getElementTypeBitWidth() / 8;
  NVVM::CpAsyncOp::create(b, to, from, static_cast<uint32_t>(bytes),
                          copy.getBypassL1().value_or(false)
                              ? NVVM::LoadCacheModifierKind::CG
                              : NVVM::LoadCacheModifierKind::CA,
                          Value());
  copy.erase();
  return success();
}

static LogicalResult lower(nvgpu::LdMatrixOp load) {
  ImplicitLocOpBuilder b(load.getLoc(), load);
  auto type = cast<VectorType>(load.getType());
  Value from = pointerTo(b, load.getSrcMemref(), load.getIndices());
  if (!from || load.getNumTiles() == 1)
    return load.emitOpError("must load several matrices from one index of a "
                            "one-dimensional memref that convert-gpu-to-nvvm "
                            "has lowered");
  SmallVector<Type> words(load.getNumTiles(), b.getI32Type());
  Value loaded = NVVM::LdMatrixOp::create(
      b, LLVM::LLVMStructType::getLiteral(b.getContext(), words), from,
      load.getNumTiles(),
      load.getTranspose() ? NVVM::MMALayout::col : NVVM::MMALayout::row,
      NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8),
      NVVM::LdStMatrixEltType::B16);
  auto row =
      VectorType::get(type.getShape().drop_front(), type.getElementType());
  Value rows = LLVM::PoisonOp::create(
      b, LLVM::LLVMArrayType::get(row, load.getNumTiles()));
  for (int64_t i = 0; i < type.getShape()[0]; ++i) {
    Value word = LLVM::ExtractValueOp::create(b, loaded, i);
    rows = LLVM::InsertValueOp::create(
        b, rows, LLVM::BitcastOp::create(b, row, word), i);
  }
  load.replaceAllUsesWith(
      UnrealizedConversionCastOp::create(b, type, rows).getResult(0));
  load.erase();
  return success();
}

/// A prefetch becomes one of prefetchBytes bytes at once.
static void lower(LLVM::Prefetch prefetch) {
  ImplicitLocOpBuilder b(prefetch.getLoc(), prefetch);
  Value from = LLVM::AddrSpaceCastOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), /*addressSpace=*/1),
      prefetch.getAddr());
  Value bytes = LLVM::ConstantOp::create(
      b, b.getI32IntegerAttr(mlir::qc::gpu::prefetchBytes));
  NVVM::CpAsyncBulkPrefetchOp::create(b, from, bytes, Value());
  prefetch.erase();
}

void LowerNVGPUPass::runOnOperation() {
  // Dynamic shared memory, which upstream's conversion defines with 0 bytes.
  for (auto global : getOperation().getOps<LLVM::GlobalOp>())
    if (auto type = dyn_cast<LLVM::LLVMArrayType>(global.getGlobalType());
        type && type.getNumElements() == 0)
      global.setLinkage(LLVM::Linkage::External);
  getOperation().walk([&](LLVM::Prefetch op) { lower(op); });
  WalkResult result = getOperation().walk([&](Operation *op) -> WalkResult {
    if (auto copy = dyn_cast<nvgpu::DeviceAsyncCopyOp>(op))
      return lower(copy);
    if (auto load = dyn_cast<nvgpu::LdMatrixOp>(op))
      return lower(load);
    return success();
  });
  if (result.wasInterrupted())
    signalPassFailure();
}
