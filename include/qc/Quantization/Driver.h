//===- Driver.h - Runs a quantization method on a model ---------*- C++ -*-===//
//
// quantizeWeights() replaces float weights of a module by quantized ones:
//
//   qc.weight @w : !qc.weight<64x64, #qc.float<f32>> = [<model file>]
//     ->
//   qc.weight @w : !qc.weight<64x64, #qc.grouped<...>> = [<store>, <store>]
//     {qc.error = 0.0831 : f64}
//
// Weights are processed one at a time: memory is that of the largest one. Their
// components go to one safetensors file, the *store*,
// `<output-dir>/<model>-<method>-<hash>.safetensors`. The hash covers the
// method, its settings, the program, and name, size and time of the sources: a
// store that exists is used again. An interrupted run leaves `<store>.partial`
// and
// `<store>.journal` and is continued by the next one, with the same bytes as
// result.
//
//===----------------------------------------------------------------------===//
#ifndef QC_QUANTIZATION_DRIVER_H
#define QC_QUANTIZATION_DRIVER_H

#include "qc/Quantization/Quantizer.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include <string>

namespace mlir::qc {

/// Options that every method's pass has (QuantizerPass.td), in their order.
struct DriverOptions {
  std::string targets = "linear"; ///< linear, all
  std::string include;            ///< regular expression on the weight's name
  std::string exclude;            ///< same
  std::string outputDir;          ///< of the store; empty: the current folder
  unsigned threads = 0;           ///< 0: one for each core
  bool report = false;            ///< a remark for each weight
  bool verbose = false;           ///< progress even without a terminal
};

/// Quantizes, in the order of the module, each weight that
///  * is a matrix in a float format, not packed;
///  * is used by lm.linear and (`targets` = linear) by nothing else; with `all`
///    also the weights of lm.embedding and lm.logits;
///  * matches `include`, if given, and not `exclude`, if given.
/// The relative error ||W - Wq||_F / ||W||_F is left as `qc.error` (f64).
///
/// Errors go to the weight or the module as diagnostics; the module is changed
/// only after everything has been written.
LogicalResult quantizeWeights(ModuleOp module, const ::qc::Quantizer &method,
                              const DriverOptions &options);

} // namespace mlir::qc

#endif // QC_QUANTIZATION_DRIVER_H
