//===- Measure.h - Tuning of kernels by measurement -------------*- C++ -*-===//
#ifndef QC_TARGET_CPU_TUNING_MEASURE_H
#define QC_TARGET_CPU_TUNING_MEASURE_H

#include "mlir/Support/LLVM.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Format/Format.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace mlir::qc::cpu {

/// Components whose numbers are moderate: positive small parameters, any codes.
std::vector<::qc::Tensor> randomComponents(const ::qc::Format &format,
                                           int64_t n, int64_t k);

struct Shape {
  int64_t n = 0, k = 0;
};

struct TuneRequest {
  std::string format, mcpu;
  Arithmetic arithmetic = Arithmetic::F32;
  int64_t rows = 0; ///< of a row block
  Shape main;       ///< of the weights that hold most bytes
  Shape widest;     ///< of those with most inputs: they decide about strips
  int64_t maxTokens = 128;
  unsigned threads = 1;
  double seconds = 60; ///< for everything
};

struct TuneResult {
  /// What is better than the cost model, as KernelTuning::set() reads it.
  std::string tuning;
  struct Figure {
    int64_t tokens;
    double before, after; ///< seconds of one product
  };
  std::vector<Figure> figures;
  /// False if the time did not suffice for any comparison.
  bool measured = false;
};

struct TuneListener {
  virtual ~TuneListener() = default;
  /// One line about a decision.
  virtual void decided(StringRef line) = 0;
  /// What happens next.
  virtual void progress(StringRef line) = 0;
};

/// Compiles kernels with some values of each constant, runs them in turns on
/// random weights and keeps what is measurably better than the cost model. The
/// weights are larger than the last-level cache.
llvm::Expected<TuneResult> measureTuning(const TuneRequest &request,
                                         TuneListener &listener);

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_TUNING_MEASURE_H
