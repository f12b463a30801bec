//===- Tokenizer.h - Text to token ids and back -----------------*- C++ -*-===//
//
// Reads the two tokenizer files that Hugging Face folders carry and computes
// the same ids as their reference implementations:
//
//   tokenizer.json   BPE, byte level or with byte fall-back (PyPI `tokenizers`)
//   tokenizer.model  SentencePiece BPE and unigram (PyPI `sentencepiece`)
//
// A component that is not implemented is an error that names it, never another
// tokenization. Files are untrusted: every number in them is checked.
//
// Linked into the user's executable: no LLVM, no exception leaves this API.
// All const members may be called from several threads at once.
//
// Source: huggingface/tokenizers (tokenizers/src), google/sentencepiece (src).
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_TOKENIZER_TOKENIZER_H
#define QC_RUNTIME_TOKENIZER_TOKENIZER_H

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qc::rt {

enum class TokenizerKind { HuggingFaceJson, SentencePiece };

/// True if `text` is well-formed UTF-8 (no overlong forms, no surrogates);
/// otherwise `badOffset` is the byte where the first bad sequence starts.
bool validUtf8(std::string_view text, size_t &badOffset);

/// What a streaming decoder must remember about the text before a token.
struct StreamState {
  bool started = false;    ///< a token has been pushed
  bool textEmpty = true;   ///< nothing has been written yet
  bool prefixSeen = false; ///< SentencePiece: last piece lost its dummy space
  size_t strippedLeft = 0; ///< characters that Strip has removed at the start
  bool stripDone = false;  ///< Strip has met another character
};

class Tokenizer {
public:
  virtual ~Tokenizer();

  /// Reads the whole file `bytes` (copied, not kept). Null and one line in
  /// `error` if it is malformed or uses an unsupported component.
  static std::unique_ptr<Tokenizer>
  create(TokenizerKind kind, std::string_view bytes, std::string &error);

  /// Ids of `text`, without prefixIds() and suffixIds(). With `parseSpecial`,
  /// the text of special (control) tokens stands for these tokens; without, it
  /// is ordinary text: use that for text from a user. Ill-formed UTF-8 bytes
  /// count as U+FFFD. Fails only if a regular expression of the file exceeds
  /// its match limit; the result is then empty and `error`, if given, set.
  virtual std::vector<int32_t> encode(std::string_view text, bool parseSpecial,
                                      std::string *error = nullptr) const = 0;

  /// Bytes that the token adds in the middle of a text; they need not be whole
  /// UTF-8 characters. Empty for ids outside of the vocabulary.
  virtual std::string tokenBytes(int32_t id) const = 0;

  /// Equal to Hugging Face's decode(ids, skip_special_tokens) or
  /// SentencePiece's Decode. Ids outside of the vocabulary add nothing.
  virtual std::string decode(std::span<const int32_t> ids,
                             bool skipSpecial = true) const = 0;

  /// Id of a token by its spelling in the file, -1 if absent.
  virtual int32_t idOf(std::string_view token) const = 0;

  /// True for control tokens such as <s> and <|eot_id|>.
  virtual bool isSpecial(int32_t id) const = 0;

  /// Largest id + 1.
  int32_t vocabSize() const { return numIds; }

  /// What the file says stands before and after a single sequence: BOS, EOS.
  const std::vector<int32_t> &prefixIds() const { return prefix; }
  const std::vector<int32_t> &suffixIds() const { return suffix; }
  bool addsBos() const { return !prefix.empty(); }

  /// -1 if unknown. tokenizer.json does not state them, so there they are the
  /// first prefix id and the usual spellings; a config.json overrules both.
  int32_t bosId() const { return bos; }
  int32_t eosId() const { return eos; }

protected:
  friend class StreamDecoder;

  /// Appends what token `id` adds to the text after `state`, as raw bytes.
  /// False if this tokenizer's text cannot be made token by token.
  virtual bool appendStream(int32_t id, bool skipSpecial, StreamState &state,
                            std::string &out) const = 0;
  /// Ill-formed bytes become one U+FFFD each (true) or one for each maximal
  /// ill-formed sequence (false).
  virtual bool replacesEachByte() const = 0;

  int32_t numIds = 0, bos = -1, eos = -1;
  std::vector<int32_t> prefix, suffix;
};

/// Turns a stream of ids into text as early as possible: a character appears
/// with the token that completes it. All pieces joined equal decode(), except
/// that of an ill-formed run of byte tokens only the ill-formed part is
/// replaced by U+FFFD (Hugging Face's ByteFallback replaces the whole run).
class StreamDecoder {
public:
  explicit StreamDecoder(const Tokenizer &tokenizer, bool skipSpecial = true)
      : tokenizer(tokenizer), skipSpecial(skipSpecial) {}

  /// Text that became certain with this token; may be empty.
  std::string push(int32_t id);
  /// Rest of the text; the decoder is then ready for another stream.
  std::string finish();

private:
  std::string takeValid(bool atEnd);

  const Tokenizer &tokenizer;
  bool skipSpecial;
  StreamState state;
  std::string pending;      ///< bytes that do not yet form a character
  std::vector<int32_t> ids; ///< only if the text must be made as a whole
  size_t emitted = 0;
};

} // namespace qc::rt

#endif // QC_RUNTIME_TOKENIZER_TOKENIZER_H
