//===- Regex.h - Oniguruma patterns on PCRE2 --------------------*- C++ -*-===//
//
// tokenizer.json files contain patterns in Oniguruma's Ruby syntax. They are
// rewritten for PCRE2 such that every character class means what Oniguruma
// 6.9.10 means by it (white space, word characters, Unicode 16 categories). A
// construct whose meaning differs and cannot be rewritten is an error.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_REGEX_H
#define QC_LIB_RUNTIME_TOKENIZER_REGEX_H

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qc::rt {

/// A stretch of text and whether it matched; stretches cover the whole text.
struct Span {
  size_t begin, end;
  bool isMatch;
};

class Regex {
public:
  /// Compiles a pattern, or on `literal` the string itself.
  static std::optional<Regex> compile(std::string_view pattern, bool literal,
                                      std::string &error);

  /// Stretches of `text`, which is well-formed UTF-8. False and `error` if a
  /// match exceeds its limits.
  bool find(std::string_view text, std::vector<Span> &spans,
            std::string &error) const;

  /// The pattern given to PCRE2, for tests.
  const std::string &translated() const { return pattern; }

private:
  struct Deleter {
    void operator()(void *code) const;
  };
  std::shared_ptr<void> code;
  std::string pattern; ///< rewritten, or the literal
  bool literal = false;
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_REGEX_H
