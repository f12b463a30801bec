//===- Registry.h - Passes of all quantization methods ----------*- C++ -*-===//
#ifndef QC_QUANTIZATION_REGISTRY_H
#define QC_QUANTIZATION_REGISTRY_H

namespace mlir::qc {
/// Registers the pass of every folder of lib/Quantization/Methods.
void registerQuantizationPasses();
} // namespace mlir::qc

#endif // QC_QUANTIZATION_REGISTRY_H
