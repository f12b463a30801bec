//===- Progress.h - One line about a long run -------------------*- C++ -*-===//
#ifndef QC_LIB_QUANTIZATION_PROGRESS_H
#define QC_LIB_QUANTIZATION_PROGRESS_H

#include "mlir/Support/LLVM.h"
#include <chrono>
#include <string>

namespace mlir::qc {

/// Tells stderr how far a run is: a line that is rewritten if stderr is a
/// terminal, a line for each weight if `verbose`, else nothing.
class Progress {
public:
  /// `elements` is the sum of the sizes of all weights.
  Progress(StringRef method, size_t weights, int64_t elements, bool verbose);
  /// Wipes the line.
  ~Progress();

  void finish(StringRef weight, int64_t size, double error, bool resumed);

private:
  std::string method;
  size_t weights, done = 0;
  int64_t elements, doneElements = 0;
  int64_t worked = 0; ///< elements that this run processed itself
  bool verbose, terminal;
  std::chrono::steady_clock::time_point start;
};

} // namespace mlir::qc

#endif // QC_LIB_QUANTIZATION_PROGRESS_H
