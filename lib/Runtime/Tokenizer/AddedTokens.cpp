//===- AddedTokens.cpp - Tokens that are cut out of the text --------------===//
#include "AddedTokens.h"

#include "Unicode.h"

#include <algorithm>

using namespace qc::rt;

void AddedTokens::add(AddedToken token) {
  int32_t index = static_cast<int32_t>(tokens.size());
  Trie &trie = token.normalized ? normalizedTrie : plainTrie;
  std::string_view key =
      token.normalized ? token.normalizedContent : token.content;
  if (!key.empty())
    trie.insert(key, index);
  tokens.push_back(std::move(token));
}

/// Start of the last character before `end`.
static size_t previousCharacter(std::string_view text, size_t end) {
  size_t pos = end - 1;
  while (pos > 0 && end - pos < 4 &&
         (static_cast<uint8_t>(text[pos]) & 0xC0) == 0x80)
    --pos;
  return pos;
}

void AddedTokens::find(std::string_view text, bool normalizedPass,
                       bool parseSpecial, std::vector<TokenSpan> &spans) const {
  spans.clear();
  if (text.empty())
    return;
  const Trie &trie = normalizedPass ? normalizedTrie : plainTrie;
  size_t done = 0;
  for (size_t pos = 0; pos < text.size() && !trie.empty();) {
    int32_t index = -1;
    size_t length = trie.longestPrefix(text.substr(pos), index);
    if (!length) {
      ++pos;
      continue;
    }
    size_t begin = pos, end = pos + length;
    pos = end; // even if the match is discarded
    const AddedToken &token = tokens[static_cast<size_t>(index)];
    if (token.special && !parseSpecial)
      continue;
    if (token.singleWord) {
      bool wordBefore =
          begin > 0 &&
          unicode::isWord(
              unicode::decode(text, previousCharacter(text, begin)).codePoint);
      bool wordAfter = end < text.size() &&
                       unicode::isWord(unicode::decode(text, end).codePoint);
      if (wordBefore || wordAfter)
        continue;
    }
    if (token.stripLeft)
      while (begin > done) {
        size_t before = previousCharacter(text, begin);
        if (before < done ||
            !unicode::isWhitespace(unicode::decode(text, before).codePoint))
          break;
        begin = before;
      }
    if (token.stripRight)
      while (end < text.size()) {
        unicode::Decoded d = unicode::decode(text, end);
        if (!unicode::isWhitespace(d.codePoint))
          break;
        end += d.length;
      }
    begin = std::max(begin, done);
    end = std::max(end, begin);
    if (done < begin)
      spans.push_back({done, begin, -1});
    spans.push_back({begin, end, token.id});
    done = end;
    // `pos` stays behind the match itself, as the reference's iterator does.
  }
  if (done < text.size())
    spans.push_back({done, text.size(), -1});
}
