//===- PreTokenizer.h - "pre_tokenizer" of tokenizer.json -------*- C++ -*-===//
//
// Source: huggingface/tokenizers pre_tokenizers/*.rs, tokenizer/normalizer.rs
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_PRETOKENIZER_H
#define QC_LIB_RUNTIME_TOKENIZER_PRETOKENIZER_H

#include "Normalizer.h"

#include <deque>

namespace qc::rt {

class PreTokenizer {
public:
  static bool parse(const nlohmann::json &json, PreTokenizer &out,
                    std::string &error);

  /// The last step is ByteLevel: words are to be taken as bytes.
  bool isByteLevel() const { return byteLevel; }

  struct Piece {
    std::string_view text;
    bool atStart; ///< starts at the start of the user's text
  };

  /// Splits the only element of `pieces`. Views point to it or to `storage`.
  bool apply(std::vector<Piece> &pieces, std::deque<std::string> &storage,
             std::string &error) const;

private:
  enum class Kind {
    ByteLevel,
    Metaspace,
    Split,
    Digits,
    Punctuation,
    Whitespace
  };
  enum class Behavior { Removed, Isolated, Previous, Next, Contiguous };
  enum class Prepend { Always, First, Never };
  struct Step {
    Kind kind;
    Behavior behavior = Behavior::Isolated;
    std::optional<Regex> pattern;
    bool invert = false;
    bool prefixSpace = false; ///< ByteLevel
    std::string replacement;  ///< Metaspace
    Prepend prepend = Prepend::Always;
    bool split = true;
  };
  bool parseStep(const nlohmann::json &json, int depth, std::string &error);
  static bool parseBehavior(const nlohmann::json &json,
                            const std::string &where, Behavior &out,
                            std::string &error);
  static void split(const Piece &piece, const std::vector<Span> &spans,
                    Behavior behavior, std::vector<Piece> &out);

  std::vector<Step> steps;
  bool byteLevel = false;
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_PRETOKENIZER_H
