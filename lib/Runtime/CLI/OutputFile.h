//===- OutputFile.h - A file that appears whole or not at all ---*- C++ -*-===//
#ifndef QC_RUNTIME_CLI_OUTPUTFILE_H
#define QC_RUNTIME_CLI_OUTPUTFILE_H

#include <string>

namespace qc::rt {

/// A file under a temporary name in the same folder that becomes `path` when
/// all went well. After the first failure nothing more is written.
class OutputFile {
public:
  explicit OutputFile(const std::string &path);
  /// Removes the temporary file unless commit() succeeded.
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  bool write(const void *data, size_t size);
  /// Syncs, closes and renames.
  bool commit();

  /// One line; empty while all is well.
  const std::string &error() const { return message; }
  int errorNumber() const { return code; }

private:
  bool fail();
  std::string path, temporary, message;
  int fd = -1, code = 0;
  bool exists = false; ///< the temporary file
  bool direct = false; ///< `path` is a device or pipe: no renaming over it
};

} // namespace qc::rt

#endif // QC_RUNTIME_CLI_OUTPUTFILE_H
