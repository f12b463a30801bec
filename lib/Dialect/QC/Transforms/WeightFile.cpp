//===- WeightFile.cpp - Reading and writing weight bytes ------------------===//
#include "WeightFile.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Signals.h"
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

using namespace mlir::qc;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

static std::error_code systemError(int code) {
  return {code, std::generic_category()};
}

//===----------------------------------------------------------------------===//
// SourceRange
//===----------------------------------------------------------------------===//

Expected<SourceRange> SourceRange::map(StringRef file, int64_t offset,
                                       int64_t length) {
  auto fail = [&](int code) {
    std::error_code error = systemError(code);
    return llvm::createStringError(error, "cannot read '" + file +
                                              "': " + error.message());
  };
  int descriptor = open(file.str().c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return fail(errno);
  struct stat status;
  if (fstat(descriptor, &status) != 0 || S_ISDIR(status.st_mode)) {
    int code = S_ISDIR(status.st_mode) ? EISDIR : errno;
    close(descriptor);
    return fail(code);
  }
  // A mapping beyond the end would end the program when it is touched.
  if (offset > status.st_size || length > status.st_size - offset) {
    close(descriptor);
    return llvm::createStringError("'" + file + "' has " +
                                   llvm::Twine(status.st_size) +
                                   " bytes, expected " + llvm::Twine(length) +
                                   " bytes at offset " + llvm::Twine(offset));
  }
  SourceRange range;
  if (length > 0) {
    int64_t before = offset % sysconf(_SC_PAGESIZE);
    size_t size = static_cast<size_t>(before + length);
    void *mapping = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor,
                         offset - before);
    if (mapping == MAP_FAILED) {
      int code = errno;
      close(descriptor);
      return fail(code);
    }
    range.mapping = mapping;
    range.mappedLength = size;
    range.bytes = static_cast<const uint8_t *>(mapping) + before;
  }
  close(descriptor);
  return range;
}

SourceRange::SourceRange(SourceRange &&other) noexcept
    : mapping(std::exchange(other.mapping, nullptr)),
      mappedLength(other.mappedLength), bytes(other.bytes) {}

SourceRange::~SourceRange() {
  if (mapping)
    munmap(mapping, mappedLength);
}

//===----------------------------------------------------------------------===//
// OutputFile
//===----------------------------------------------------------------------===//

Error OutputFile::failure(int code) const {
  std::error_code error = systemError(code);
  return llvm::createStringError(error, "cannot write '" + path +
                                            "': " + error.message());
}

Expected<OutputFile> OutputFile::create(StringRef path) {
  OutputFile file;
  file.path = path.str();
  if (llvm::sys::fs::is_directory(path))
    return file.failure(EISDIR);
  llvm::SmallString<128> temporary;
  if (std::error_code error = llvm::sys::fs::createUniqueFile(
          path + ".%%%%%%.tmp", file.descriptor, temporary))
    return file.failure(error.value());
  file.temporary = temporary.str().str();
  llvm::sys::RemoveFileOnSignal(file.temporary);
  return file;
}

OutputFile::OutputFile(OutputFile &&other) noexcept
    : path(std::move(other.path)),
      temporary(std::exchange(other.temporary, {})),
      descriptor(std::exchange(other.descriptor, -1)) {}

OutputFile::~OutputFile() {
  if (descriptor >= 0)
    close(descriptor);
  if (temporary.empty())
    return;
  (void)llvm::sys::fs::remove(temporary);
  llvm::sys::DontRemoveFileOnSignal(temporary);
}

Error OutputFile::write(llvm::ArrayRef<uint8_t> bytes, int64_t offset) {
  while (!bytes.empty()) {
    ssize_t written = pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return failure(written < 0 ? errno : ENOSPC);
    bytes = bytes.drop_front(static_cast<size_t>(written));
    offset += written;
  }
  return Error::success();
}

Error OutputFile::keep(int64_t size) {
  if (ftruncate(descriptor, size) != 0)
    return failure(errno);
  if (close(std::exchange(descriptor, -1)) != 0)
    return failure(errno);
  if (std::error_code error = llvm::sys::fs::rename(temporary, path))
    return failure(error.value());
  llvm::sys::DontRemoveFileOnSignal(temporary);
  temporary.clear();
  return Error::success();
}
