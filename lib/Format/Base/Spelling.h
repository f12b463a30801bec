//===- Spelling.h - Reads the textual form of a format ----------*- C++ -*-===//
//
//   spelling  = mnemonic "<" parameter { "," parameter } ">"
//   parameter = [ name "=" ] value        name, value: letters, digits, "_",
//   "-"
//
// White space is free. A format's parser takes the parameters that it knows, in
// any order, then calls finish(). The first error wins; values taken after it
// are meaningless but safe to use.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_FORMAT_BASE_SPELLING_H
#define QC_LIB_FORMAT_BASE_SPELLING_H

#include "qc/Format/Format.h"

#include <initializer_list>
#include <utility>

namespace qc {

class Spelling {
public:
  explicit Spelling(std::string_view text);

  const std::string &mnemonic() const { return name; }

  /// The value without a name, e.g. "nf4", empty if there is none.
  std::string takeWord();
  bool has(std::string_view parameter) const;
  /// A required integer in [low, high].
  int64_t takeInteger(std::string_view parameter, int64_t low, int64_t high);
  /// Group size: a positive integer, or "channel" or 0 for a whole row (0).
  int64_t takeGroup();
  /// f32, f16 or bf16.
  DType takeFloat(std::string_view parameter);
  DType floatType(std::string_view what, std::string_view value);
  /// One of `choices`.
  std::string takeChoice(std::string_view parameter,
                         std::initializer_list<std::string_view> choices);

  void fail(const std::string &message);
  /// False, with the error in one line, if anything failed or is left over.
  bool finish(std::string &error);

private:
  void parse(std::string_view source);
  std::string take(std::string_view parameter);

  std::string text, name, error;
  std::vector<std::pair<std::string, std::string>> parameters;
};

/// "f32", "f16", "bf16".
std::string floatName(DType type);
/// "channel" for 0.
std::string groupName(int64_t group);

/// Why [n, k] cannot be the shape of any weight; nullopt if it can.
std::optional<std::string> checkShape(int64_t n, int64_t k);

} // namespace qc

#endif // QC_LIB_FORMAT_BASE_SPELLING_H
