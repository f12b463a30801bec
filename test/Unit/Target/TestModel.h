//===- TestModel.h - A model of a test on a device --------------*- C++ -*-===//
#ifndef QC_TEST_UNIT_TARGET_TESTMODEL_H
#define QC_TEST_UNIT_TARGET_TESTMODEL_H

#include "DeviceKernels.h"
#include "DeviceModel.h"

namespace qc::test {

/// A weight of a test model.
struct Item {
  std::string format;
  const Format &host;
  const HostWeight &weight;

  /// As the model has it, packed.
  std::string type() const;
};

/// A matrix of f32.
HostWeight floatWeight(int64_t n, int64_t k, const std::vector<float> &values);

class TestModel {
public:
  /// Of `functions`, the entry points in MLIR, and weights @w0, @w1...; null:
  /// `error` says why.
  static std::unique_ptr<TestModel>
  create(const DeviceTarget &target, llvm::ArrayRef<Item> weights,
         const std::string &functions, int64_t vocabulary, int64_t maxTokens,
         int64_t capacity, std::string &error,
         Arithmetic arithmetic = Arithmetic::F32);

  std::vector<float> run(int step, std::vector<int32_t> ids, int64_t position,
                         std::string &error);
  ::qc::rt::Device &get() { return *device; }
  int stepFor(int step, size_t count) {
    return ::qc::rt::stepFor(model->get(), step, count);
  }

private:
  int64_t n = 0;
  std::vector<uint8_t> blob;
  std::unique_ptr<DeviceModel> model;
  std::unique_ptr<::qc::rt::Device> device;
};

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_TESTMODEL_H
