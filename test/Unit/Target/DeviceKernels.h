//===- DeviceKernels.h - GPU kernels against the definition -----*- C++ -*-===//
//
// What the tests of all device interfaces check: for each format x ragged shape
// x number of tokens the decoded weights equal the reference bit for bit, and
// products lie within the rounding error of a sum of k products in f32, as in
// CPUKernelTest. A test model is an embedding, whose rows are the activations,
// and one matmul, whose sums are the logits.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TEST_UNIT_TARGET_DEVICEKERNELS_H
#define QC_TEST_UNIT_TARGET_DEVICEKERNELS_H

#include "KernelCases.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "qc/Runtime/Device/Device.h"
#include "llvm/Support/Error.h"
#include "gtest/gtest.h"

#include <functional>

namespace qc::test {

/// How a matmul computes.
enum class Arithmetic {
  F32,
  Int8,
  Int8WithDot,
  Int8OnTensorCores,
  Int8Cooperative ///< of Vulkan
};

/// A way from qc/lm on packed weights to code for a device.
struct DeviceTarget {
  std::string name;
  uint32_t codeKind = 0, arch = 0;
  /// QC_FEATURE_* that the code needs.
  std::function<uint32_t(Arithmetic)> features = [](Arithmetic) { return 0u; };
  /// What the passes need beside the dialects.
  std::function<void(mlir::DialectRegistry &)> addExtensions =
      [](mlir::DialectRegistry &) {};
  std::function<void(mlir::PassManager &, Arithmetic, int64_t maxTokens)>
      addPasses;
  std::function<llvm::Expected<std::string>(mlir::ModuleOp)> serialize;
};

/// Whether there is a device with `features`.
bool hasDevice(const DeviceTarget &target, std::string &why,
               uint32_t features = 0);

/// GoogleTest failures if products with a random weight are off.
void checkProduct(const DeviceTarget &target, const std::string &spelling,
                  const Format &format, Shape shape, Arithmetic arithmetic);

/// The same for all of `shapes` that the format has.
void checkShapes(const DeviceTarget &target, const std::string &spelling,
                 Arithmetic arithmetic);

/// All codes x zero points, a thinned set of scales, every table and codebook
/// entry: rows are looked up and multiplied with the identity, which is exact.
void checkDecode(const DeviceTarget &target, const std::string &spelling);

/// The candidates for the next token, and tokens chosen on the device, for
/// vocabularies of one sort and of trees of them: ties, zeros of both signs,
/// infinities, NaN.
void checkTop(const DeviceTarget &target);

/// The name of a parameterized test of a format.
std::string formatTestName(const testing::TestParamInfo<const char *> &info);

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_DEVICEKERNELS_H
