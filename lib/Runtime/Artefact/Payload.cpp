//===- Payload.cpp - Reads the sections of an artefact --------------------===//
#include "qc/Runtime/Artefact/Payload.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qc::rt;

uint64_t qc::rt::checksum(const void *data, size_t size, uint64_t seed) {
  const auto *bytes = static_cast<const uint8_t *>(data);
  for (size_t i = 0; i < size; ++i)
    seed = (seed ^ bytes[i]) * 1099511628211ull;
  return seed;
}

void WeightsChecksum::add(const uint8_t *block, size_t size) {
  // FNV-1a by words in eight lanes, so that no product waits for the one
  // before. The shift brings high bits down; each step is invertible.
  uint64_t lanes[9] = {1, 2, 3, 4, 5, 6, 7, 8, size};
  auto mix = [&](const uint8_t *bytes) {
    for (size_t i = 0; i < 8; ++i) {
      uint64_t word;
      std::memcpy(&word, bytes + 8 * i, 8);
      lanes[i] = (lanes[i] ^ word) * 1099511628211ull;
      lanes[i] ^= lanes[i] >> 32;
    }
  };
  size_t at = 0;
  for (; size - at >= 64; at += 64)
    mix(block + at);
  uint8_t rest[64] = {};
  if (at < size) {
    std::memcpy(rest, block + at, size - at);
    mix(rest);
  }
  hash = checksum(lanes, sizeof lanes, hash);
}

namespace {

// Other SIGBUS faults (a shared object lives in a stranger's process) go on to
// who handled them before. At most one artefact is mapped in an executable.
const uint8_t *volatile mappedBase = nullptr;
volatile size_t mappedSize = 0;
struct sigaction previousAction;

/// A file that shrinks while it is mapped faults on access: say so and stop.
void onBusError(int signal, siginfo_t *info, void *) {
  const auto *address = static_cast<const uint8_t *>(info->si_addr);
  if (address < mappedBase || address >= mappedBase + mappedSize) {
    // Returning runs the faulting instruction again, under the old action.
    sigaction(signal, &previousAction, nullptr);
    return;
  }
  static const char text[] =
      "error: the model's file changed while it was in use (truncated, or on a "
      "failing disk)\n";
  ssize_t ignored = write(2, text, sizeof text - 1);
  (void)ignored;
  _exit(3);
}

void catchBusError(const uint8_t *base, size_t size) {
  static bool installed = false;
  mappedBase = base;
  mappedSize = size;
  if (installed)
    return;
  installed = true;
  struct sigaction action = {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, &previousAction);
}

} // namespace

Payload::~Payload() {
  if (!base)
    return;
  if (mappedBase == base)
    mappedSize = 0;
  munmap(base, size);
}

static bool readAll(int fd, uint8_t *out, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t count =
        pread(fd, out + done, std::min<size_t>(size - done, size_t(1) << 30),
              static_cast<off_t>(done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count == 0)
      errno = EIO; // it became shorter
    if (count <= 0)
      return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

std::unique_ptr<Payload> Payload::open(const std::string &path, bool copy,
                                       std::string &error) {
  auto fail = [&](const std::string &what) {
    error = "'" + path + "': " + what;
    return nullptr;
  };
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fail(std::string("cannot open: ") + std::strerror(errno));
  std::unique_ptr<Payload> payload(new Payload);
  payload->path = path;
  struct stat info;
  bool ok = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  if (!ok || info.st_size < static_cast<off_t>(sizeof(QCTrailer))) {
    close(fd);
    return fail("is not a compiled model: too short");
  }
  auto size = static_cast<size_t>(info.st_size);
  // Anonymous memory is page aligned like the mapping, as kernels expect.
  void *address =
      mmap(nullptr, size, copy ? PROT_READ | PROT_WRITE : PROT_READ,
           copy ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE, copy ? -1 : fd, 0);
  ok = address != MAP_FAILED;
  if (ok) {
    payload->base = static_cast<uint8_t *>(address);
    payload->size = size;
    if (copy) {
      madvise(address, size, MADV_HUGEPAGE);
      ok = readAll(fd, payload->base, size);
    } else {
      catchBusError(payload->base, size);
    }
  }
  int code = errno;
  close(fd);
  if (!ok)
    return fail(std::string("cannot read: ") + std::strerror(code));
  if (std::string problem = payload->validate(); !problem.empty())
    return fail(problem);
  if (!copy) {
    std::string_view weights = payload->section("weights");
    if (!weights.empty())
      madvise(const_cast<char *>(weights.data()), weights.size(),
              MADV_WILLNEED);
  }
  return payload;
}

/// What is wrong with the trailer, the table or a section; empty if nothing.
std::string Payload::validate() {
  QCTrailer trailer;
  std::memcpy(&trailer, base + size - sizeof trailer, sizeof trailer);
  if (std::memcmp(trailer.magic, QC_TRAILER_MAGIC, sizeof trailer.magic) != 0)
    return "has no model appended, or is truncated";
  if (trailer.version != QC_ABI_VERSION)
    return "payload version " + std::to_string(trailer.version) +
           ", expected " + std::to_string(QC_ABI_VERSION);
  if (trailer.file_size != size)
    return "has " + std::to_string(size) + " bytes, expected " +
           std::to_string(trailer.file_size);
  uint64_t end = size - sizeof trailer;
  if (trailer.num_sections > 64 || trailer.table_offset > end ||
      end - trailer.table_offset !=
          uint64_t(trailer.num_sections) * sizeof(QCSection))
    return "section table is out of bounds";
  table.resize(trailer.num_sections);
  size_t tableBytes = table.size() * sizeof(QCSection);
  if (tableBytes)
    std::memcpy(table.data(), base + trailer.table_offset, tableBytes);
  if (checksum(table.data(), tableBytes) != trailer.checksum)
    return "section table is damaged";
  for (const QCSection &entry : table) {
    std::string name(entry.name, strnlen(entry.name, sizeof entry.name));
    if (entry.offset % 4096 || entry.offset > trailer.table_offset ||
        entry.size > trailer.table_offset - entry.offset)
      return "section '" + name + "' is out of bounds";
    // Weights are not read at start-up: see checkWeights().
    if (name != "weights" &&
        checksum(base + entry.offset, entry.size) != entry.checksum)
      return "section '" + name + "' is damaged";
    for (const QCSection *other = table.data(); other != &entry; ++other)
      if (std::memcmp(other->name, entry.name, sizeof entry.name) == 0)
        return "section '" + name + "' occurs twice";
  }
  return "";
}

std::string Payload::checkWeights() const {
  for (const QCSection &entry : table) {
    if (std::strncmp(entry.name, "weights", sizeof entry.name) != 0)
      continue;
    WeightsChecksum sum;
    for (uint64_t at = 0; at < entry.size; at += WeightsChecksum::blockSize)
      sum.add(base + entry.offset + at,
              std::min<uint64_t>(entry.size - at, WeightsChecksum::blockSize));
    if (sum.get() != entry.checksum)
      return "'" + path + "': section 'weights' is damaged";
  }
  return "";
}

std::string_view Payload::section(std::string_view name) const {
  for (const QCSection &entry : table)
    if (std::string_view(entry.name, strnlen(entry.name, sizeof entry.name)) ==
        name)
      return {reinterpret_cast<const char *>(base + entry.offset), entry.size};
  return {};
}
