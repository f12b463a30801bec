//===- Bpe.cpp - Byte pair encoding of one word ---------------------------===//
#include "Bpe.h"

#include "Unicode.h"

#include <algorithm>
#include <cstdio>

using namespace qc::rt;

ByteAlphabet::ByteAlphabet() {
  toByte.fill(-1);
  uint16_t next = 256;
  for (uint16_t b = 0; b < 256; ++b) {
    bool printable =
        (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    toChar[b] = printable ? b : next++;
    toByte[toChar[b]] = static_cast<int16_t>(b);
  }
}

const ByteAlphabet &ByteAlphabet::get() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

bool ByteAlphabet::decode(std::string_view token, std::string &bytes) const {
  bytes.clear();
  for (size_t pos = 0; pos < token.size();) {
    unicode::Decoded d = unicode::decode(token, pos);
    pos += d.length;
    if (d.codePoint >= toByte.size() || toByte[d.codePoint] < 0)
      return false;
    bytes += static_cast<char>(toByte[d.codePoint]);
  }
  return true;
}

std::string ByteAlphabet::encode(std::string_view bytes) const {
  std::string token;
  for (char c : bytes)
    unicode::append(token, toChar[static_cast<uint8_t>(c)]);
  return token;
}

bool Bpe::build(
    const StringMap &tokens,
    const std::vector<std::pair<std::string_view, std::string_view>> &mergeList,
    const Options &opts, std::string &error) {
  options = opts;
  vocabulary = &tokens;
  for (unsigned b = 0; b < 256; ++b) {
    char spelling[8];
    std::snprintf(spelling, sizeof spelling, "<0x%02X>", b);
    byteFallbackIds[b] = tokens.find(spelling);
    char byte = static_cast<char>(b);
    byteIds[b] = tokens.find(ByteAlphabet::get().encode({&byte, 1}));
  }

  // The table is larger than the caches: look-ups of a block are started
  // together. Load time is dominated by them.
  constexpr size_t Block = 32;
  struct Entry {
    uint64_t left, right, both;
    std::string text;
    uint64_t key, value;
  };
  std::array<Entry, Block> block;
  merges.reserve(mergeList.size());
  for (size_t begin = 0; begin < mergeList.size(); begin += Block) {
    size_t size = std::min(Block, mergeList.size() - begin);
    for (size_t i = 0; i < size; ++i) {
      auto [a, b] = mergeList[begin + i];
      Entry &e = block[i];
      e.text.assign(a);
      e.text.append(b);
      tokens.prefetch(e.left = hashBytes(a));
      tokens.prefetch(e.right = hashBytes(b));
      tokens.prefetch(e.both = hashBytes(e.text));
    }
    for (size_t i = 0; i < size; ++i) {
      auto [a, b] = mergeList[begin + i];
      Entry &e = block[i];
      int32_t left = tokens.find(a, e.left), right = tokens.find(b, e.right);
      int32_t both = tokens.find(e.text, e.both);
      if (left < 0 || right < 0 || both < 0) {
        std::string_view absent = left < 0 ? a : right < 0 ? b : e.text;
        error = "model.merges: entry " + std::to_string(begin + i) +
                " names token '" + std::string(absent) +
                "', which is not in model.vocab";
        return false;
      }
      e.key = PairMap::key(static_cast<uint32_t>(left),
                           static_cast<uint32_t>(right));
      e.value =
          static_cast<uint64_t>(begin + i) << 32 | static_cast<uint32_t>(both);
      merges.prefetch(e.key);
    }
    // As in the reference, the last of two equal merges counts.
    for (size_t i = 0; i < size; ++i)
      merges.insert(block[i].key, block[i].value) = block[i].value;
  }
  return true;
}

void Bpe::mergeWord(std::string_view word, Session &session) const {
  auto &symbols = session.symbols;
  auto &queue = session.queue;
  symbols.clear();
  queue.clear();
  auto add = [&](int32_t id) {
    int32_t index = static_cast<int32_t>(symbols.size());
    if (index)
      symbols.back().next = index;
    symbols.push_back({id, index - 1, -1, true});
  };
  int32_t pendingUnk = -1;
  auto addUnknown = [&](std::string_view bytes) {
    if (options.byteFallback) {
      bool all = true;
      for (char c : bytes)
        all &= byteFallbackIds[static_cast<uint8_t>(c)] >= 0;
      if (all) {
        for (char c : bytes)
          add(byteFallbackIds[static_cast<uint8_t>(c)]);
        return;
      }
    }
    if (options.unk < 0)
      return; // the reference drops the character
    if (pendingUnk >= 0 && !options.fuseUnk)
      add(pendingUnk);
    pendingUnk = options.unk;
  };
  auto addKnown = [&](int32_t id) {
    if (pendingUnk >= 0)
      add(pendingUnk);
    pendingUnk = -1;
    add(id);
  };
  if (options.byteMode) {
    for (char c : word) {
      uint8_t b = static_cast<uint8_t>(c);
      if (byteIds[b] >= 0) {
        addKnown(byteIds[b]);
        continue;
      }
      std::string printable;
      unicode::append(printable, ByteAlphabet::get().toChar[b]);
      addUnknown(printable);
    }
  } else {
    for (size_t pos = 0; pos < word.size();) {
      size_t length = unicode::decode(word, pos).length;
      std::string_view c = word.substr(pos, length);
      pos += length;
      int32_t id = vocabulary->find(c);
      if (id >= 0)
        addKnown(id);
      else
        addUnknown(c);
    }
  }
  if (pendingUnk >= 0)
    add(pendingUnk);

  // Lowest rank first, then leftmost.
  auto later = [](const Session::Merge &a, const Session::Merge &b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  auto find = [&](int32_t left) -> const uint64_t * {
    const Session::Symbol &s = symbols[static_cast<size_t>(left)];
    return merges.find(PairMap::key(
        static_cast<uint32_t>(s.id),
        static_cast<uint32_t>(symbols[static_cast<size_t>(s.next)].id)));
  };
  auto makeMerge = [](uint64_t value, int32_t position) {
    return Session::Merge{static_cast<uint32_t>(value >> 32),
                          static_cast<uint32_t>(position),
                          static_cast<int32_t>(value & 0xFFFFFFFF)};
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    if (const uint64_t *value = find(static_cast<int32_t>(i)))
      queue.push_back(makeMerge(*value, static_cast<int32_t>(i)));
  std::make_heap(queue.begin(), queue.end(), later);
  auto push = [&](int32_t position) {
    if (const uint64_t *value = find(position)) {
      queue.push_back(makeMerge(*value, position));
      std::push_heap(queue.begin(), queue.end(), later);
    }
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), later);
    Session::Merge top = queue.back();
    queue.pop_back();
    Session::Symbol &left = symbols[top.position];
    if (!left.alive || left.next < 0)
      continue;
    // An entry is stale if its neighbours have been merged with others.
    const uint64_t *value = find(static_cast<int32_t>(top.position));
    if (!value || static_cast<int32_t>(*value & 0xFFFFFFFF) != top.id)
      continue;
    Session::Symbol &right = symbols[static_cast<size_t>(left.next)];
    left.id = top.id;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0)
      symbols[static_cast<size_t>(left.next)].previous =
          static_cast<int32_t>(top.position);
    if (left.previous >= 0)
      push(left.previous);
    if (left.next >= 0)
      push(static_cast<int32_t>(top.position));
  }
}

void Bpe::encode(std::string_view word, Session &session,
                 std::vector<int32_t> &ids) const {
  constexpr size_t MaxCachedWord = 64, MaxCachedWords = 1 << 16;
  if (word.empty())
    return;
  bool cacheable = word.size() <= MaxCachedWord;
  if (cacheable) {
    int32_t hit = session.cache.find(word);
    if (hit >= 0) {
      auto [begin, end] = session.cached[static_cast<size_t>(hit)];
      ids.insert(ids.end(), session.cachedIds.begin() + begin,
                 session.cachedIds.begin() + end);
      return;
    }
  }
  size_t first = ids.size();
  int32_t whole = -1;
  if (options.ignoreMerges)
    whole = vocabulary->find(options.byteMode ? ByteAlphabet::get().encode(word)
                                              : std::string(word));
  if (whole >= 0) {
    ids.push_back(whole);
  } else {
    mergeWord(word, session);
    for (const Session::Symbol &s : session.symbols)
      if (s.alive)
        ids.push_back(s.id);
  }
  if (!cacheable || session.cached.size() >= MaxCachedWords)
    return;
  session.words.emplace_back(word);
  session.cache.insert(session.words.back(),
                       static_cast<int32_t>(session.cached.size()));
  uint32_t begin = static_cast<uint32_t>(session.cachedIds.size());
  session.cachedIds.insert(session.cachedIds.end(),
                           ids.begin() + static_cast<ptrdiff_t>(first),
                           ids.end());
  session.cached.push_back(
      {begin, static_cast<uint32_t>(session.cachedIds.size())});
}
