//===- PrepareNVVM.cpp - Parameters, shared memory, functions -------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/NVPTX/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::qc::nvptx {
#define GEN_PASS_DEF_PREPARENVVMPASS
#include "qc/Target/NVPTX/Passes.h.inc"
} // namespace mlir::qc::nvptx

using namespace mlir;

namespace {
struct PrepareNVVMPass
    : mlir::qc::nvptx::impl::PrepareNVVMPassBase<PrepareNVVMPass> {
  using PrepareNVVMPassBase::PrepareNVVMPassBase;
  void runOnOperation() override;
};
} // namespace

/// Elements of a buffer, of which indices of 32 bits reach all.
constexpr int64_t anySize = int64_t(1) << 30;

static bool isWritten(Value buffer) {
  return llvm::any_of(buffer.getUses(), [](OpOperand &use) {
    if (auto copy = dyn_cast<nvgpu::DeviceAsyncCopyOp>(use.getOwner()))
      return copy.getDst() == use.get();
    return !isa<memref::LoadOp, vector::LoadOp>(use.getOwner());
  });
}

// A kernel that begins before others have ended must not read what they write
// early: noalias and readonly together would allow that (ld.global.nc).
static void prepareParameters(mlir::gpu::GPUFuncOp kernel) {
  Builder b(kernel.getContext());
  bool mayReorder = !kernel->hasAttr(mlir::qc::gpu::programmaticAttr);
  SmallVector<Type> types;
  for (BlockArgument argument : kernel.getArguments()) {
    if (auto type = dyn_cast<MemRefType>(argument.getType())) {
      if (!type.hasStaticShape())
        argument.setType(MemRefType::Builder(type).setShape({anySize}));
      unsigned i = argument.getArgNumber();
      auto set = [&](StringRef name, Attribute value) {
        kernel.setArgAttr(i, name, value);
      };
      auto constant =
          kernel.getArgAttrOfType<BoolAttr>(i, mlir::qc::gpu::constantAttr);
      if (constant)
        kernel.removeArgAttr(i, mlir::qc::gpu::constantAttr);
      bool isConstant = mayReorder || (constant && constant.getValue());
      if (isConstant)
        set(LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
      // The bases of the spaces and all offsets are multiples of
      // QC_DEVICE_ALIGNMENT.
      set(LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(16));
      if (isConstant && !isWritten(argument))
        set(LLVM::LLVMDialect::getReadonlyAttrName(), b.getUnitAttr());
    }
    types.push_back(argument.getType());
  }
  kernel.setFunctionType(
      FunctionType::get(kernel.getContext(), types, TypeRange()));
}

static void prepareSharedMemory(mlir::gpu::GPUFuncOp kernel) {
  SmallVector<memref::AllocOp> allocations;
  kernel.walk([&](memref::AllocOp op) { allocations.push_back(op); });
  for (memref::AllocOp op : allocations) {
    op.replaceAllUsesWith(
        kernel.addWorkgroupAttribution(op.getType(), op.getLoc()));
    if (auto alignment = op.getAlignmentAttr())
      kernel.setWorkgroupAttributionAttr(
          kernel.getNumWorkgroupAttributions() - 1,
          LLVM::LLVMDialect::getAlignAttrName(), alignment);
    op.erase();
  }
}

/// Functions that PTX has as instructions, which upstream's conversion would
/// make calls of libdevice.
static void callIntrinsics(mlir::gpu::GPUModuleOp module) {
  module.walk([](Operation *op) {
    StringRef name =
        llvm::TypeSwitch<Operation *, StringRef>(op)
            .Case([](math::SqrtOp) { return "llvm.sqrt.f32"; })
            .Case([](math::Exp2Op) { return "llvm.nvvm.ex2.approx.ftz.f32"; })
            .Case([](arith::MaxNumFOp) { return "llvm.maxnum.f32"; })
            .Case([](math::AbsFOp) { return "llvm.fabs.f32"; })
            .Case([](math::FloorOp) { return "llvm.floor.f32"; })
            .Case([](math::CopySignOp) { return "llvm.copysign.f32"; })
            .Case([](math::RoundEvenOp) { return "llvm.roundeven.f32"; })
            .Default(StringRef());
    if (name.empty() || !op->getResultTypes().front().isF32())
      return;
    OpBuilder b(op);
    auto call = LLVM::CallIntrinsicOp::create(
        b, op->getLoc(), op->getResultTypes().front(), b.getStringAttr(name),
        op->getOperands());
    op->replaceAllUsesWith(call->getResults());
    op->erase();
  });
}

void PrepareNVVMPass::runOnOperation() {
  Builder b(&getContext());
  for (auto module : getOperation().getOps<mlir::gpu::GPUModuleOp>()) {
    for (auto kernel : module.getOps<mlir::gpu::GPUFuncOp>()) {
      if (!kernel.getKnownBlockSize()) {
        kernel.emitError("has no known_block_size");
        return signalPassFailure();
      }
      // Two workgroups of 128 threads or one of 256 leave 255 registers a
      // thread, one of 512 leaves 128. Left alone, ptxas spills rather than
      // exceed 32 in some small kernels.
      bool isLarge = (*kernel.getKnownBlockSize())[0] > 128;
      StringRef least = NVVM::NVVMDialect::getMinctasmAttrName();
      if (!kernel->hasAttr(least))
        kernel->setAttr(least, b.getI32IntegerAttr(isLarge ? 1 : 2));
      prepareParameters(kernel);
      prepareSharedMemory(kernel);
    }
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return name == math::ExpOp::getOperationName();
    });
    if (failed(applyPatternsGreedily(module, std::move(patterns))))
      return signalPassFailure();
    callIntrinsics(module);
  }
}
