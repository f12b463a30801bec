//===- PrepareSPIRV.cpp - Environment, interfaces, storage classes --------===//
#include "WideLoads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "qc/Target/SPIRV/Passes.h"

namespace mlir::qc::spirv {
#define GEN_PASS_DEF_PREPARESPIRVPASS
#include "qc/Target/SPIRV/Passes.h.inc"
} // namespace mlir::qc::spirv

using namespace mlir;
namespace sp = mlir::spirv;

namespace {
struct PrepareSPIRVPass
    : mlir::qc::spirv::impl::PrepareSPIRVPassBase<PrepareSPIRVPass> {
  using PrepareSPIRVPassBase::PrepareSPIRVPassBase;
  void runOnOperation() override;
};
} // namespace

template <typename Op>
static bool contains(mlir::gpu::GPUModuleOp module) {
  return module.walk([](Op) { return WalkResult::interrupt(); })
      .wasInterrupted();
}

/// Vulkan 1.1 and nothing beyond it, or Vulkan 1.3 for integer dot products and
/// cooperative matrices.
static sp::TargetEnvAttr environment(mlir::gpu::GPUModuleOp module) {
  MLIRContext *context = module.getContext();
  bool integerDot = contains<sp::SUDotOp>(module);
  bool cooperative = contains<sp::KHRCooperativeMatrixMulAddOp>(module);
  SmallVector<sp::Capability> capabilities = {sp::Capability::Shader,
                                              sp::Capability::GroupNonUniform};
  SmallVector<sp::Extension> extensions = {
      sp::Extension::SPV_KHR_storage_buffer_storage_class};
  if (contains<mlir::gpu::SubgroupReduceOp>(module))
    capabilities.push_back(sp::Capability::GroupNonUniformArithmetic);
  if (integerDot) {
    capabilities.append({sp::Capability::DotProduct,
                         sp::Capability::DotProductInput4x8BitPacked});
    extensions.push_back(sp::Extension::SPV_KHR_integer_dot_product);
  }
  if (cooperative) {
    capabilities.append(
        {sp::Capability::CooperativeMatrixKHR, sp::Capability::Int8});
    extensions.push_back(sp::Extension::SPV_KHR_cooperative_matrix);
  }
  auto version =
      integerDot || cooperative ? sp::Version::V_1_6 : sp::Version::V_1_3;
  auto triple =
      sp::VerCapExtAttr::get(version, capabilities, extensions, context);
  return sp::TargetEnvAttr::get(triple, sp::getDefaultResourceLimits(context),
                                sp::ClientAPI::Vulkan, sp::Vendor::Unknown,
                                sp::DeviceType::Unknown,
                                sp::TargetEnvAttr::kUnknownDeviceID);
}

/// Upstream's lowering of scf.for (MLIR 22) keeps the results in variables that
/// only the body writes: of a loop that never runs they are undefined. So the
/// initial values are selected where that may happen.
static void guardResults(scf::ForOp loop) {
  if (loop.getNumResults() == 0)
    return;
  std::optional<int64_t> begin = getConstantIntValue(loop.getLowerBound()),
                         end = getConstantIntValue(loop.getUpperBound());
  if (begin && end && *begin < *end)
    return;
  OpBuilder b(loop->getContext());
  b.setInsertionPointAfter(loop);
  Value runs =
      arith::CmpIOp::create(b, loop.getLoc(), arith::CmpIPredicate::slt,
                            loop.getLowerBound(), loop.getUpperBound());
  for (auto [result, init] :
       llvm::zip_equal(loop.getResults(), loop.getInitArgs())) {
    auto select = arith::SelectOp::create(b, loop.getLoc(), runs, result, init);
    result.replaceAllUsesExcept(select, select);
  }
}

void PrepareSPIRVPass::runOnOperation() {
  MLIRContext *context = &getContext();
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](MemRefType type) -> std::optional<Type> {
    if (isa_and_nonnull<sp::StorageClassAttr>(type.getMemorySpace()))
      return std::nullopt;
    auto storage = sp::StorageClass::StorageBuffer;
    if (mlir::gpu::GPUDialect::hasWorkgroupMemoryAddressSpace(type))
      storage = sp::StorageClass::Workgroup;
    return MemRefType::get(type.getShape(), type.getElementType(),
                           type.getLayout(),
                           sp::StorageClassAttr::get(context, storage));
  });
  for (auto module : getOperation().getOps<mlir::gpu::GPUModuleOp>()) {
    module->setAttr(sp::getTargetEnvAttrName(), environment(module));
    for (auto kernel : module.getOps<mlir::gpu::GPUFuncOp>()) {
      if (failed(mlir::qc::spirv::viewWideLoads(kernel)))
        return signalPassFailure();
      std::optional<ArrayRef<int32_t>> size = kernel.getKnownBlockSize();
      if (!size) {
        kernel.emitError("has no known_block_size");
        return signalPassFailure();
      }
      kernel->setAttr(sp::getEntryPointABIAttrName(),
                      sp::getEntryPointABIAttr(context, *size));
    }
    module.walk([](scf::ForOp loop) { guardResults(loop); });
    replacer.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true,
                                          /*replaceLocs=*/false,
                                          /*replaceTypes=*/true);
  }
}
