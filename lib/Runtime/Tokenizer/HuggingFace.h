//===- HuggingFace.h - tokenizer.json ---------------------------*- C++ -*-===//
//
// added tokens -> normalizer -> added tokens -> pre-tokenizer -> BPE
//
// Source: huggingface/tokenizers tokenizer/mod.rs
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_HUGGINGFACE_H
#define QC_LIB_RUNTIME_TOKENIZER_HUGGINGFACE_H

#include "AddedTokens.h"
#include "Bpe.h"
#include "Decoder.h"
#include "Normalizer.h"
#include "PreTokenizer.h"

#include "qc/Runtime/Tokenizer/Tokenizer.h"

namespace qc::rt {

class HuggingFaceTokenizer final : public Tokenizer {
public:
  static std::unique_ptr<Tokenizer> create(std::string_view bytes,
                                           std::string &error);

  std::vector<int32_t> encode(std::string_view text, bool parseSpecial,
                              std::string *error) const override;
  std::string tokenBytes(int32_t id) const override;
  std::string decode(std::span<const int32_t> ids,
                     bool skipSpecial) const override;
  int32_t idOf(std::string_view token) const override;
  bool isSpecial(int32_t id) const override;

private:
  bool appendStream(int32_t id, bool skipSpecial, StreamState &state,
                    std::string &out) const override;
  bool replacesEachByte() const override { return decoder.hasByteFallback(); }

  bool readModel(const nlohmann::json &model, std::string &error);
  bool readAddedTokens(const nlohmann::json &list, std::string &error);
  bool readPostProcessor(const nlohmann::json &json, int depth,
                         std::string &error);
  bool encodeSegment(std::string_view text, bool atStart, bool parseSpecial,
                     Bpe::Session &session, std::vector<int32_t> &ids,
                     std::string &error) const;
  void guessSpecialIds();

  std::unique_ptr<std::string> text; ///< the file: token spellings are views
  std::deque<std::string> unescaped; ///< spellings that had escapes
  std::vector<std::pair<std::string_view, int32_t>> vocabulary;
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::vector<std::string_view> spelling; ///< by id; no data: no such token
  std::vector<int32_t> addedIndex;        ///< by id, -1: not an added token
  StringMap ids;                          ///< of the model
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer preTokenizer;
  Bpe bpe;
  Decoder decoder;
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_HUGGINGFACE_H
