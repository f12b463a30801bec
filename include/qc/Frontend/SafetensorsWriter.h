//===- SafetensorsWriter.h - Writing safetensors files ----------*- C++ -*-===//
//
// For tensors that do not fit in memory together: their names, types and shapes
// are known first, their bytes come later, in any order and from any thread.
// The file appears under its name complete or not at all.
//
//===----------------------------------------------------------------------===//
#ifndef QC_FRONTEND_SAFETENSORSWRITER_H
#define QC_FRONTEND_SAFETENSORSWRITER_H

#include "qc/Format/Format.h"
#include "qc/Frontend/OutputFile.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace qc {

class SafetensorsWriter {
public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;

  /// Reserves the space of all tensors under a temporary name beside `path`
  /// and writes the header. Tensors are laid out by falling element width, so
  /// that each is aligned to it, and otherwise in the order given.
  /// Errors: duplicate or empty name, negative or overflowing shape, folder
  /// missing or not writable, not enough space.
  static llvm::Expected<std::unique_ptr<SafetensorsWriter>>
  create(llvm::StringRef path, llvm::ArrayRef<TensorSpec> specs,
         const Metadata &metadata = {});

  /// As create(), under the temporary name `path`.partial, which a killed
  /// process leaves behind: one with the same header is continued. Waits while
  /// another process writes the same file.
  static llvm::Expected<std::unique_ptr<SafetensorsWriter>>
  resume(llvm::StringRef path, llvm::ArrayRef<TensorSpec> specs,
         const Metadata &metadata = {});
  /// True if resume() found a file to continue. Its bytes count as not written
  /// until they are adopted.
  bool continues() const { return file->continues(); }
  /// Reads the bytes of a whole tensor, as far as a killed process wrote them.
  llvm::Error read(llvm::StringRef name, llvm::MutableArrayRef<uint8_t> bytes);
  /// Declares a tensor, not written by this process, as complete.
  void adopt(llvm::StringRef name);

  /// Without commit() nothing is left behind.
  ~SafetensorsWriter() = default;
  SafetensorsWriter(const SafetensorsWriter &) = delete;
  SafetensorsWriter &operator=(const SafetensorsWriter &) = delete;

  llvm::StringRef path() const { return finalPath; }
  /// Where a tensor's bytes start in the finished file; -1 if it is unknown.
  int64_t offsetOf(llvm::StringRef name) const;

  /// Writes bytes [begin, begin + bytes.size()) of a tensor. Thread safe; no
  /// byte may be written twice.
  llvm::Error write(llvm::StringRef name, int64_t begin,
                    llvm::ArrayRef<uint8_t> bytes);
  /// Writes a whole tensor; its type and shape must be those announced.
  llvm::Error write(const TensorView &tensor);

  /// Checks that every tensor is complete, syncs, renames. Once only.
  llvm::Error commit();

private:
  struct Entry {
    TensorSpec spec;
    int64_t offset = 0; ///< in the file
    std::atomic<int64_t> written{0};
  };

  SafetensorsWriter() = default;
  llvm::Error layOut(llvm::ArrayRef<TensorSpec> specs, const Metadata &metadata,
                     std::string &header);

  std::string finalPath;
  std::unique_ptr<OutputFile> file;
  int64_t fileSize = 0;
  std::vector<std::unique_ptr<Entry>> entries;
  llvm::StringMap<Entry *> index;
};

} // namespace qc

#endif // QC_FRONTEND_SAFETENSORSWRITER_H
