//===- ConvertKernels.cpp - gpu.module to spirv.module --------------------===//
//
// Upstream's convert-gpu-to-spirv with one pattern more: cooperative matrices
// are loaded through pointers, for which the dialects of kernels have no word.
// Kernels say unrealized_conversion_cast(memref, index) to a pointer, which
// becomes the access chain of that element.
//
//===----------------------------------------------------------------------===//
#include "mlir/Conversion/ArithToSPIRV/ArithToSPIRV.h"
#include "mlir/Conversion/FuncToSPIRV/FuncToSPIRV.h"
#include "mlir/Conversion/GPUToSPIRV/GPUToSPIRV.h"
#include "mlir/Conversion/MemRefToSPIRV/MemRefToSPIRV.h"
#include "mlir/Conversion/SCFToSPIRV/SCFToSPIRV.h"
#include "mlir/Conversion/VectorToSPIRV/VectorToSPIRV.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/Dialect/SPIRV/Transforms/SPIRVConversion.h"
#include "qc/Target/SPIRV/Passes.h"

namespace mlir::qc::spirv {
#define GEN_PASS_DEF_CONVERTKERNELSPASS
#include "qc/Target/SPIRV/Passes.h.inc"
} // namespace mlir::qc::spirv

using namespace mlir;
namespace sp = mlir::spirv;

namespace {
struct ConvertKernelsPass
    : mlir::qc::spirv::impl::ConvertKernelsPassBase<ConvertKernelsPass> {
  using ConvertKernelsPassBase::ConvertKernelsPassBase;
  void runOnOperation() override;
};

struct ElementPointer final : OpConversionPattern<UnrealizedConversionCastOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(UnrealizedConversionCastOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    if (op.getInputs().size() != 2 || op.getOutputs().size() != 1 ||
        !isa<sp::PointerType>(op.getType(0)))
      return failure();
    auto memref = dyn_cast<MemRefType>(op.getInputs()[0].getType());
    if (!memref)
      return failure();
    Value pointer = sp::getElementPtr(
        *getTypeConverter<SPIRVTypeConverter>(), memref, adaptor.getInputs()[0],
        adaptor.getInputs()[1], op.getLoc(), rewriter);
    if (!pointer || pointer.getType() != op.getType(0))
      return rewriter.notifyMatchFailure(op, "no pointer to such an element");
    rewriter.replaceOp(op, pointer);
    return success();
  }
};
} // namespace

void ConvertKernelsPass::runOnOperation() {
  MLIRContext *context = &getContext();
  for (auto kernels : llvm::make_early_inc_range(
           getOperation().getOps<mlir::gpu::GPUModuleOp>())) {
    sp::TargetEnvAttr environment = sp::lookupTargetEnvOrDefault(kernels);
    auto target = SPIRVConversionTarget::get(environment);
    SPIRVTypeConverter types(environment);
    ScfToSPIRVContext loops;
    RewritePatternSet patterns(context);
    populateGPUToSPIRVPatterns(types, patterns);
    populateSCFToSPIRVPatterns(types, loops, patterns);
    mlir::arith::populateArithToSPIRVPatterns(types, patterns);
    populateMemRefToSPIRVPatterns(types, patterns);
    populateFuncToSPIRVPatterns(types, patterns);
    populateVectorToSPIRVPatterns(types, patterns);
    patterns.add<ElementPointer>(types, context);
    if (failed(applyFullConversion(kernels, *target, std::move(patterns))))
      return signalPassFailure();
  }
  for (auto module : getOperation().getOps<sp::ModuleOp>()) {
    StringRef name = module.getName().value_or("");
    if (name.consume_front("__spv__"))
      module.setName(name.str());
  }
}
