//===- KernelTuning.h - Constants of the kernel generators ------*- C++ -*-===//
//
// Written as text in the pass option `tuning` and in the file of remembered
// tunings:
//
//   token-tile=8,strip=256; grouped<bits = 4, ...>/int8: prefetch=0
//
// First what holds for all kernels, then, each behind a semicolon, what holds
// for the products of one format and arithmetic. What is left out is the cost
// model's, KernelTuning::forTarget().
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_CPU_KERNELTUNING_H
#define QC_TARGET_CPU_KERNELTUNING_H

#include "qc/Dialect/QC/IR/DecodeEmitter.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>

namespace mlir::qc::cpu {

struct KernelTuning {
  /// Tokens that share each decoded register of weights: 1, 2, 4, 8 or 16.
  int64_t tokenTile = 4;
  /// KiB that a strip of activations may take of the second-level cache while
  /// all weights pass by.
  int64_t strip = 256;
  /// KiB ahead of use that weights are fetched to the second-level cache with
  /// a full tile of tokens; 0: left to the hardware.
  int64_t prefetch = 8;
  /// The same with fewer tokens, one in decoding.
  int64_t decodePrefetch = 0;
  /// Sums kept apart for one token, so that dot products do not wait for each
  /// other; half as many for two tokens and so on.
  int64_t sums = 4;
  /// Vector registers that hold scores in attention.
  int64_t scoreRegisters = 8;
  /// f32 activations are interleaved by tiles of tokens, as others are.
  bool interleavesF32 = true;

  /// The cost model: what the registers of the target suggest, and constants
  /// that were measured.
  static KernelTuning forTarget(const TargetFeatures &target);

  /// Changes what `text` ("token-tile=8,strip=256") names. The error is one
  /// line.
  llvm::Error set(StringRef text);
  /// What differs from `other`, as set() reads it.
  std::string difference(const KernelTuning &other) const;
  bool operator==(const KernelTuning &) const = default;
};

/// The tunings of a module's kernels.
class TuningTable {
public:
  explicit TuningTable(const TargetFeatures &target)
      : common(KernelTuning::forTarget(target)) {}
  static llvm::Expected<TuningTable> parse(StringRef text,
                                           const TargetFeatures &target);

  /// For kernels that read no packed weights.
  const KernelTuning &get() const { return common; }
  const KernelTuning &get(WeightType weight, Arithmetic arithmetic) const;
  /// "FORMAT/ARITHMETIC", by which formats are told apart.
  static std::string key(WeightType weight, Arithmetic arithmetic);

private:
  KernelTuning common;
  std::map<std::string, KernelTuning> formats;
};

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_KERNELTUNING_H
