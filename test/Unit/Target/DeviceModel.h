//===- DeviceModel.h - A QCDeviceModel of a module in a test ----*- C++ -*-===//
#ifndef QC_TEST_UNIT_TARGET_DEVICEMODEL_H
#define QC_TEST_UNIT_TARGET_DEVICEMODEL_H

#include "mlir/IR/BuiltinAttributes.h"
#include "qc/Runtime/DeviceABI.h"

#include <deque>
#include <string>
#include <vector>

namespace qc::test {

/// The tables of a model from the attribute `qc.device`, in memory.
class DeviceModel {
public:
  DeviceModel(mlir::DictionaryAttr device, const std::string &target,
              uint32_t codeKind, uint32_t features, std::string code,
              int64_t vocabulary, uint32_t arch = 0);
  DeviceModel(const DeviceModel &) = delete;
  const QCDeviceModel &get() const { return model; }

private:
  QCDeviceModel model = {};
  std::string target, code;
  QCDeviceCode codeRow = {};
  std::deque<std::string> names;
  std::vector<QCDeviceKernel> kernels;
  std::vector<QCDeviceBuffer> buffers;
  std::vector<QCDispatch> dispatches[QC_NUM_STEPS];
  std::vector<QCRotaryTable> rotary;
  std::deque<std::vector<float>> frequencies;
};

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_DEVICEMODEL_H
