//===- VulkanKernelTest.cpp - SPIR-V kernels against the definition -------===//
//
// The checks of DeviceKernels.h on a Vulkan device (in CI: lavapipe).
//
//===----------------------------------------------------------------------===//
#include "DeviceKernels.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/SPIRV/Passes.h"

using namespace mlir;
using namespace ::qc::test;

static DeviceTarget makeTarget() {
  DeviceTarget target;
  target.name = "spirv";
  target.codeKind = QC_CODE_SPIRV;
  target.features = [](Arithmetic arithmetic) -> uint32_t {
    return arithmetic == Arithmetic::Int8WithDot
               ? QC_FEATURE_INTEGER_DOT_PRODUCT
               : 0;
  };
  target.addPasses = [](PassManager &pm, Arithmetic arithmetic,
                        int64_t maxTokens) {
    mlir::qc::gpu::LowerToGPUKernelsPassOptions options;
    options.maxTokens = maxTokens;
    options.wideLoads = true;
    if (arithmetic == Arithmetic::Int8WithDot)
      options.integerDot = "spirv";
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
  std::string error;
  auto format = ::qc::parseFormat(GetParam(), error);
  ASSERT_TRUE(format) << error;
  for (Shape shape : shapes) {
    if (format->check(shape.n, shape.k))
      continue;
    checkProduct(target, GetParam(), *format, shape, Arithmetic::F32);
    if (HasFatalFailure())
      return;
  }
}

TEST_P(VulkanKernelTest, Int8ProductMatchesDoubleReference) {
  std::string error, why;
  if (!hasIntegerCodes(GetParam()))
    return;
  auto format = ::qc::parseFormat(GetParam(), error);
  ASSERT_TRUE(format) << error;
  bool dot = hasDevice(target, why, QC_FEATURE_INTEGER_DOT_PRODUCT);
  for (Shape shape : shapes) {
    if (format->check(shape.n, shape.k))
      continue;
    checkProduct(target, GetParam(), *format, shape,
                 dot ? Arithmetic::Int8WithDot : Arithmetic::Int8);
    if (HasFatalFailure())
      return;
  }
  // Without the instruction.
  if (dot)
    checkProduct(target, GetParam(), *format, {50, 172}, Arithmetic::Int8);
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
