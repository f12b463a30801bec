//===- DeviceTable.h - A QCDeviceModel in an object file --------*- C++ -*-===//
#ifndef QC_TARGET_GPU_DEVICETABLE_H
#define QC_TARGET_GPU_DEVICETABLE_H

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/IR/Module.h"

namespace mlir::qc::gpu {

/// One QCDeviceCode.
struct DeviceCode {
  uint32_t kind = 0, features = 0, arch = 0;
  SmallVector<char> bytes;
};

/// Adds the tables of qc/Runtime/DeviceABI.h to `target`, from the attribute
/// `qc.device` (qc-lower-to-gpu-kernels). `preferred`: another one, for devices
/// that run it. Returns the QCDeviceModel.
llvm::Constant *addDeviceModel(llvm::Module &target, StringRef name,
                               DictionaryAttr device, int64_t vocabSize,
                               ArrayRef<DeviceCode> codes,
                               llvm::Constant *preferred = nullptr);

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_DEVICETABLE_H
