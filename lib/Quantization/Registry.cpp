//===- Registry.cpp - Passes of all quantization methods ------------------===//
#include "qc/Quantization/Registry.h"

#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/Methods.h"

void mlir::qc::registerQuantizationPasses() {
#define QC_QUANTIZER(NAME) register##NAME##Passes();
#include "qc/Quantization/Methods.def"
#undef QC_QUANTIZER
}
