//===- Source.h - Float weights in mapped files -----------------*- C++ -*-===//
#ifndef QC_LIB_QUANTIZATION_SOURCE_H
#define QC_LIB_QUANTIZATION_SOURCE_H

#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/Quantizer.h"

#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"

namespace mlir::qc {

/// Size and time of a file in one line, to notice that it changed. Errors:
/// missing, not a regular file.
llvm::Expected<std::string> fileIdentity(StringRef path);

/// The numbers of a float matrix as f32, for as long as this object lives. They
/// are those of the mapped file itself if it holds aligned f32, else a copy.
class SourceWeight {
public:
  /// Errors: the file is missing, unreadable or too short for the component; a
  /// number is not finite (its place is named).
  static llvm::Expected<SourceWeight>
  read(WeightOp weight, const ::qc::QuantizeContext &context);

  const ::qc::FloatWeight &floats() const { return matrix; }

private:
  std::unique_ptr<llvm::sys::fs::mapped_file_region> mapping;
  std::unique_ptr<float[]> copy;
  ::qc::FloatWeight matrix;
};

} // namespace mlir::qc

#endif // QC_LIB_QUANTIZATION_SOURCE_H
