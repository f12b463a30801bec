//===- Safetensors.cpp - Reading safetensors files ------------------------===//
#include "qc/Frontend/Safetensors.h"

#include "qc/Frontend/Json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qc;
using llvm::Error;
using llvm::StringRef;

/// As the reference implementation has it.
constexpr uint64_t maxHeader = 100'000'000;
/// More dimensions than any tensor of a model has.
constexpr size_t maxRank = 16;

std::string qc::describe(const TensorSpec &spec) {
  std::string result(dtypeName(spec.type));
  result += " [";
  for (size_t i = 0; i < spec.shape.size(); ++i)
    result += (i ? ", " : "") + std::to_string(spec.shape[i]);
  return result + "]";
}

//===----------------------------------------------------------------------===//
// One tensor of the header
//===----------------------------------------------------------------------===//

namespace {
/// What the header says of a tensor, with offsets from the start of the data.
struct HeaderEntry {
  TensorSpec spec;
  int64_t begin = 0, end = 0;
};
} // namespace

static llvm::Expected<std::vector<int64_t>> readNumbers(const Json &info,
                                                        StringRef where,
                                                        const char *field,
                                                        size_t maxCount) {
  auto found = info.find(field);
  if (found == info.end())
    return makeError(where, " has no '", field, "'");
  if (!found->is_array() || found->size() > maxCount)
    return makeError(where, ": ", field, " is ", describe(*found),
                     ", expected an array of at most ", maxCount, " numbers");
  std::vector<int64_t> numbers;
  for (const Json &value : *found) {
    // Negative numbers and floats have other types than number_unsigned.
    if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX)
      return makeError(where, ": ", field, " has ", describe(value),
                       ", expected an integer from 0 to 2^63 - 1");
    numbers.push_back(value.get<int64_t>());
  }
  return numbers;
}

static llvm::Expected<HeaderEntry>
readEntry(const std::string &name, const Json &info, StringRef where) {
  if (!info.is_object())
    return makeError(where, " is ", describe(info),
                     ", expected an object with dtype, shape and data_offsets");
  auto dtype = info.find("dtype");
  if (dtype == info.end())
    return makeError(where, " has no 'dtype'");
  std::optional<DType> type;
  if (dtype->is_string())
    type = parseDType(dtype->get_ref<const std::string &>());
  if (!type)
    return makeError(where, ": dtype ", describe(*dtype),
                     " is not supported, expected ",
                     "F64, F32, F16, BF16, I64, I32, I16, I8, U8, U16 or BOOL");
  HeaderEntry entry;
  entry.spec.name = name;
  entry.spec.type = *type;
  auto shape = readNumbers(info, where, "shape", maxRank);
  if (!shape)
    return shape.takeError();
  entry.spec.shape = std::move(*shape);
  auto offsets = readNumbers(info, where, "data_offsets", 2);
  if (!offsets)
    return offsets.takeError();
  if (offsets->size() != 2)
    return makeError(where, ": data_offsets has ", offsets->size(),
                     " numbers, expected 2");
  entry.begin = (*offsets)[0];
  entry.end = (*offsets)[1];
  if (entry.end < entry.begin)
    return makeError(where, ": data_offsets [", entry.begin, ", ", entry.end,
                     "] end before they begin");
  int64_t bytes = byteWidth(*type);
  bool empty = llvm::is_contained(entry.spec.shape, 0);
  for (int64_t size : entry.spec.shape)
    if (!empty && __builtin_mul_overflow(bytes, size, &bytes))
      return makeError(where, ": ", describe(entry.spec),
                       " has more bytes than a 64-bit number can say");
  if (empty)
    bytes = 0;
  if (entry.end - entry.begin != bytes)
    return makeError(where, ": data_offsets [", entry.begin, ", ", entry.end,
                     "] span ", entry.end - entry.begin, " bytes, expected ",
                     bytes, " for ", describe(entry.spec));
  return entry;
}

/// Sorts by place and checks that the tensors tile [0, dataSize).
static Error checkTiling(std::vector<HeaderEntry> &entries, StringRef path,
                         int64_t dataSize) {
  llvm::sort(entries, [](const HeaderEntry &a, const HeaderEntry &b) {
    return std::tie(a.begin, a.end, a.spec.name) <
           std::tie(b.begin, b.end, b.spec.name);
  });
  int64_t expected = 0;
  const HeaderEntry *previous = nullptr;
  for (const HeaderEntry &entry : entries) {
    std::string where = (path + ": tensor " + quote(entry.spec.name)).str();
    if (entry.begin > expected)
      return makeError(where, " begins at byte ", entry.begin,
                       " of the data, expected ", expected,
                       ": no tensor owns the bytes between");
    if (entry.begin < expected)
      return makeError(where, " begins at byte ", entry.begin,
                       " of the data, expected ", expected,
                       ": it overlaps tensor ", quote(previous->spec.name));
    if (entry.end > dataSize)
      return makeError(where, " ends at byte ", entry.end,
                       " of the data, but the file holds only ", dataSize,
                       ": is it truncated?");
    expected = entry.end;
    previous = &entry;
  }
  if (expected != dataSize)
    return makeError(path, ": ", dataSize - expected,
                     " bytes follow the last tensor, expected none");
  return Error::success();
}

//===----------------------------------------------------------------------===//
// SafetensorsFile
//===----------------------------------------------------------------------===//

Error SafetensorsFile::map() {
  auto fail = [&](int number) {
    return makeError("cannot read '", filePath,
                     "': ", std::generic_category().message(number));
  };
  int fd = ::open(filePath.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return fail(errno);
  struct stat status;
  Error error = Error::success();
  if (::fstat(fd, &status) != 0) {
    error = fail(errno);
  } else if (!S_ISREG(status.st_mode)) {
    error = makeError("cannot read '", filePath, "': not a regular file");
  } else if (status.st_size < 8) {
    error = makeError(filePath, ": ", status.st_size,
                      " bytes, expected at least 8 (the header's length)");
  } else {
    fileSize = status.st_size;
    void *address = ::mmap(nullptr, static_cast<size_t>(fileSize), PROT_READ,
                           MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED)
      error = fail(errno);
    else
      mapping = static_cast<const uint8_t *>(address);
  }
  ::close(fd);
  return error;
}

Error SafetensorsFile::readHeader() {
  uint64_t length = llvm::support::endian::read64le(mapping);
  if (length > maxHeader)
    return makeError(filePath, ": header of ", length,
                     " bytes, expected at most ", maxHeader,
                     ": is it a safetensors file?");
  int64_t dataStart = 8 + static_cast<int64_t>(length);
  if (dataStart > fileSize)
    return makeError(filePath, ": header of ", length,
                     " bytes, but the file has only ", fileSize - 8,
                     " after the length: is it truncated?");
  auto header =
      parseJson(StringRef(reinterpret_cast<const char *>(mapping) + 8, length),
                filePath + ": header");
  if (!header)
    return header.takeError();
  if (!header->is_object())
    return makeError(filePath, ": header is ", describe(*header),
                     ", expected an object");

  std::vector<HeaderEntry> entries;
  for (const auto &[name, info] : header->items()) {
    if (name == "__metadata__") {
      if (!info.is_object())
        return makeError(filePath, ": __metadata__ is ", describe(info),
                         ", expected an object of strings");
      for (const auto &[key, value] : info.items()) {
        if (!value.is_string())
          return makeError(filePath, ": __metadata__ ", quote(key), " is ",
                           describe(value), ", expected a string");
        meta.emplace_back(key, value.get<std::string>());
      }
      continue;
    }
    auto entry = readEntry(name, info, filePath + ": tensor " + quote(name));
    if (!entry)
      return entry.takeError();
    entries.push_back(std::move(*entry));
  }
  if (Error error = checkTiling(entries, filePath, fileSize - dataStart))
    return error;
  for (HeaderEntry &entry : entries) {
    index[entry.spec.name] = all.size();
    int64_t offset = dataStart + entry.begin, bytes = entry.end - entry.begin;
    all.push_back({std::move(entry.spec), offset, bytes,
                   bytes ? mapping + offset : nullptr});
  }
  return Error::success();
}

llvm::Expected<std::unique_ptr<SafetensorsFile>>
SafetensorsFile::open(StringRef path) {
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->filePath = path.str();
  if (Error error = file->map())
    return error;
  if (Error error = file->readHeader())
    return error;
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapping)
    ::munmap(const_cast<uint8_t *>(mapping), static_cast<size_t>(fileSize));
}

const SafetensorsTensor *SafetensorsFile::find(StringRef name) const {
  auto found = index.find(name);
  return found == index.end() ? nullptr : &all[found->second];
}

llvm::Expected<const SafetensorsTensor *>
SafetensorsFile::get(StringRef name) const {
  if (const SafetensorsTensor *tensor = find(name))
    return tensor;
  return makeError(filePath, ": tensor ", quote(name), " is missing");
}

void SafetensorsFile::release(const SafetensorsTensor &tensor) const {
  // Only whole pages that belong to nobody else.
  int64_t page = ::sysconf(_SC_PAGESIZE);
  int64_t begin = (tensor.offset + page - 1) / page * page;
  int64_t end = (tensor.offset + tensor.bytes) / page * page;
  if (begin < end)
    (void)::madvise(const_cast<uint8_t *>(mapping) + begin,
                    static_cast<size_t>(end - begin), MADV_DONTNEED);
}
