//===- NVPTXKernelTest.cpp - Kernels on CUDA against the definition -------===//
//
// The checks of DeviceKernels.h over the CUDA runtime, on the test driver and
// its emulator: barriers that not all threads reach, shared memory that nobody
// wrote and accesses behind a buffer are failures here, too.
//
//===----------------------------------------------------------------------===//
#include "DeviceKernels.h"
#include "StandInNVVM.h"
#include "qc/Target/GPU/Passes.h"

#include <dlfcn.h>

using namespace mlir;
using namespace ::qc::test;

static DeviceTarget makeTarget() {
  DeviceTarget target;
  target.name = "nvptx";
  target.codeKind = QC_CODE_PTX;
  target.arch = 80;
  target.addPasses = [](PassManager &pm, Arithmetic arithmetic,
                        int64_t maxTokens) {
    mlir::qc::gpu::LowerToGPUKernelsPassOptions options;
    options.maxTokens = maxTokens;
    pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(options));
  };
  target.serialize = [](ModuleOp module) { return kernelsToNVVM(module); };
  return target;
}

static const DeviceTarget target = makeTarget();

namespace {

class NVPTXKernelTest : public testing::TestWithParam<const char *> {
protected:
  static void SetUpTestSuite() {
    // dlopen("libcuda.so.1") finds what has that name and is loaded.
    ASSERT_TRUE(dlopen(QC_BINARY_DIR "/unittests/fake-cuda/libcuda.so.1",
                       RTLD_NOW | RTLD_LOCAL))
        << dlerror();
    std::string why;
    ASSERT_TRUE(hasDevice(target, why)) << why;
  }

  void checkShapes(Arithmetic arithmetic) {
    std::string error;
    auto format = ::qc::parseFormat(GetParam(), error);
    ASSERT_TRUE(format) << error;
    for (Shape shape : shapes) {
      if (format->check(shape.n, shape.k))
        continue;
      checkProduct(target, GetParam(), *format, shape, arithmetic);
      if (HasFatalFailure())
        return;
    }
  }
};

} // namespace

TEST_P(NVPTXKernelTest, ProductMatchesDoubleReference) {
  checkShapes(Arithmetic::F32);
}

TEST_P(NVPTXKernelTest, Int8ProductMatchesDoubleReference) {
  if (hasIntegerCodes(GetParam()))
    checkShapes(Arithmetic::Int8);
}

TEST_P(NVPTXKernelTest, DecodeIsExactOnEveryCodePoint) {
  checkDecode(target, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Formats, NVPTXKernelTest, testing::ValuesIn(formats),
                         formatTestName);
