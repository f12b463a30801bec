//===- EraseGPUModules.cpp - What was converted goes ----------------------===//
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "qc/Target/SPIRV/Passes.h"

namespace mlir::qc::spirv {
#define GEN_PASS_DEF_ERASEGPUMODULESPASS
#include "qc/Target/SPIRV/Passes.h.inc"
} // namespace mlir::qc::spirv

using namespace mlir;

namespace {
struct EraseGPUModulesPass
    : mlir::qc::spirv::impl::EraseGPUModulesPassBase<EraseGPUModulesPass> {
  using EraseGPUModulesPassBase::EraseGPUModulesPassBase;
  void runOnOperation() override {
    for (auto module : llvm::make_early_inc_range(
             getOperation().getOps<mlir::gpu::GPUModuleOp>()))
      module.erase();
    for (auto module : getOperation().getOps<mlir::spirv::ModuleOp>()) {
      StringRef name = module.getName().value_or("");
      if (name.consume_front("__spv__"))
        module.setName(name.str());
    }
  }
};
} // namespace
