//===- TestFiles.h - Files for the frontend's tests -------------*- C++ -*-===//
//
// Files are made byte by byte here, without the code under test.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TEST_UNIT_FRONTEND_TESTFILES_H
#define QC_TEST_UNIT_FRONTEND_TESTFILES_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <string>

namespace qc::test {

/// A fresh folder, removed with all it holds.
class TempDir {
public:
  TempDir() {
    std::string name =
        (std::filesystem::temp_directory_path() / "qc-frontend-XXXXXX")
            .string();
    path = ::mkdtemp(name.data());
  }
  ~TempDir() {
    std::error_code code;
    std::filesystem::remove_all(path, code);
  }
  std::string file(const std::string &name) const { return path + "/" + name; }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }
  size_t count() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(path), {}));
  }

  std::string path;
};

/// u64 length, header, data.
inline std::string safetensors(const std::string &header,
                               const std::string &data = "") {
  uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8); // tests run on little endian machines
  return bytes + header + data;
}

inline std::string read(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// /work/shared/data or $QC_SHARED_DATA; empty if absent.
inline std::string sharedData() {
  const char *env = std::getenv("QC_SHARED_DATA");
  std::string path = env ? env : QC_SOURCE_DIR "/../shared/data";
  return std::filesystem::is_directory(path) ? path : "";
}

/// The error of an Expected, "" if there is none.
template <typename T>
std::string errorOf(llvm::Expected<T> value) {
  return value ? "" : llvm::toString(value.takeError());
}
inline std::string errorOf(llvm::Error error) {
  return error ? llvm::toString(std::move(error)) : "";
}

/// One line that holds `fragment`.
inline void expectError(const std::string &error, const std::string &fragment) {
  EXPECT_NE(error, "");
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  EXPECT_NE(error.find(fragment), std::string::npos)
      << "found:    " << error << "\nexpected: " << fragment;
}

} // namespace qc::test

#define SKIP_WITHOUT_SHARED_DATA(folder)                                       \
  if (::qc::test::sharedData().empty() ||                                      \
      !std::filesystem::exists(::qc::test::sharedData() + "/" + (folder)))     \
  GTEST_SKIP() << "skipped: no shared data in " << (folder)

#endif // QC_TEST_UNIT_FRONTEND_TESTFILES_H
