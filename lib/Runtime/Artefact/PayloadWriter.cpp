//===- PayloadWriter.cpp - Appends sections to an artefact ----------------===//
#include "qc/Runtime/Artefact/Payload.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qc::rt;

namespace {

class Appender {
public:
  Appender(const std::string &path, std::string &error)
      : path(path), error(error),
        fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC)) {
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0 || lseek(fd, 0, SEEK_END) < 0) {
      fail();
      return;
    }
    at = static_cast<uint64_t>(info.st_size);
  }
  ~Appender() {
    if (fd >= 0)
      close(fd);
  }

  bool ok() const { return good; }
  bool fail() {
    if (good)
      error = "cannot write '" + path + "': " + std::strerror(errno);
    good = false;
    return false;
  }
  bool write(const void *data, size_t size) {
    const auto *bytes = static_cast<const uint8_t *>(data);
    while (size) {
      ssize_t count = ::write(fd, bytes, size);
      if (count < 0 && errno == EINTR)
        continue;
      if (count <= 0)
        return fail();
      bytes += count;
      size -= static_cast<size_t>(count);
      at += static_cast<uint64_t>(count);
    }
    return true;
  }
  bool pad(uint64_t alignment) {
    std::vector<uint8_t> zeros((alignment - at % alignment) % alignment);
    return write(zeros.data(), zeros.size());
  }
  /// Streams `file` in blocks of WeightsChecksum to write() and `visit`.
  template <typename Visit>
  bool copy(const std::string &file, const Visit &visit) {
    int source = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (source < 0) {
      error = "cannot read '" + file + "': " + std::strerror(errno);
      return good = false;
    }
    std::vector<uint8_t> buffer(WeightsChecksum::blockSize);
    for (bool atEnd = false; !atEnd && good;) {
      size_t filled = 0;
      while (filled < buffer.size() && !atEnd) {
        ssize_t count =
            read(source, buffer.data() + filled, buffer.size() - filled);
        if (count < 0 && errno == EINTR)
          continue;
        if (count < 0) {
          error = "cannot read '" + file + "': " + std::strerror(errno);
          good = false;
        }
        atEnd = count <= 0;
        filled += atEnd ? 0 : static_cast<size_t>(count);
      }
      if (good && filled && write(buffer.data(), filled))
        visit(buffer.data(), filled);
    }
    close(source);
    return good;
  }
  bool finish() {
    if (fsync(fd) != 0)
      return fail();
    int descriptor = fd;
    fd = -1;
    return close(descriptor) == 0 || fail();
  }
  uint64_t at = 0;

private:
  const std::string &path;
  std::string &error;
  int fd;
  bool good = true;
};

} // namespace

bool qc::rt::appendPayload(const std::string &path,
                           const std::vector<PayloadSection> &sections,
                           std::string &error) {
  Appender out(path, error);
  if (!out.ok())
    return false;
  std::vector<QCSection> table;
  for (const PayloadSection &section : sections) {
    QCSection entry = {};
    if (section.name.empty() || section.name.size() >= sizeof entry.name) {
      error = "section name '" + section.name + "' must have 1 to 15 bytes";
      return false;
    }
    std::memcpy(entry.name, section.name.data(), section.name.size());
    if (!out.pad(4096))
      return false;
    entry.offset = out.at;
    bool isWeights = section.name == "weights";
    uint64_t hash = checksum(nullptr, 0);
    WeightsChecksum weights;
    auto add = [&](const uint8_t *block, size_t size) {
      if (isWeights)
        weights.add(block, size);
      else
        hash = checksum(block, size, hash);
    };
    if (section.file.empty()) {
      const auto *bytes =
          reinterpret_cast<const uint8_t *>(section.bytes.data());
      size_t size = section.bytes.size();
      for (size_t at = 0; at < size; at += WeightsChecksum::blockSize)
        add(bytes + at, std::min(size - at, WeightsChecksum::blockSize));
      if (!out.write(bytes, size))
        return false;
    } else if (!out.copy(section.file, add)) {
      return false;
    }
    entry.size = out.at - entry.offset;
    entry.checksum = isWeights ? weights.get() : hash;
    table.push_back(entry);
  }
  if (!out.pad(4096))
    return false;
  QCTrailer trailer = {};
  std::memcpy(trailer.magic, QC_TRAILER_MAGIC, sizeof trailer.magic);
  trailer.version = QC_ABI_VERSION;
  trailer.num_sections = static_cast<uint32_t>(table.size());
  trailer.table_offset = out.at;
  size_t bytes = table.size() * sizeof(QCSection);
  trailer.checksum = checksum(table.data(), bytes);
  trailer.file_size = out.at + bytes + sizeof trailer;
  return out.write(table.data(), bytes) &&
         out.write(&trailer, sizeof trailer) && out.finish();
}
