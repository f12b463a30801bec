//===- TokenizerFiles.h - The tokenizer of a model folder -------*- C++ -*-===//
#ifndef QC_FRONTEND_TOKENIZERFILES_H
#define QC_FRONTEND_TOKENIZERFILES_H

#include "qc/Frontend/ModelConfig.h"

namespace qc {

/// What a generating program must know besides the tokenizer's own file.
struct TokenizerInfo {
  std::string kind;               ///< "tokenizer.json" or "sentencepiece"
  std::string file;               ///< path
  bool addBos = false;            ///< begin every text with `bosId`
  std::optional<int64_t> bosId;   ///< present if addBos
  std::vector<int64_t> eosIds;    ///< any of them ends a text
  std::string bosToken, eosToken; ///< spellings; empty if unknown
  std::string chatTemplate;       ///< Jinja; empty if there is none
};

/// Finds tokenizer.json or else tokenizer.model, and reads beside it
/// tokenizer_config.json, special_tokens_map.json and chat_template.jinja.
/// Nothing if the folder has no tokenizer. The tokenizer itself is loaded once,
/// so that a file that no program could use is an error here. What looks odd
/// but works is said in `warnings`.
llvm::Expected<std::optional<TokenizerInfo>>
readTokenizer(llvm::StringRef folder, const ModelConfig &config,
              std::vector<std::string> &warnings);

} // namespace qc

#endif // QC_FRONTEND_TOKENIZERFILES_H
