//===- Select.h - Which weights a method quantizes --------------*- C++ -*-===//
#ifndef QC_LIB_QUANTIZATION_SELECT_H
#define QC_LIB_QUANTIZATION_SELECT_H

#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/Driver.h"

namespace mlir::qc {

/// A weight to quantize and the references whose types change with it.
struct SelectedWeight {
  WeightOp weight;
  SmallVector<GetWeightOp> references;
};

/// In the order of the module. Fails with a diagnostic if an option is wrong;
/// warns if nothing is selected.
FailureOr<SmallVector<SelectedWeight>>
selectWeights(ModuleOp module, const DriverOptions &options);

} // namespace mlir::qc

#endif // QC_LIB_QUANTIZATION_SELECT_H
