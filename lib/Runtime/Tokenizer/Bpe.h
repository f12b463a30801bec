//===- Bpe.h - Byte pair encoding of one word -------------------*- C++ -*-===//
//
// The BPE model of tokenizer.json. In byte mode (after a ByteLevel
// pre-tokenizer) words are raw bytes instead of their printable stand-ins,
// which saves the conversion of every text.
//
// Source: huggingface/tokenizers models/bpe/{model,word}.rs
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_BPE_H
#define QC_LIB_RUNTIME_TOKENIZER_BPE_H

#include "Tables.h"

#include <array>
#include <deque>
#include <string>

namespace qc::rt {

/// The 256 printable characters of the byte-level alphabet.
struct ByteAlphabet {
  std::array<uint16_t, 256> toChar;
  std::array<int16_t, 512> toByte; ///< -1: not in the alphabet
  ByteAlphabet();
  static const ByteAlphabet &get();

  /// Bytes that `token` stands for; false if a character is not in the
  /// alphabet.
  bool decode(std::string_view token, std::string &bytes) const;
  std::string encode(std::string_view bytes) const;
};

class Bpe {
public:
  struct Options {
    bool byteMode = false, byteFallback = false, ignoreMerges = false;
    bool fuseUnk = false;
    int32_t unk = -1;
  };

  /// Scratch and cache of one encode() call, so that threads share nothing.
  struct Session {
    struct Symbol {
      int32_t id, previous, next;
      bool alive;
    };
    struct Merge {
      uint32_t rank, position;
      int32_t id;
    };
    std::vector<Symbol> symbols;
    std::vector<Merge> queue;
    StringMap cache; ///< word -> index of `cached`
    std::vector<std::pair<uint32_t, uint32_t>>
        cached; ///< ranges of `cachedIds`
    std::vector<int32_t> cachedIds;
    std::deque<std::string> words; ///< owns the keys of `cache`
  };

  /// `vocabulary` maps spellings to ids and must outlive this object. False
  /// and one line in `error` on contradictions.
  bool build(
      const StringMap &vocabulary,
      const std::vector<std::pair<std::string_view, std::string_view>> &merges,
      const Options &options, std::string &error);

  void encode(std::string_view word, Session &session,
              std::vector<int32_t> &ids) const;

private:
  void mergeWord(std::string_view word, Session &session) const;

  Options options;
  const StringMap *vocabulary = nullptr;
  PairMap merges;                   ///< (left, right) -> rank << 32 | merged id
  std::array<int32_t, 256> byteIds; ///< of single bytes in byte mode
  std::array<int32_t, 256> byteFallbackIds; ///< of <0xNN>
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_BPE_H
