//===- SentencePieceFile.cpp - Reading tokenizer.model --------------------===//
//
// A reader for the few protocol buffer fields that matter. Every length is
// checked against what is left of its enclosing message.
//
// Source: protobuf.dev/programming-guides/encoding
//
//===----------------------------------------------------------------------===//
#include "SentencePiece.h"

#include <cmath>

using namespace qc::rt;

namespace {

class Message {
public:
  explicit Message(std::string_view bytes) : bytes(bytes) {}

  uint32_t field = 0;
  uint64_t number = 0;      ///< of a varint
  std::string_view content; ///< of a length-delimited field
  float real = 0;           ///< of a fixed32 field
  enum { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };
  uint64_t wireType = 0;
  bool failed = false;

  /// Reads the next field; false at the end or if malformed (`failed`).
  bool next() {
    if (pos == bytes.size())
      return false;
    uint64_t tag = 0;
    if (!varint(tag) || (tag >> 3) == 0 || (tag >> 3) > 0x1FFFFFFF)
      return fail();
    field = static_cast<uint32_t>(tag >> 3);
    wireType = tag & 7;
    switch (wireType) {
    case Varint:
      return varint(number) || fail();
    case Fixed64:
      return skip(8) || fail();
    case Bytes: {
      uint64_t length = 0;
      if (!varint(length) || length > bytes.size() - pos)
        return fail();
      content = bytes.substr(pos, length);
      pos += length;
      return true;
    }
    case Fixed32:
      if (bytes.size() - pos < 4)
        return fail();
      std::memcpy(&real, bytes.data() + pos, 4);
      pos += 4;
      return true;
    default:
      return fail();
    }
  }

  bool is(uint32_t f, uint64_t type) const {
    return field == f && wireType == type;
  }

private:
  bool fail() {
    failed = true;
    return false;
  }
  bool skip(size_t n) {
    if (bytes.size() - pos < n)
      return false;
    pos += n;
    return true;
  }
  bool varint(uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (pos == bytes.size())
        return false;
      uint8_t b = static_cast<uint8_t>(bytes[pos++]);
      value |= static_cast<uint64_t>(b & 0x7F) << shift;
      if (!(b & 0x80))
        return true;
    }
    return false;
  }

  std::string_view bytes;
  size_t pos = 0;
};

} // namespace

/// int32 fields are varints of the sign-extended 64-bit value.
static int64_t signedNumber(uint64_t number) {
  return static_cast<int64_t>(number);
}

static bool readPiece(std::string_view bytes, SentencePieceFile::Piece &piece) {
  Message m(bytes);
  while (m.next()) {
    if (m.is(1, Message::Bytes))
      piece.text = m.content;
    else if (m.is(2, Message::Fixed32))
      piece.score = m.real;
    else if (m.is(3, Message::Varint))
      piece.type = m.number <= 6 ? static_cast<int>(m.number) : 0;
  }
  return !m.failed;
}

static bool readTrainer(std::string_view bytes, SentencePieceFile &file) {
  Message m(bytes);
  while (m.next()) {
    if (m.is(3, Message::Varint))
      file.modelType = m.number;
    else if (m.is(24, Message::Varint))
      file.spaceAsSuffix = m.number != 0;
    else if (m.is(35, Message::Varint))
      file.byteFallback = m.number != 0;
    else if (m.is(41, Message::Varint))
      file.bosId = signedNumber(m.number);
    else if (m.is(42, Message::Varint))
      file.eosId = signedNumber(m.number);
    else if (m.is(44, Message::Bytes))
      file.unkSurface = m.content;
  }
  return !m.failed;
}

static bool readNormalizer(std::string_view bytes, SentencePieceFile &file) {
  Message m(bytes);
  while (m.next()) {
    if (m.is(2, Message::Bytes))
      file.charsMap = m.content;
    else if (m.is(3, Message::Varint))
      file.addDummyPrefix = m.number != 0;
    else if (m.is(4, Message::Varint))
      file.removeExtraSpaces = m.number != 0;
    else if (m.is(5, Message::Varint))
      file.escapeSpaces = m.number != 0;
  }
  return !m.failed;
}

static bool readDenormalizer(std::string_view bytes, SentencePieceFile &file) {
  Message m(bytes);
  while (m.next())
    if (m.is(2, Message::Bytes) && !m.content.empty())
      file.hasDenormalizer = true;
  return !m.failed;
}

bool qc::rt::readSentencePiece(std::string_view bytes, SentencePieceFile &out,
                               std::string &error) {
  Message m(bytes);
  bool ok = true;
  while (ok && m.next()) {
    if (m.wireType != Message::Bytes)
      continue;
    switch (m.field) {
    case 1: {
      SentencePieceFile::Piece piece;
      ok = readPiece(m.content, piece);
      size_t bad = 0;
      std::string name = "piece " + std::to_string(out.pieces.size());
      if (ok && piece.type == 0) {
        error = "tokenizer.model: " + name + " has an unknown type";
        return false;
      }
      if (ok && (piece.text.empty() || !validUtf8(piece.text, bad))) {
        error = "tokenizer.model: " + name + " is empty or not UTF-8";
        return false;
      }
      if (ok && !std::isfinite(piece.score)) {
        error = "tokenizer.model: " + name + " has a score that is not finite";
        return false;
      }
      out.pieces.push_back(std::move(piece));
      break;
    }
    case 2:
      ok = readTrainer(m.content, out);
      break;
    case 3:
      ok = readNormalizer(m.content, out);
      break;
    case 5:
      ok = readDenormalizer(m.content, out);
      break;
    default:
      break;
    }
  }
  if (!ok || m.failed) {
    error = "tokenizer.model: malformed protocol buffer after " +
            std::to_string(out.pieces.size()) +
            " pieces (truncated, or not a SentencePiece model)";
    return false;
  }
  if (out.pieces.empty()) {
    error = "tokenizer.model: no pieces (not a SentencePiece model?)";
    return false;
  }
  return true;
}
