//===- ConfigReader.h - Checked fields of a JSON object ---------*- C++ -*-===//
//
// For a parser that reads one field after the other and looks for an error at
// the end: the first error is kept, later ones are dropped. After an error all
// values are defaults. null counts as absent, as in Python's dictionaries of
// options.
//
//   ConfigReader reader(json, path);
//   int64_t hidden = reader.integer("hidden_size", 1, maxHidden);
//   if (llvm::Error error = reader.takeError()) return error;
//
//===----------------------------------------------------------------------===//
#ifndef QC_FRONTEND_CONFIGREADER_H
#define QC_FRONTEND_CONFIGREADER_H

#include "qc/Frontend/Json.h"

#include <optional>

namespace qc {

class ConfigReader {
public:
  /// `object` must be a JSON object that outlives the reader; `where` opens
  /// the messages.
  ConfigReader(const Json &object, llvm::StringRef where)
      : object(object), where(where) {}

  /// True if the field is there, even as null.
  bool mentions(const char *field) const { return object.contains(field); }
  /// Null if the field is absent or null.
  const Json *find(const char *field) const;

  /// Required unless there is a default.
  int64_t integer(const char *field, int64_t min, int64_t max,
                  std::optional<int64_t> fallback = std::nullopt);
  /// Finite and greater than 0.
  double positive(const char *field,
                  std::optional<double> fallback = std::nullopt);
  bool boolean(const char *field, bool fallback);
  std::string string(const char *field, llvm::StringRef fallback);

  /// Keeps "WHERE: message" unless there is an error already.
  template <typename... Args>
  void fail(const Args &...args) {
    if (!error.empty())
      return;
    llvm::raw_string_ostream stream(error);
    stream << where << ": ";
    (stream << ... << args);
  }
  bool failed() const { return !error.empty(); }
  llvm::Error takeError() {
    if (error.empty())
      return llvm::Error::success();
    return makeError(error);
  }

private:
  const Json *require(const char *field, bool hasFallback,
                      const std::string &expected);

  const Json &object;
  std::string where, error;
};

} // namespace qc

#endif // QC_FRONTEND_CONFIGREADER_H
