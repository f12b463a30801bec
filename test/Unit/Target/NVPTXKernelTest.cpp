//===- NVPTXKernelTest.cpp - Kernels on CUDA against the definition -------===//
//
// The checks of DeviceKernels.h over the CUDA runtime, on the test driver and
// its emulator: barriers that not all threads reach, shared memory that nobody
// wrote and accesses behind a buffer are failures here, too.
//
// What runs is the LLVM IR that PTX is printed from. Where there is a ptxas,
// the PTX is assembled for three architectures, too.
//
// With QC_TEST_GPU=1 in the environment the checks run on the GPU of this
// machine instead, from PTX.
//
//===----------------------------------------------------------------------===//
#include "DeviceAttention.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/NVPTX/PTX.h"
#include "qc/Target/NVPTX/Passes.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <dlfcn.h>

using namespace mlir;
using namespace ::qc::test;

/// Whether to use NVIDIA's driver.
static bool onGPU() {
  const char *value = std::getenv("QC_TEST_GPU");
  return value && StringRef(value) == "1";
}

/// Kernels for sm_80: PTX for a GPU, for the emulator the optimized IR.
static llvm::Expected<std::string> makeCode(ModuleOp module) {
  llvm::LLVMContext context;
  auto kernels = mlir::qc::nvptx::translateKernels(module, context);
  if (!kernels)
    return kernels.takeError();
  auto ptx = mlir::qc::nvptx::emitPTX(**kernels, 80);
  if (!ptx)
    return ptx.takeError();
  if (onGPU())
    return std::move(*ptx);
  std::string text;
  llvm::raw_string_ostream(text) << **kernels;
  return text;
}

/// An error if ptxas refuses a kernel or keeps a register of it in memory.
static llvm::Error assembleAll(ModuleOp module, const std::string &ptxas) {
  llvm::SmallString<128> folder;
  if (std::error_code code =
          llvm::sys::fs::createUniqueDirectory("qc-ptxas", folder))
    return llvm::errorCodeToError(code);
  llvm::LLVMContext context;
  auto kernels = mlir::qc::nvptx::translateKernels(module, context);
  if (!kernels)
    return kernels.takeError();
  llvm::Error result = llvm::Error::success();
  for (unsigned arch : {80u, 90u, 100u}) {
    auto own = llvm::CloneModule(**kernels);
    auto ptx = mlir::qc::nvptx::emitPTX(*own, arch);
    if (!ptx)
      return ptx.takeError();
    auto cubin = mlir::qc::nvptx::assemble(*ptx, arch, ptxas, folder);
    if (!cubin)
      return llvm::joinErrors(std::move(result), cubin.takeError());
    // A line for each kernel: "N bytes stack frame, N bytes spill stores, ...".
    StringRef report = cubin->report;
    if (report.count("bytes spill stores") == 0 ||
        report.count("bytes spill stores") !=
            report.count(" 0 bytes stack frame, 0 bytes spill stores"))
      result = llvm::joinErrors(std::move(result),
                                llvm::createStringError(cubin->report));
  }
  (void)llvm::sys::fs::remove_directories(folder);
  return result;
}

static DeviceTarget makeTarget() {
  DeviceTarget target;
  target.name = "nvptx";
  target.codeKind = QC_CODE_PTX;
  target.arch = 80;
  target.addExtensions = mlir::qc::nvptx::registerConversionInterfaces;
  target.addPasses = [](PassManager &pm, Arithmetic arithmetic,
                        int64_t maxTokens) {
    auto options = mlir::qc::nvptx::kernelOptions();
    options.maxTokens = maxTokens;
    options.sharedBytes = mlir::qc::nvptx::sharedBytes(80);
    options.tensorCores = arithmetic == Arithmetic::Int8OnTensorCores;
    pm.addPass(mlir::qc::gpu::createLowerToGPUKernelsPass(options));
    mlir::qc::nvptx::buildKernelsToNVVMPipeline(pm);
  };
  target.serialize = [](ModuleOp module) { return makeCode(module); };
  return target;
}

static const DeviceTarget target = makeTarget();

static void loadDriver() {
  // dlopen("libcuda.so.1") finds what has that name and is loaded.
  if (!onGPU())
    ASSERT_TRUE(dlopen(QC_BINARY_DIR "/unittests/fake-cuda/libcuda.so.1",
                       RTLD_NOW | RTLD_LOCAL))
        << dlerror();
  std::string why;
  ASSERT_TRUE(hasDevice(target, why)) << why;
}

namespace {

class NVPTXKernelTest : public testing::TestWithParam<const char *> {
protected:
  static void SetUpTestSuite() { loadDriver(); }
};

} // namespace

TEST_P(NVPTXKernelTest, ProductMatchesDoubleReference) {
  checkShapes(target, GetParam(), Arithmetic::F32);
}

TEST_P(NVPTXKernelTest, Int8ProductMatchesDoubleReference) {
  if (hasIntegerCodes(GetParam()))
    checkShapes(target, GetParam(), Arithmetic::Int8);
}

TEST_P(NVPTXKernelTest, TensorCoreProductMatchesDoubleReference) {
  if (hasIntegerCodes(GetParam()))
    checkShapes(target, GetParam(), Arithmetic::Int8OnTensorCores);
}

TEST_P(NVPTXKernelTest, DecodeIsExactOnEveryCodePoint) {
  checkDecode(target, GetParam());
}

/// The target, which fails where assembleAll() does.
static DeviceTarget assemblingTarget(const std::string &ptxas) {
  DeviceTarget assembling = target;
  assembling.serialize = [=](ModuleOp module) -> llvm::Expected<std::string> {
    if (llvm::Error error = assembleAll(module, ptxas))
      return std::move(error);
    return makeCode(module);
  };
  return assembling;
}

TEST_P(NVPTXKernelTest, AssemblesWithoutSpills) {
  std::string ptxas = mlir::qc::nvptx::findPtxas("");
  if (ptxas.empty())
    GTEST_SKIP() << "skipped: no ptxas";
  DeviceTarget assembling = assemblingTarget(ptxas);
  std::string error;
  auto format = ::qc::parseFormat(GetParam(), error);
  ASSERT_TRUE(format) << error;
  // Long rows, so that all of a kernel's loops are there, and 512 threads.
  Shape shape = {70, 2400};
  if (format->check(shape.n, shape.k))
    GTEST_FAIL() << "the shape does not suit the format";
  checkProduct(assembling, GetParam(), *format, shape, Arithmetic::F32);
  if (hasIntegerCodes(GetParam()))
    for (Arithmetic arithmetic :
         {Arithmetic::Int8, Arithmetic::Int8OnTensorCores})
      checkProduct(assembling, GetParam(), *format, shape, arithmetic);
}

TEST_P(NVPTXKernelTest, TablesServeAllShares) {
  // Only products with tables in shared memory go through several units, of 32
  // and of 16 rows, and through steps of K in a loop, the last one ragged.
  StringRef spelling = GetParam();
  if (!spelling.starts_with("codebook<books = 2, bits = 8") &&
      !spelling.starts_with("e8p"))
    return;
  std::string error;
  auto format = ::qc::parseFormat(GetParam(), error);
  ASSERT_TRUE(format) << error;
  for (Shape shape : {Shape{9003, 64}, Shape{4300, 512}, Shape{40, 14336}}) {
    checkProduct(target, GetParam(), *format, shape, Arithmetic::Int8);
    if (HasFatalFailure())
      return;
  }
}

// Two and a half groups of 64 are five blocks of 32 activations and an empty
// one.
TEST(NVPTXProductTest, LastGroupIsPartial) {
  loadDriver();
  std::string error, spelling = "grouped<bits = 4, group = 64, scale = f16>";
  auto format = ::qc::parseFormat(spelling, error);
  for (Arithmetic arithmetic :
       {Arithmetic::Int8, Arithmetic::Int8OnTensorCores})
    if (!testing::Test::HasFatalFailure())
      checkProduct(target, spelling, *format, {40, 160}, arithmetic);
}

TEST(NVPTXSamplingTest, ChoosesAsASortDoes) {
  loadDriver();
  if (!testing::Test::HasFatalFailure())
    checkTop(target);
}

namespace {

class NVPTXAttentionTest : public testing::TestWithParam<AttentionCase> {
protected:
  static void SetUpTestSuite() { loadDriver(); }
};

} // namespace

TEST_P(NVPTXAttentionTest, MatchesSoftmax) {
  checkAttention(target, GetParam(), Arithmetic::F32, /*isHalf=*/false);
}

/// Whether tensor cores take heads and cache.
static bool isOnTensorCores(const AttentionCase &attention) {
  return attention.headDim % 16 == 0 && StringRef(attention.element) != "f32";
}

// Where ptxas is, no register is spilled, either.
TEST_P(NVPTXAttentionTest, OnTensorCoresMatchesSoftmax) {
  std::string ptxas = mlir::qc::nvptx::findPtxas("");
  checkAttention(ptxas.empty() ? target : assemblingTarget(ptxas), GetParam(),
                 Arithmetic::Int8OnTensorCores, isOnTensorCores(GetParam()));
}

// Heads of every size of a step of matrices, with and without others that share
// keys and values; windows within a block, over several (of 148: the last of
// 276 positions sees all but one of a block), and of one position.
INSTANTIATE_TEST_SUITE_P(
    Caches, NVPTXAttentionTest,
    testing::Values(
        AttentionCase{"f16", 16, 2, 1}, AttentionCase{"f16", 48, 1, 1, 1},
        AttentionCase{"f16", 64, 4, 2}, AttentionCase{"f16", 80, 2, 2, 50},
        AttentionCase{"f16", 96, 1, 1}, AttentionCase{"f16", 128, 3, 1},
        AttentionCase{"f16", 128, 2, 2, 148},
        AttentionCase{"f16", 256, 2, 1, 148}, AttentionCase{"i8", 16, 2, 1, 40},
        AttentionCase{"i8", 64, 2, 1}, AttentionCase{"i8", 80, 2, 2},
        AttentionCase{"i8", 128, 2, 1, 90}, AttentionCase{"i8", 256, 1, 1},
        // Without matrices.
        AttentionCase{"f16", 24, 2, 1}, AttentionCase{"f32", 64, 2, 1}),
    [](const testing::TestParamInfo<AttentionCase> &info) {
      const AttentionCase &own = info.param;
      std::string name = llvm::formatv("{0}_{1}_{2}x{3}", own.element,
                                       own.heads, own.cacheHeads, own.headDim);
      if (own.window)
        name += "_window" + std::to_string(*own.window);
      return name;
    });

INSTANTIATE_TEST_SUITE_P(Formats, NVPTXKernelTest, testing::ValuesIn(formats),
                         formatTestName);
