//===- SentencePiece.cpp - tokenizer.model --------------------------------===//
#include "SentencePiece.h"

#include "Decoder.h"
#include "Unicode.h"

#include <algorithm>

using namespace qc::rt;

static constexpr std::string_view SpaceSymbol = "\xE2\x96\x81"; // U+2581
static constexpr std::string_view Replacement = "\xEF\xBF\xBD"; // U+FFFD

/// Bytes of the character that starts with this byte, well formed or not.
static size_t leadLength(char lead) {
  return "\1\1\1\1\1\1\1\1\1\1\1\1\2\2\3\4"[static_cast<uint8_t>(lead) >> 4];
}

std::unique_ptr<Tokenizer>
SentencePieceTokenizer::create(std::string_view bytes, std::string &error) {
  auto result = std::make_unique<SentencePieceTokenizer>();
  if (!readSentencePiece(bytes, result->file, error))
    return nullptr;
  if (!result->build(error)) {
    error = "tokenizer.model: " + error;
    return nullptr;
  }
  return result;
}

bool SentencePieceTokenizer::build(std::string &error) {
  using File = SentencePieceFile;
  if (file.modelType != 1 && file.modelType != 2) {
    error = "model type " + std::to_string(file.modelType) +
            " is not supported (1, unigram, and 2, BPE, are)";
    return false;
  }
  if (file.hasDenormalizer) {
    error = "a denormalizer is not supported";
    return false;
  }
  if (file.pieces.size() > (1u << 24)) {
    error = "more than 2^24 pieces";
    return false;
  }
  numIds = static_cast<int32_t>(file.pieces.size());
  byteIds.fill(-1);
  ids.reserve(file.pieces.size());
  normal.reserve(file.pieces.size());
  bool first = true;
  for (int32_t id = 0; id < numIds; ++id) {
    const File::Piece &piece = file.pieces[static_cast<size_t>(id)];
    bool ordinary = piece.type == File::Normal ||
                    piece.type == File::UserDefined ||
                    piece.type == File::Unused;
    if (!(ordinary ? normal : reserved).insert(piece.text, id)) {
      error = "piece '" + piece.text + "' appears twice";
      return false;
    }
    // A name may be both an ordinary and a reserved piece; the latter wins.
    if (!ids.insert(piece.text, id) && !ordinary) {
      error = "piece '" + piece.text + "' appears twice";
      return false;
    }
    switch (piece.type) {
    case File::Unknown:
      if (unk >= 0) {
        error = "two pieces of type unknown";
        return false;
      }
      unk = id;
      break;
    case File::Control:
      controls.insert(piece.text, id);
      break;
    case File::UserDefined:
      userDefined.insert(piece.text, id);
      break;
    case File::Byte: {
      int byte = byteOfToken(piece.text);
      if (!file.byteFallback || byte < 0) {
        error = "byte piece '" + piece.text +
                "' without byte_fallback or not spelled <0xNN>";
        return false;
      }
      byteIds[static_cast<size_t>(byte)] = id;
      break;
    }
    case File::Normal:
      minScore = first ? piece.score : std::min(minScore, piece.score);
      maxScore = first ? piece.score : std::max(maxScore, piece.score);
      first = false;
      break;
    default:
      break;
    }
    if (file.modelType == 1 && ordinary)
      unigram.insert(piece.text, id);
  }
  if (unk < 0) {
    error = "no piece of type unknown";
    return false;
  }
  if (file.byteFallback &&
      std::find(byteIds.begin(), byteIds.end(), -1) != byteIds.end()) {
    error = "byte_fallback without all 256 byte pieces";
    return false;
  }
  auto controlId = [&](int64_t id) {
    return id >= 0 && id < numIds &&
                   type(static_cast<int32_t>(id)) == File::Control
               ? static_cast<int32_t>(id)
               : -1;
  };
  bos = controlId(file.bosId);
  eos = controlId(file.eosId);
  if (bos >= 0)
    prefix.push_back(bos);
  return checkCharsMap(error);
}

//===----------------------------------------------------------------------===//
// Normalizer
//===----------------------------------------------------------------------===//

bool SentencePieceTokenizer::checkCharsMap(std::string &error) {
  // <uint32 size of the trie> <trie> <NUL-terminated strings>
  const std::string &map = file.charsMap;
  if (map.empty())
    return true;
  uint32_t size = 0;
  if (map.size() > 4)
    std::memcpy(&size, map.data(), 4);
  if (map.size() <= 4 || size == 0 || size % 4 != 0 || size > map.size() - 4) {
    error = "precompiled_charsmap: trie of " + std::to_string(size) +
            " bytes in " + std::to_string(map.size());
    return false;
  }
  charsTrie.resize(size / 4);
  std::memcpy(charsTrie.data(), map.data() + 4, size);
  charsText = map.substr(4 + size);
  if (charsText.empty() || charsText.back() != '\0') {
    error = "precompiled_charsmap: strings without an end";
    return false;
  }
  file.charsMap = {};
  return true;
}

/// Longest rule that `text` starts with: its length, 0 if none.
size_t
SentencePieceTokenizer::lookUpCharsMap(std::string_view text,
                                       std::string_view &replacement) const {
  // Units of the double array (darts-clone): bits 0-7 label, 8 "has a value",
  // 10-30 offset (times 256 if bit 9), 31 set in a value.
  auto offset = [](uint32_t unit) {
    return static_cast<size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6);
  };
  if (charsTrie.empty())
    return 0;
  size_t longest = 0, node = offset(charsTrie[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    uint8_t c = static_cast<uint8_t>(text[i]);
    node ^= c;
    if (node >= charsTrie.size())
      break;
    uint32_t unit = charsTrie[node];
    if ((unit & (0x80000000u | 0xFF)) != c)
      break;
    node ^= offset(unit);
    if (node >= charsTrie.size())
      break;
    if (!(unit >> 8 & 1))
      continue;
    size_t value = charsTrie[node] & 0x7FFFFFFF;
    if (value >= charsText.size())
      break;
    longest = i + 1;
    replacement = charsText.data() + value; // NUL-terminated, see above
  }
  return longest;
}

std::string_view
SentencePieceTokenizer::normalizePrefix(std::string_view text,
                                        size_t &consumed) const {
  int32_t id = -1;
  if (size_t length = userDefined.longestPrefix(text, id)) {
    consumed = length;
    return text.substr(0, length);
  }
  std::string_view replacement;
  if (size_t length = lookUpCharsMap(text, replacement)) {
    consumed = length;
    return replacement;
  }
  unicode::Decoded d = unicode::decode(text, 0);
  consumed = d.length;
  return d.valid ? text.substr(0, d.length) : Replacement;
}

std::string SentencePieceTokenizer::normalize(std::string_view text,
                                              bool dummyPrefix) const {
  std::string out;
  size_t consumed = 0;
  if (file.removeExtraSpaces)
    while (!text.empty()) {
      if (normalizePrefix(text, consumed) != " ")
        break;
      text.remove_prefix(consumed);
    }
  if (text.empty())
    return out;
  std::string_view space = file.escapeSpaces ? SpaceSymbol : " ";
  out.reserve(text.size() * 2);
  if (!file.spaceAsSuffix && dummyPrefix)
    out += space;
  bool previousSpace = file.removeExtraSpaces;
  while (!text.empty()) {
    std::string_view piece = normalizePrefix(text, consumed);
    while (previousSpace && piece.starts_with(' '))
      piece.remove_prefix(1);
    for (char c : piece) {
      if (c == ' ')
        out += space;
      else
        out += c;
    }
    if (!piece.empty())
      previousSpace = piece.ends_with(' ');
    text.remove_prefix(consumed);
    if (!file.removeExtraSpaces)
      previousSpace = false;
  }
  if (file.removeExtraSpaces)
    while (out.ends_with(space))
      out.resize(out.size() - space.size());
  if (file.spaceAsSuffix && dummyPrefix)
    out += space;
  return out;
}

//===----------------------------------------------------------------------===//
// Segmentation
//===----------------------------------------------------------------------===//

int32_t SentencePieceTokenizer::pieceId(std::string_view piece) const {
  int32_t id = reserved.find(piece);
  if (id < 0)
    id = normal.find(piece);
  return id < 0 ? unk : id;
}

void SentencePieceTokenizer::encodeBpe(std::string_view text,
                                       std::vector<Segment> &out) const {
  struct Symbol {
    int32_t previous, next;
    bool frozen; ///< user-defined: never merged
    std::string_view piece;
  };
  struct Pair {
    float score;
    int32_t left, right;
    size_t size;
  };
  std::vector<Symbol> symbols;
  while (!text.empty()) {
    int32_t id = -1;
    size_t length = userDefined.longestPrefix(text, id);
    bool frozen = length > 0;
    if (!frozen)
      length = std::min(leadLength(text[0]), text.size());
    int32_t index = static_cast<int32_t>(symbols.size());
    symbols.push_back({index - 1, index + 1, frozen, text.substr(0, length)});
    text.remove_prefix(length);
  }
  if (symbols.empty())
    return;
  symbols.back().next = -1;

  // Highest score first, then leftmost.
  auto later = [](const Pair &a, const Pair &b) {
    return a.score < b.score || (a.score == b.score && a.left > b.left);
  };
  std::vector<Pair> queue;
  // How unused pieces were made, to take them apart again.
  std::vector<std::pair<std::string_view, std::string_view>> halves;
  StringMap unusedHalves;
  auto makePair = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0)
      return false;
    const Symbol &a = symbols[static_cast<size_t>(left)];
    const Symbol &b = symbols[static_cast<size_t>(right)];
    if (a.frozen || b.frozen)
      return false;
    std::string_view piece(a.piece.data(), a.piece.size() + b.piece.size());
    int32_t id = normal.find(piece);
    if (id < 0)
      return false;
    queue.push_back({file.pieces[static_cast<size_t>(id)].score, left, right,
                     piece.size()});
    if (type(id) == SentencePieceFile::Unused) {
      int32_t index = unusedHalves.find(piece);
      if (index < 0) {
        unusedHalves.insert(piece, static_cast<int32_t>(halves.size()));
        halves.push_back({a.piece, b.piece});
      } else {
        halves[static_cast<size_t>(index)] = {a.piece, b.piece};
      }
    }
    return true;
  };
  for (int32_t i = 1; i < static_cast<int32_t>(symbols.size()); ++i)
    makePair(i - 1, i);
  std::make_heap(queue.begin(), queue.end(), later);
  auto push = [&](int32_t left, int32_t right) {
    if (makePair(left, right))
      std::push_heap(queue.begin(), queue.end(), later);
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), later);
    Pair top = queue.back();
    queue.pop_back();
    Symbol &left = symbols[static_cast<size_t>(top.left)];
    Symbol &right = symbols[static_cast<size_t>(top.right)];
    if (left.piece.empty() || right.piece.empty() ||
        left.piece.size() + right.piece.size() != top.size)
      continue;
    left.piece = {left.piece.data(), top.size};
    left.next = right.next;
    if (right.next >= 0)
      symbols[static_cast<size_t>(right.next)].previous = top.left;
    right.piece = {};
    push(left.previous, top.left);
    push(top.left, left.next);
  }

  // Unused pieces fall apart into what they were merged from.
  std::vector<std::string_view> stack;
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    stack.push_back(symbols[static_cast<size_t>(i)].piece);
    while (!stack.empty()) {
      std::string_view piece = stack.back();
      stack.pop_back();
      int32_t id = pieceId(piece);
      int32_t index =
          type(id) == SentencePieceFile::Unused ? unusedHalves.find(piece) : -1;
      if (index < 0) {
        out.push_back({piece, id});
        continue;
      }
      auto [a, b] = halves[static_cast<size_t>(index)];
      stack.push_back(b);
      stack.push_back(a);
    }
  }
}

void SentencePieceTokenizer::encodeUnigram(std::string_view text,
                                           std::vector<Segment> &out) const {
  // Viterbi over byte positions. Scores are float as in the reference, whose
  // rounding decides between equally good paths.
  struct Node {
    int32_t id = -1;
    float score = 0;
    int64_t start = -1;
  };
  constexpr float UnknownPenalty = 10.0f;
  const float unknownScore = minScore - UnknownPenalty;
  std::vector<Node> best(text.size() + 1);
  for (size_t start = 0; start < text.size();) {
    const float scoreHere = best[start].score;
    size_t length = std::min(leadLength(text[start]), text.size() - start);
    bool single = false;
    uint32_t node = 0;
    for (size_t end = start;
         end < text.size() && unigram.step(node, text[end]);) {
      ++end;
      int32_t id = unigram.value(node);
      if (id < 0 || type(id) == SentencePieceFile::Unused)
        continue;
      size_t size = end - start;
      float score =
          type(id) == SentencePieceFile::UserDefined
              ? static_cast<float>(static_cast<float>(size) * maxScore - 0.1)
              : file.pieces[static_cast<size_t>(id)].score;
      float candidate = score + scoreHere;
      Node &target = best[end];
      if (target.start < 0 || candidate > target.score)
        target = {id, candidate, static_cast<int64_t>(start)};
      single |= size == length;
    }
    if (!single) {
      Node &target = best[start + length];
      float candidate = unknownScore + scoreHere;
      if (target.start < 0 || candidate > target.score)
        target = {unk, candidate, static_cast<int64_t>(start)};
    }
    start += length;
  }
  size_t first = out.size();
  for (size_t end = text.size(); end > 0;) {
    const Node &node = best[end];
    size_t start = static_cast<size_t>(node.start);
    out.push_back({text.substr(start, end - start), node.id});
    end = start;
  }
  std::reverse(out.begin() + static_cast<ptrdiff_t>(first), out.end());
}

void SentencePieceTokenizer::emit(const std::vector<Segment> &segments,
                                  std::vector<int32_t> &out) const {
  bool previousUnknown = false;
  for (const Segment &segment : segments) {
    bool unknown = segment.id == unk;
    if (unknown && file.byteFallback) {
      for (char c : segment.text)
        out.push_back(byteIds[static_cast<uint8_t>(c)]);
    } else if (!(unknown && previousUnknown)) {
      out.push_back(segment.id); // a run of unknown pieces is one token
    }
    previousUnknown = unknown;
  }
}

std::vector<int32_t> SentencePieceTokenizer::encode(std::string_view text,
                                                    bool parseSpecial,
                                                    std::string *) const {
  std::vector<int32_t> result;
  std::vector<Segment> segments;
  auto encodeText = [&](std::string_view part, bool dummyPrefix) {
    std::string normalized = normalize(part, dummyPrefix);
    segments.clear();
    if (file.modelType == 2)
      encodeBpe(normalized, segments);
    else
      encodeUnigram(normalized, segments);
    emit(segments, result);
  };
  if (!parseSpecial || controls.empty()) {
    encodeText(text, file.addDummyPrefix);
    return result;
  }
  size_t done = 0;
  auto flush = [&](size_t end) {
    if (end > done)
      encodeText(text.substr(done, end - done),
                 file.addDummyPrefix && (done == 0 || text[done] != ' '));
  };
  for (size_t pos = 0; pos < text.size();) {
    int32_t id = -1;
    size_t length = controls.longestPrefix(text.substr(pos), id);
    if (!length) {
      ++pos;
      continue;
    }
    flush(pos);
    result.push_back(id);
    pos += length;
    done = pos;
  }
  flush(text.size());
  return result;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

bool SentencePieceTokenizer::isSpecial(int32_t id) const {
  return inRange(id) && type(id) == SentencePieceFile::Control;
}

static std::string withSpaces(std::string_view piece) {
  std::string out;
  while (!piece.empty()) {
    size_t at = piece.find(SpaceSymbol);
    out.append(piece.substr(0, at));
    if (at == std::string_view::npos)
      break;
    out += ' ';
    piece.remove_prefix(at + SpaceSymbol.size());
  }
  return out;
}

bool SentencePieceTokenizer::appendStream(int32_t id, bool skipSpecial,
                                          StreamState &state,
                                          std::string &out) const {
  using File = SentencePieceFile;
  if (!inRange(id))
    return true;
  const File::Piece &piece = file.pieces[static_cast<size_t>(id)];
  if (piece.type == File::Byte) {
    out += static_cast<char>(byteOfToken(piece.text));
    state.textEmpty = false;
    return true;
  }
  // The dummy prefix is looked for until a piece has lost one or text exists.
  if (state.prefixSeen || !state.textEmpty)
    state.started = true;
  state.prefixSeen = false;
  std::string text;
  if (piece.type == File::Control) {
    if (!skipSpecial)
      text = piece.text;
  } else if (piece.type == File::Unknown) {
    text = file.unkSurface;
  } else {
    std::string_view view = piece.text;
    if (!state.started && (file.addDummyPrefix || file.removeExtraSpaces) &&
        view.starts_with(SpaceSymbol)) {
      view.remove_prefix(SpaceSymbol.size());
      state.prefixSeen = !file.removeExtraSpaces;
    }
    text = withSpaces(view);
  }
  if (!text.empty())
    state.textEmpty = false;
  out += text;
  return true;
}

std::string SentencePieceTokenizer::tokenBytes(int32_t id) const {
  StreamState middle;
  middle.started = true;
  middle.textEmpty = false;
  std::string bytes;
  appendStream(id, false, middle, bytes);
  return bytes;
}

std::string SentencePieceTokenizer::decode(std::span<const int32_t> list,
                                           bool skipSpecial) const {
  StreamState state;
  std::string bytes;
  for (int32_t id : list)
    appendStream(id, skipSpecial, state, bytes);
  return lossyText(bytes, true);
}
