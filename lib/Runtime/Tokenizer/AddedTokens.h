//===- AddedTokens.h - Tokens that are cut out of the text ------*- C++ -*-===//
//
// added_tokens of tokenizer.json: found before (or, if "normalized", after)
// normalization, leftmost and longest first.
//
// Source: huggingface/tokenizers tokenizer/added_vocabulary.rs
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_ADDEDTOKENS_H
#define QC_LIB_RUNTIME_TOKENIZER_ADDEDTOKENS_H

#include "Tables.h"

#include <string>

namespace qc::rt {

struct AddedToken {
  std::string content;
  std::string normalizedContent; ///< equals content unless `normalized`
  int32_t id = -1;
  bool special = false, normalized = false, singleWord = false;
  bool stripLeft = false, stripRight = false;
};

/// A stretch of text; `id` >= 0 if it is an added token.
struct TokenSpan {
  size_t begin, end;
  int32_t id;
};

class AddedTokens {
public:
  void add(AddedToken token);

  const std::vector<AddedToken> &all() const { return tokens; }
  bool hasNormalized() const { return !normalizedTrie.empty(); }

  /// Covers `text` with spans. `normalizedPass` selects the tokens.
  void find(std::string_view text, bool normalizedPass, bool parseSpecial,
            std::vector<TokenSpan> &spans) const;

private:
  std::vector<AddedToken> tokens;
  Trie plainTrie, normalizedTrie; ///< values index `tokens`
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_ADDEDTOKENS_H
