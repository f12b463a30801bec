//===- Json.h - JSON of checkpoints, read with suspicion --------*- C++ -*-===//
//
// A thin layer over nlohmann::json for files that come from elsewhere: bounded
// nesting, no duplicate keys, UTF-8 only, and errors of one line. The parser
// underneath keeps its own stack, so no input overflows ours.
//
//===----------------------------------------------------------------------===//
#ifndef QC_FRONTEND_JSON_H
#define QC_FRONTEND_JSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <nlohmann/json.hpp>

namespace qc {

using Json = nlohmann::json;

/// Deepest nesting that parseJson() accepts. Real files stay below 10.
constexpr size_t maxJsonDepth = 64;

/// Parses `text`. `what` opens the message ("DIR/config.json").
llvm::Expected<Json> parseJson(llvm::StringRef text, llvm::StringRef what);

/// Reads and parses a file of at most 64 MiB.
llvm::Expected<Json> readJsonFile(llvm::StringRef path);

/// A value as it appears in a message: one line, at most 60 characters.
std::string describe(const Json &value);

/// 'text' in quotes, in one line, at most 200 characters, control characters
/// and ill-formed bytes replaced: names from a file may hold anything.
std::string quote(llvm::StringRef text);

/// An error of one line.
template <typename... Args>
llvm::Error makeError(const Args &...args) {
  std::string message;
  llvm::raw_string_ostream stream(message);
  (stream << ... << args);
  return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                 llvm::Twine(message));
}

} // namespace qc

#endif // QC_FRONTEND_JSON_H
