//===- ForbidContraction.cpp - NoContraction on f32 arithmetic ------------===//
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "qc/Target/SPIRV/Passes.h"

namespace mlir::qc::spirv {
#define GEN_PASS_DEF_FORBIDCONTRACTIONPASS
#include "qc/Target/SPIRV/Passes.h.inc"
} // namespace mlir::qc::spirv

using namespace mlir;

namespace {
struct ForbidContractionPass
    : mlir::qc::spirv::impl::ForbidContractionPassBase<ForbidContractionPass> {
  using ForbidContractionPassBase::ForbidContractionPassBase;

  void runOnOperation() override {
    // The serializer decorates results by attributes of this spelling.
    getOperation()->walk([&](Operation *op) {
      if (isa<mlir::spirv::FAddOp, mlir::spirv::FSubOp, mlir::spirv::FMulOp,
              mlir::spirv::FDivOp, mlir::spirv::FNegateOp>(op))
        op->setAttr("no_contraction", UnitAttr::get(&getContext()));
    });
  }
};
} // namespace
