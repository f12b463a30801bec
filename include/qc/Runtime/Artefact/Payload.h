//===- Payload.h - Sections appended to an artefact -------------*- C++ -*-===//
//
// Layout: see qc/Runtime/ModelABI.h. Every number of the file is checked before
// it is used; a truncated or foreign file gives one line that says so.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_ARTEFACT_PAYLOAD_H
#define QC_RUNTIME_ARTEFACT_PAYLOAD_H

#include "qc/Runtime/ModelABI.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace qc::rt {

/// An artefact's payload, mapped read only. A file that shrinks while it is
/// mapped ends the process with one line and exit code 3 (SIGBUS).
class Payload {
public:
  /// Maps the payload of the file at `path`; with `copy` reads the file into
  /// memory instead. Null and one line in `error` if it cannot be read, is
  /// truncated or damaged. Checksums of all sections but "weights" are checked.
  static std::unique_ptr<Payload> open(const std::string &path, bool copy,
                                       std::string &error);
  ~Payload();
  Payload(const Payload &) = delete;
  Payload &operator=(const Payload &) = delete;

  /// Bytes of a section; empty with data() == nullptr if there is none.
  std::string_view section(std::string_view name) const;
  const std::vector<QCSection> &sections() const { return table; }

  /// Reads all weights and compares their checksum, which open() leaves out.
  /// Empty, or one line.
  std::string checkWeights() const;

private:
  Payload() = default;
  std::string validate();
  uint8_t *base = nullptr; ///< of the file, page aligned
  size_t size = 0;
  std::string path;
  std::vector<QCSection> table;
};

/// Path of the running executable; works without /proc.
std::string executablePath(const char *argv0);

/// Path of the executable or shared object that contains `address`.
std::string objectPath(const void *address);

/// One section to append.
struct PayloadSection {
  std::string name;  ///< 1 to 15 bytes
  std::string bytes; ///< contents, or
  std::string file;  ///< a file with the contents

  static PayloadSection fromBytes(std::string name, std::string bytes) {
    return {std::move(name), std::move(bytes), ""};
  }
  static PayloadSection fromFile(std::string name, std::string file) {
    return {std::move(name), "", std::move(file)};
  }
};

/// Appends sections, table and trailer to the file at `path` and syncs it.
/// Files are streamed, not held in memory. On failure (also: no space) the file
/// is to be thrown away and `error` is one line.
bool appendPayload(const std::string &path,
                   const std::vector<PayloadSection> &sections,
                   std::string &error);

/// FNV-1a, 64 bits.
uint64_t checksum(const void *data, size_t size,
                  uint64_t seed = 14695981039346656037ull);

/// Of the section "weights", at the speed of memory: FNV-1a 64 over the sums of
/// its blocks. Any change of one word changes the result.
class WeightsChecksum {
public:
  static constexpr size_t blockSize = 1 << 20;
  /// The next block; all but the last have blockSize bytes.
  void add(const uint8_t *block, size_t size);
  uint64_t get() const { return hash; }

private:
  uint64_t hash = checksum(nullptr, 0);
};

} // namespace qc::rt

#endif // QC_RUNTIME_ARTEFACT_PAYLOAD_H
