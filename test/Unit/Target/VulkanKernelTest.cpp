//===- VulkanKernelTest.cpp - SPIR-V kernels against the definition -------===//
//
// The checks of DeviceKernels.h on a Vulkan device (in CI: lavapipe).
//
//===----------------------------------------------------------------------===//
#include "DeviceKernels.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/SPIRV/CooperativeMatrix.h"
#include "qc/Target/SPIRV/Passes.h"

using namespace mlir;
using namespace ::qc::test;

/// `matrices`: M, N, K and the size of a subgroup, of Int8Cooperative.
static DeviceTarget makeTarget(SmallVector<int64_t> matrices = {}) {
  DeviceTarget target;
  if (!matrices.empty())
    target.arch = static_cast<uint32_t>(QC_COOPERATIVE_SHAPE(
        matrices[0], matrices[1], matrices[2], matrices[3]));
  target.name = "spirv";
  target.codeKind = QC_CODE_SPIRV;
  target.features = [](Arithmetic arithmetic) -> uint32_t {
    constexpr uint32_t dot =
        QC_FEATURE_INTEGER_DOT_PRODUCT | QC_FEATURE_SUBGROUP_ARITHMETIC;
    if (arithmetic == Arithmetic::Int8Cooperative)
      return dot | QC_FEATURE_COOPERATIVE_MATRIX;
    return arithmetic == Arithmetic::Int8WithDot ? dot : 0;
  };
  target.addPasses = [matrices](PassManager &pm, Arithmetic arithmetic,
                                int64_t maxTokens) {
    mlir::qc::gpu::LowerToGPUKernelsPassOptions options;
    options.maxTokens = maxTokens;
    options.wideLoads = true;
    if (arithmetic == Arithmetic::Int8WithDot ||
        arithmetic == Arithmetic::Int8Cooperative) {
      options.integerDot = "spirv";
      options.subgroupReductions = true;
    }
    if (arithmetic == Arithmetic::Int8Cooperative)
      options.cooperativeMatrix.assign(matrices.begin(), matrices.end());
    pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(options));
    mlir::qc::spirv::buildKernelsToSPIRVPipeline(pm);
  };
  target.serialize = [](ModuleOp module) -> llvm::Expected<std::string> {
    auto words = mlir::qc::spirv::serializeKernels(module);
    if (!words)
      return words.takeError();
    return std::string(reinterpret_cast<const char *>(words->data()),
                       4 * words->size());
  };
  return target;
}

static const DeviceTarget target = makeTarget();

class VulkanKernelTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    std::string why;
    if (!hasDevice(target, why))
      GTEST_SKIP() << "no Vulkan device: " << why;
  }
};

TEST_P(VulkanKernelTest, ProductMatchesDoubleReference) {
  checkShapes(target, GetParam(), Arithmetic::F32);
}

TEST_P(VulkanKernelTest, Int8ProductMatchesDoubleReference) {
  std::string error, why;
  if (!hasIntegerCodes(GetParam()))
    return;
  auto format = ::qc::parseFormat(GetParam(), error);
  ASSERT_TRUE(format) << error;
  bool dot = hasDevice(target, why,
                       QC_FEATURE_INTEGER_DOT_PRODUCT |
                           QC_FEATURE_SUBGROUP_ARITHMETIC);
  checkShapes(target, GetParam(),
              dot ? Arithmetic::Int8WithDot : Arithmetic::Int8);
  if (HasFatalFailure())
    return;
  // Without the instruction.
  if (dot)
    checkProduct(target, GetParam(), *format, {50, 172}, Arithmetic::Int8);
}

/// The target with the matrices that the device has of those that the compiler
/// makes kernels for.
static const DeviceTarget *cooperativeTarget() {
  static std::optional<DeviceTarget> found = [] {
    std::optional<DeviceTarget> result;
    // The last one is lavapipe's.
    auto known = llvm::cantFail(mlir::qc::spirv::parseCooperativeMatrices(
        (mlir::qc::spirv::defaultCooperativeMatrices + ",8x8x8/8").str()));
    for (const auto &matrix : known) {
      DeviceTarget target = makeTarget(matrix.sizes());
      std::string why;
      if (!result && hasDevice(target, why, QC_FEATURE_COOPERATIVE_MATRIX))
        result = target;
    }
    return result;
  }();
  return found ? &*found : nullptr;
}

TEST_P(VulkanKernelTest, CooperativeProductMatchesDoubleReference) {
  if (!hasIntegerCodes(GetParam()))
    return;
  const DeviceTarget *matrices = cooperativeTarget();
  if (!matrices)
    GTEST_SKIP() << "no device with cooperative matrices of bytes";
  checkShapes(*matrices, GetParam(), Arithmetic::Int8Cooperative);
}

TEST_P(VulkanKernelTest, DecodeIsExactOnEveryCodePoint) {
  checkDecode(target, GetParam());
}

TEST(VulkanSamplingTest, ChoosesAsASortDoes) {
  std::string why;
  if (!hasDevice(target, why))
    GTEST_SKIP() << "no Vulkan device: " << why;
  checkTop(target);
}

INSTANTIATE_TEST_SUITE_P(Formats, VulkanKernelTest, testing::ValuesIn(formats),
                         formatTestName);
