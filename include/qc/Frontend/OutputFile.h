//===- OutputFile.h - Files that appear whole or not at all -----*- C++ -*-===//
#ifndef QC_FRONTEND_OUTPUTFILE_H
#define QC_FRONTEND_OUTPUTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace qc {

/// A file that is written under a temporary name beside its own and renamed
/// when it is complete. Errors are one line: "cannot write 'FILE': ...".
/// A limit of the file size (ulimit -f) is such an error only if the program
/// ignores SIGXFSZ.
class OutputFile {
public:
  /// Reserves `size` bytes, so that a full disk shows before the work.
  static llvm::Expected<std::unique_ptr<OutputFile>>
  create(llvm::StringRef path, int64_t size);

  /// As create(), under the name `path`.partial, which stays when the process
  /// is killed: one of the same size that begins with `header` is continued.
  /// Writes the header otherwise. Waits while another process writes the file.
  static llvm::Expected<std::unique_ptr<OutputFile>>
  resume(llvm::StringRef path, int64_t size, llvm::StringRef header);
  /// True if resume() found a file to continue.
  bool continues() const { return continued; }

  /// Without commit() nothing is left behind; with create(), nor after SIGINT
  /// and the like.
  ~OutputFile() { discard(); }
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  /// Thread safe.
  llvm::Error writeAt(int64_t offset, llvm::ArrayRef<uint8_t> bytes);
  /// Thread safe.
  llvm::Error readAt(int64_t offset, llvm::MutableArrayRef<uint8_t> bytes);
  /// Syncs and renames. Once only.
  llvm::Error commit();
  void discard();
  /// False after commit() and discard().
  bool isOpen() const { return fd >= 0; }

private:
  OutputFile() = default;
  llvm::Error checkPath() const;
  llvm::Error openTemporary();
  llvm::Error openPartial();
  llvm::Error reserve();
  bool beginsWith(llvm::StringRef header) const;
  llvm::Error fail(int errorNumber) const;

  std::string finalPath, temporaryPath;
  int fd = -1;
  int64_t size = 0;
  bool continued = false;
};

/// Writes a whole file: as OutputFile does if `path` is a regular file or does
/// not exist, straight into it if it is a device or a pipe. "-" is stdout.
llvm::Error writeFile(llvm::StringRef path, llvm::StringRef text);

} // namespace qc

#endif // QC_FRONTEND_OUTPUTFILE_H
