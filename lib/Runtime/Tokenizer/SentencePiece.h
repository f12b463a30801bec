//===- SentencePiece.h - tokenizer.model ------------------------*- C++ -*-===//
//
// SentencePiece BPE and unigram models with their normalizer.
//
// Source: google/sentencepiece src/{sentencepiece_model.proto, normalizer,
// model_interface, bpe_model, unigram_model, sentencepiece_processor}.cc
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_SENTENCEPIECE_H
#define QC_LIB_RUNTIME_TOKENIZER_SENTENCEPIECE_H

#include "Tables.h"

#include "qc/Runtime/Tokenizer/Tokenizer.h"

#include <array>

namespace qc::rt {

/// What a tokenizer.model says.
struct SentencePieceFile {
  enum PieceType { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };
  struct Piece {
    std::string text;
    float score = 0;
    int type = Normal;
  };
  std::vector<Piece> pieces;
  uint64_t modelType = 1; ///< 1 unigram, 2 BPE
  bool byteFallback = false, spaceAsSuffix = false;
  std::string unkSurface = " \xE2\x81\x87 ";
  int64_t bosId = 1, eosId = 2;
  std::string charsMap; ///< double-array trie and strings
  bool addDummyPrefix = true, removeExtraSpaces = true, escapeSpaces = true;
  bool hasDenormalizer = false;
};

/// Parses the protocol buffer. False and one line in `error` if malformed.
bool readSentencePiece(std::string_view bytes, SentencePieceFile &out,
                       std::string &error);

class SentencePieceTokenizer final : public Tokenizer {
public:
  static std::unique_ptr<Tokenizer> create(std::string_view bytes,
                                           std::string &error);

  /// With `parseSpecial`, stretches between control pieces are encoded one by
  /// one, each as a text of its own; a stretch that follows a control piece
  /// and starts with a space gets no dummy prefix in front of it.
  std::vector<int32_t> encode(std::string_view text, bool parseSpecial,
                              std::string *error) const override;
  std::string tokenBytes(int32_t id) const override;
  std::string decode(std::span<const int32_t> ids,
                     bool skipSpecial) const override;
  int32_t idOf(std::string_view token) const override {
    return ids.find(token);
  }
  bool isSpecial(int32_t id) const override;

private:
  bool appendStream(int32_t id, bool skipSpecial, StreamState &state,
                    std::string &out) const override;
  bool replacesEachByte() const override { return true; }

  bool build(std::string &error);
  bool checkCharsMap(std::string &error);
  std::string normalize(std::string_view text, bool dummyPrefix) const;
  std::string_view normalizePrefix(std::string_view text,
                                   size_t &consumed) const;
  size_t lookUpCharsMap(std::string_view text,
                        std::string_view &replacement) const;
  int type(int32_t id) const {
    return file.pieces[static_cast<size_t>(id)].type;
  }
  bool inRange(int32_t id) const { return id >= 0 && id < numIds; }
  /// Reserved pieces first, then normal ones, then unknown.
  int32_t pieceId(std::string_view piece) const;

  struct Segment {
    std::string_view text;
    int32_t id;
  };
  void encodeBpe(std::string_view text, std::vector<Segment> &out) const;
  void encodeUnigram(std::string_view text, std::vector<Segment> &out) const;
  void emit(const std::vector<Segment> &segments,
            std::vector<int32_t> &out) const;

  SentencePieceFile file;
  StringMap ids;      ///< all pieces
  StringMap normal;   ///< those that text can become: normal, user, unused
  StringMap reserved; ///< the others
  Trie userDefined, controls;
  Trie unigram;
  std::vector<uint32_t> charsTrie;
  std::string charsText;
  std::array<int32_t, 256> byteIds;
  int32_t unk = -1;
  float minScore = 0, maxScore = 0;
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_SENTENCEPIECE_H
