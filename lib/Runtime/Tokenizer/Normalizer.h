//===- Normalizer.h - "normalizer" of tokenizer.json ------------*- C++ -*-===//
//
// Source: huggingface/tokenizers normalizers/*.rs
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_NORMALIZER_H
#define QC_LIB_RUNTIME_TOKENIZER_NORMALIZER_H

#include "Regex.h"
#include "Unicode.h"

#include <nlohmann/json_fwd.hpp>

namespace qc::rt {

/// A normalizer is the list of its steps; none for "normalizer": null.
class Normalizer {
public:
  static bool parse(const nlohmann::json &json, Normalizer &out,
                    std::string &error);

  bool empty() const { return steps.empty(); }

  /// `atStart`: the text's first character comes from the start of the user's
  /// text; cleared when that character is removed.
  bool apply(std::string &text, bool &atStart, std::string &error) const;

private:
  enum class Kind { Unicode, Lowercase, Replace, Prepend, Strip };
  struct Step {
    Kind kind;
    unicode::Form form = unicode::Form::NFC;
    std::optional<Regex> pattern;
    std::string content;
    bool left = false, right = false;
  };
  bool parseStep(const nlohmann::json &json, int depth, std::string &error);

  std::vector<Step> steps;
};

/// Reads {"String": s} or {"Regex": r}.
std::optional<Regex> parsePattern(const nlohmann::json &json,
                                  const std::string &where, std::string &error);

/// Value of "type" of a component, "" if there is none.
std::string componentType(const nlohmann::json &json);

/// Optional boolean member; null counts as absent.
bool readBool(const nlohmann::json &json, const char *key, bool defaultValue,
              const std::string &where, bool &out, std::string &error);

/// Required string member.
bool readString(const nlohmann::json &json, const char *key,
                const std::string &where, std::string &out, std::string &error);

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_NORMALIZER_H
