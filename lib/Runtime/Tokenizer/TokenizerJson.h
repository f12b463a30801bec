//===- TokenizerJson.h - Reading tokenizer.json -----------------*- C++ -*-===//
//
// vocab and merges have hundreds of thousands of entries; they are collected
// while scanning and never become JSON objects.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_TOKENIZERJSON_H
#define QC_LIB_RUNTIME_TOKENIZER_TOKENIZERJSON_H

#include <cstdint>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qc::rt {

struct TokenizerFile {
  nlohmann::json root; ///< without the entries of model.vocab and model.merges
  /// Views into `text` and `unescaped`.
  std::vector<std::pair<std::string_view, int32_t>> vocabulary;
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::unique_ptr<std::string> text;
  std::deque<std::string> unescaped;
};

/// False and one line in `error` if `bytes` is not JSON or not of this shape.
bool readTokenizerJson(std::string_view bytes, TokenizerFile &out,
                       std::string &error);

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_TOKENIZERJSON_H
