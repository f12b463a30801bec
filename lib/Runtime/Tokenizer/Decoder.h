//===- Decoder.h - "decoder" of tokenizer.json ------------------*- C++ -*-===//
//
// A decoder rewrites the list of token spellings; the joined list is the text.
//
// Source: huggingface/tokenizers decoders/*.rs, pre_tokenizers/{byte_level,
// metaspace}.rs
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_DECODER_H
#define QC_LIB_RUNTIME_TOKENIZER_DECODER_H

#include "Normalizer.h"

#include "qc/Runtime/Tokenizer/Tokenizer.h"

namespace qc::rt {

class Decoder {
public:
  static bool parse(const nlohmann::json &json, Decoder &out,
                    std::string &error);

  /// Text of all tokens.
  std::string decode(std::vector<std::string> tokens) const;

  /// The steps are of a kind whose text can be made token by token.
  bool streamable() const;
  /// Bytes that `token` adds after `state`. Only if streamable().
  void appendStream(std::string token, StreamState &state,
                    std::string &out) const;
  /// ByteFallback replaces each ill-formed byte.
  bool hasByteFallback() const;

private:
  enum class Kind { ByteLevel, Metaspace, ByteFallback, Fuse, Replace, Strip };
  struct Step {
    Kind kind;
    std::optional<Regex> pattern; ///< Replace
    std::string content;          ///< Replace, Strip, Metaspace
    size_t start = 0, stop = 0;   ///< Strip
    bool dropFirst = false;       ///< Metaspace
  };
  bool parseStep(const nlohmann::json &json, int depth, std::string &error);

  std::vector<Step> steps;
  bool joinWithSpaces = true; ///< "decoder": null
};

/// Value of a token spelled <0xNN>, -1 for all others.
int byteOfToken(std::string_view token);

/// `bytes` as text, ill-formed sequences replaced: each byte, or each maximal
/// ill-formed sequence (as Rust's from_utf8_lossy).
std::string lossyText(std::string_view bytes, bool eachByte);

/// Length of the ill-formed sequence that starts at text[pos]; 0 if it may yet
/// become a character when more bytes come.
size_t illFormedLength(std::string_view text, size_t pos, bool eachByte,
                       bool atEnd);

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_DECODER_H
