//===- WeightFile.h - Reading and writing weight bytes ----------*- C++ -*-===//
//
// SourceRange maps one component of a weight; OutputFile is a file that
// several threads write at given offsets and that appears when complete.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_DIALECT_QC_TRANSFORMS_WEIGHTFILE_H
#define QC_LIB_DIALECT_QC_TRANSFORMS_WEIGHTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>

namespace mlir::qc {

/// A read-only mapping of a byte range of a file.
class SourceRange {
public:
  /// The error is one line that names the file: unreadable, or shorter than
  /// `offset` + `length`.
  static llvm::Expected<SourceRange> map(llvm::StringRef file, int64_t offset,
                                         int64_t length);

  SourceRange(SourceRange &&other) noexcept;
  SourceRange &operator=(SourceRange &&) = delete;
  ~SourceRange();

  /// Byte `offset` of the file; not aligned.
  const uint8_t *data() const { return bytes; }

private:
  SourceRange() = default;
  void *mapping = nullptr;
  size_t mappedLength = 0;
  const uint8_t *bytes = nullptr;
};

/// Written under a temporary name in the same folder, then renamed. Unless
/// keep() succeeded, the destructor leaves nothing behind.
class OutputFile {
public:
  static llvm::Expected<OutputFile> create(llvm::StringRef path);

  OutputFile(OutputFile &&other) noexcept;
  OutputFile &operator=(OutputFile &&) = delete;
  ~OutputFile();

  /// Thread safe; ranges that nobody writes read as zero.
  llvm::Error write(llvm::ArrayRef<uint8_t> bytes, int64_t offset);
  /// Sets the length to `size` bytes and gives the file its name.
  llvm::Error keep(int64_t size);

private:
  OutputFile() = default;
  llvm::Error failure(int code) const;

  std::string path, temporary;
  int descriptor = -1;
};

} // namespace mlir::qc

#endif // QC_LIB_DIALECT_QC_TRANSFORMS_WEIGHTFILE_H
