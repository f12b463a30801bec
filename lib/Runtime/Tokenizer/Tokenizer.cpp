//===- Tokenizer.cpp - Text to token ids and back -------------------------===//
#include "qc/Runtime/Tokenizer/Tokenizer.h"

#include "HuggingFace.h"
#include "SentencePiece.h"

#include <new>
#include <stdexcept>

using namespace qc::rt;

Tokenizer::~Tokenizer() = default;

std::unique_ptr<Tokenizer> Tokenizer::create(TokenizerKind kind,
                                             std::string_view bytes,
                                             std::string &error) {
  error.clear();
  // The standard library and the JSON library may throw (memory, lengths).
  try {
    // Stretches of the file are kept as 32-bit sizes.
    if (bytes.size() > (1u << 30)) {
      error = "tokenizer file: larger than 1 GiB";
      return nullptr;
    }
    return kind == TokenizerKind::HuggingFaceJson
               ? HuggingFaceTokenizer::create(bytes, error)
               : SentencePieceTokenizer::create(bytes, error);
  } catch (const std::bad_alloc &) {
    error = "tokenizer file: out of memory";
  } catch (const std::exception &e) {
    error = std::string("tokenizer file: ") + e.what();
  }
  return nullptr;
}

std::string StreamDecoder::takeValid(bool atEnd) {
  std::string out;
  size_t pos = 0;
  while (pos < pending.size()) {
    unicode::Decoded d = unicode::decode(pending, pos);
    if (d.valid) {
      out.append(pending, pos, d.length);
      pos += d.length;
      continue;
    }
    size_t length =
        illFormedLength(pending, pos, tokenizer.replacesEachByte(), atEnd);
    if (!length)
      break;
    unicode::append(out, 0xFFFD);
    pos += length;
  }
  pending.erase(0, pos);
  return out;
}

std::string StreamDecoder::push(int32_t id) {
  if (tokenizer.appendStream(id, skipSpecial, state, pending))
    return takeValid(false);
  // Decode everything again; what ends in U+FFFD may still change.
  ids.push_back(id);
  std::string text = tokenizer.decode(ids, skipSpecial);
  size_t stable = text.size();
  while (stable >= 3 &&
         std::string_view(text).substr(stable - 3, 3) == "\xEF\xBF\xBD")
    stable -= 3;
  if (stable <= emitted)
    return "";
  std::string out = text.substr(emitted, stable - emitted);
  emitted = stable;
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  if (ids.empty()) {
    out = takeValid(true);
  } else {
    std::string text = tokenizer.decode(ids, skipSpecial);
    if (text.size() > emitted)
      out = text.substr(emitted);
  }
  state = {};
  pending.clear();
  ids.clear();
  emitted = 0;
  return out;
}
