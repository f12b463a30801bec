//===- TestData.h - Helpers of the tokenizer tests --------------*- C++ -*-===//
#ifndef QC_TEST_UNIT_TOKENIZER_TESTDATA_H
#define QC_TEST_UNIT_TOKENIZER_TESTDATA_H

#include "qc/Runtime/Tokenizer/Tokenizer.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <nlohmann/json.hpp>

inline std::string sharedData() {
  const char *env = std::getenv("QC_SHARED_DATA");
  return env ? env : std::string(QC_SOURCE_DIR) + "/../shared/data";
}

/// Empty if there is no such file.
inline std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The message with which a file is refused, "" if it is not.
inline std::string createError(qc::rt::TokenizerKind kind,
                               std::string_view bytes) {
  std::string error;
  auto t = qc::rt::Tokenizer::create(kind, bytes, error);
  EXPECT_EQ(t == nullptr, !error.empty());
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  return error;
}

#endif // QC_TEST_UNIT_TOKENIZER_TESTDATA_H
