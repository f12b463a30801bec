//===- OutputFile.cpp - Files that appear whole or not at all -------------===//
//
// Not llvm::writeToOutput: it does not look for errors of write(), and renames
// over a device.
//
//===----------------------------------------------------------------------===//
#include "qc/Frontend/OutputFile.h"

#include "qc/Frontend/Json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Signals.h"
#include <cerrno>
#include <fcntl.h>
#include <random>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qc;
using llvm::Error;
using llvm::StringRef;

static Error cannotWrite(StringRef path, int errorNumber, int64_t size) {
  std::string needs;
  if (errorNumber == ENOSPC || errorNumber == EFBIG || errorNumber == EDQUOT)
    needs = " (it needs " + std::to_string(size) + " bytes)";
  return makeError("cannot write '", path,
                   "': ", std::generic_category().message(errorNumber), needs);
}

Error OutputFile::fail(int errorNumber) const {
  return cannotWrite(finalPath, errorNumber, size);
}

Error OutputFile::checkPath() const {
  struct stat status;
  if (::stat(finalPath.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
    return fail(EISDIR);
  return Error::success();
}

Error OutputFile::reserve() {
  if (size == 0 || ::fallocate(fd, 0, 0, size) == 0)
    return Error::success();
  // Some file systems cannot reserve; there a full disk shows later.
  if ((errno == EOPNOTSUPP || errno == ENOSYS) && ::ftruncate(fd, size) == 0)
    return Error::success();
  return fail(errno);
}

Error OutputFile::openTemporary() {
  // In the same folder, so that rename() is atomic.
  std::random_device random;
  do {
    temporaryPath = finalPath + ".tmp-" + llvm::utohexstr(random(), true, 8);
    fd = ::open(temporaryPath.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                0666);
  } while (fd < 0 && errno == EEXIST);
  if (fd < 0) {
    int number = errno;
    temporaryPath.clear();
    return fail(number);
  }
  llvm::sys::RemoveFileOnSignal(temporaryPath);
  return reserve();
}

llvm::Expected<std::unique_ptr<OutputFile>> OutputFile::create(StringRef path,
                                                               int64_t size) {
  std::unique_ptr<OutputFile> file(new OutputFile);
  file->finalPath = path.str();
  file->size = size;
  if (Error error = file->checkPath())
    return error;
  if (Error error = file->openTemporary())
    return error;
  return file;
}

/// Opens and locks the file. Its name may have gone to another file, or to
/// none, while this process waited for the lock.
Error OutputFile::openPartial() {
  std::string name = finalPath + ".partial";
  while (true) {
    fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
      return fail(errno);
    while (::flock(fd, LOCK_EX) != 0)
      if (errno != EINTR)
        return fail(errno);
    struct stat mine, named;
    if (::fstat(fd, &mine) != 0)
      return fail(errno);
    if (::stat(name.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
        mine.st_dev == named.st_dev)
      break;
    ::close(fd);
  }
  temporaryPath = name;
  return Error::success();
}

bool OutputFile::beginsWith(StringRef header) const {
  struct stat status;
  if (::fstat(fd, &status) != 0 || status.st_size != size)
    return false;
  std::string found(header.size(), '\0');
  return ::pread(fd, found.data(), found.size(), 0) == std::ssize(header) &&
         found == header;
}

llvm::Expected<std::unique_ptr<OutputFile>>
OutputFile::resume(StringRef path, int64_t size, StringRef header) {
  std::unique_ptr<OutputFile> file(new OutputFile);
  file->finalPath = path.str();
  file->size = size;
  if (Error error = file->checkPath())
    return error;
  if (Error error = file->openPartial())
    return error;
  if (file->beginsWith(header)) {
    file->continued = true;
    return file;
  }
  if (::ftruncate(file->fd, 0) != 0)
    return file->fail(errno);
  if (Error error = file->reserve())
    return error;
  if (Error error = file->writeAt(0, llvm::arrayRefFromStringRef(header)))
    return error;
  return file;
}

Error OutputFile::readAt(int64_t offset, llvm::MutableArrayRef<uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pread(fd, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return makeError(
          "cannot read '", temporaryPath,
          "': ", std::generic_category().message(count < 0 ? errno : EIO));
    bytes = bytes.drop_front(static_cast<size_t>(count));
    offset += count;
  }
  return Error::success();
}

void OutputFile::discard() {
  // Unlink first: the lock on a partial file ends with close().
  if (!temporaryPath.empty()) {
    ::unlink(temporaryPath.c_str());
    llvm::sys::DontRemoveFileOnSignal(temporaryPath);
    temporaryPath.clear();
  }
  if (fd >= 0)
    ::close(fd);
  fd = -1;
}

Error OutputFile::writeAt(int64_t offset, llvm::ArrayRef<uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return fail(count < 0 ? errno : EIO);
    bytes = bytes.drop_front(static_cast<size_t>(count));
    offset += count;
  }
  return Error::success();
}

Error OutputFile::commit() {
  if (::fsync(fd) != 0 ||
      ::rename(temporaryPath.c_str(), finalPath.c_str()) != 0) {
    int number = errno;
    discard();
    return fail(number);
  }
  llvm::sys::DontRemoveFileOnSignal(temporaryPath);
  temporaryPath.clear();
  discard();
  return Error::success();
}

/// To a pipe or device, which have no offsets.
static Error writeStream(int fd, StringRef path, StringRef text) {
  int64_t size = static_cast<int64_t>(text.size());
  while (!text.empty()) {
    ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return cannotWrite(path, count < 0 ? errno : EIO, size);
    text = text.drop_front(static_cast<size_t>(count));
  }
  return Error::success();
}

Error qc::writeFile(StringRef path, StringRef text) {
  if (path == "-")
    return writeStream(STDOUT_FILENO, "stdout", text);
  std::string name = path.str();
  struct stat status;
  if (::stat(name.c_str(), &status) == 0 && !S_ISREG(status.st_mode) &&
      !S_ISDIR(status.st_mode)) {
    int fd = ::open(name.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      return cannotWrite(path, errno, 0);
    Error error = writeStream(fd, path, text);
    ::close(fd);
    return error;
  }
  auto file = OutputFile::create(path, static_cast<int64_t>(text.size()));
  if (!file)
    return file.takeError();
  if (Error error = (*file)->writeAt(0, llvm::arrayRefFromStringRef(text)))
    return error;
  return (*file)->commit();
}
