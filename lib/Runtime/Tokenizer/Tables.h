//===- Tables.h - Hash tables of the tokenizers -----------------*- C++ -*-===//
//
// Open addressing with linear probing, only insertion and look-up. Faster to
// fill than the standard containers, which matters for a 128k vocabulary that
// is read at every start of the user's program.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_TABLES_H
#define QC_LIB_RUNTIME_TOKENIZER_TABLES_H

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace qc::rt {

inline uint64_t mixHash(uint64_t h) {
  h ^= h >> 32;
  h *= 0x9E3779B97F4A7C15ull;
  return h ^ h >> 29;
}

inline uint64_t hashBytes(std::string_view s) {
  uint64_t h = s.size() * 0x9E3779B97F4A7C15ull;
  const char *p = s.data();
  size_t n = s.size();
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = mixHash(h ^ word) * 0xD6E8FEB86659FD93ull;
  }
  uint64_t word = 0;
  std::memcpy(&word, p, n);
  return mixHash(h ^ word);
}

/// Strings owned by somebody else -> int32. Short strings are also kept in the
/// table, so that most look-ups touch one cache line.
class StringMap {
public:
  void reserve(size_t count) {
    if (count * 2 > slots.size())
      grow(std::bit_ceil(count * 2));
  }

  /// -1 if absent.
  int32_t find(std::string_view key) const { return find(key, hashBytes(key)); }

  int32_t find(std::string_view key, uint64_t hash) const {
    if (slots.empty())
      return -1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      if (slots[i].size == Free)
        return -1;
      if (slots[i].equals(key, hash))
        return slots[i].value;
    }
  }

  void prefetch(uint64_t hash) const {
    if (!slots.empty())
      __builtin_prefetch(&slots[hash & mask]);
  }

  /// False if the key is there already (and keeps its value).
  bool insert(std::string_view key, int32_t value) {
    if ((count + 1) * 2 > slots.size())
      grow(slots.empty() ? 64 : slots.size() * 2);
    uint64_t hash = hashBytes(key);
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      Slot &slot = slots[i];
      if (slot.size == Free) {
        slot.size = static_cast<uint32_t>(key.size());
        slot.hash = static_cast<uint32_t>(hash >> 32);
        slot.value = value;
        if (key.size() <= sizeof slot.text)
          std::memcpy(slot.text, key.data(), key.size());
        else
          slot.key = key.data();
        ++count;
        return true;
      }
      if (slot.equals(key, hash))
        return false;
    }
  }

  size_t size() const { return count; }

private:
  static constexpr uint32_t Free = ~uint32_t(0);
  struct Slot {
    union {
      char text[20];
      const char *key;
    };
    uint32_t size, hash;
    int32_t value;

    Slot() : key(nullptr), size(Free), hash(0), value(-1) {}
    const char *data() const { return size <= sizeof text ? text : key; }
    bool equals(std::string_view other, uint64_t otherHash) const {
      return hash == static_cast<uint32_t>(otherHash >> 32) &&
             size == other.size() &&
             std::memcmp(data(), other.data(), size) == 0;
    }
  };

  void grow(size_t capacity) {
    std::vector<Slot> old(capacity);
    old.swap(slots);
    mask = capacity - 1;
    for (const Slot &slot : old) {
      if (slot.size == Free)
        continue;
      size_t i = hashBytes({slot.data(), slot.size}) & mask;
      while (slots[i].size != Free)
        i = (i + 1) & mask;
      slots[i] = slot;
    }
  }

  std::vector<Slot> slots;
  size_t mask = 0, count = 0;
};

/// Pairs of numbers below 2^32 - 1 -> uint64.
class PairMap {
public:
  static uint64_t key(uint32_t a, uint32_t b) {
    return static_cast<uint64_t>(a) << 32 | b;
  }

  void reserve(size_t count) {
    if (count * 3 / 2 > slots.size())
      grow(std::bit_ceil(count * 3 / 2));
  }

  void prefetch(uint64_t key) const {
    if (!slots.empty())
      __builtin_prefetch(&slots[mixHash(key) & mask]);
  }

  const uint64_t *find(uint64_t key) const {
    if (slots.empty())
      return nullptr;
    for (size_t i = mixHash(key) & mask;; i = (i + 1) & mask) {
      if (slots[i].key == key)
        return &slots[i].value;
      if (slots[i].key == Empty)
        return nullptr;
    }
  }

  /// The value for `key`, which is `value` if the key was absent.
  uint64_t &insert(uint64_t key, uint64_t value) {
    if ((count + 1) * 3 / 2 > slots.size())
      grow(slots.empty() ? 64 : slots.size() * 2);
    size_t i = mixHash(key) & mask;
    for (; slots[i].key != Empty; i = (i + 1) & mask)
      if (slots[i].key == key)
        return slots[i].value;
    slots[i] = {key, value};
    ++count;
    return slots[i].value;
  }

private:
  static constexpr uint64_t Empty = ~uint64_t(0);
  struct Slot {
    uint64_t key = Empty, value = 0;
  };

  void grow(size_t capacity) {
    std::vector<Slot> old(capacity);
    old.swap(slots);
    mask = capacity - 1;
    for (const Slot &slot : old) {
      if (slot.key == Empty)
        continue;
      size_t i = mixHash(slot.key) & mask;
      while (slots[i].key != Empty)
        i = (i + 1) & mask;
      slots[i] = slot;
    }
  }

  std::vector<Slot> slots;
  size_t mask = 0, count = 0;
};

/// Byte trie: strings -> non-negative int32.
class Trie {
public:
  Trie() : values(1, -1) {}

  bool empty() const { return values.size() == 1; }

  /// Keeps the first value of a key; `key` is not empty.
  void insert(std::string_view key, int32_t value) {
    uint32_t node = 0;
    for (char c : key) {
      uint64_t next = children.insert(
          PairMap::key(node, static_cast<uint8_t>(c)), values.size());
      if (next == values.size())
        values.push_back(-1);
      node = static_cast<uint32_t>(next);
    }
    firstBytes[static_cast<uint8_t>(key[0])] = true;
    if (values[node] < 0)
      values[node] = value;
  }

  /// Can a key start with this byte?
  bool startsWith(char c) const { return firstBytes[static_cast<uint8_t>(c)]; }

  /// Child of `node` (0 is the root), false if there is none.
  bool step(uint32_t &node, char c) const {
    const uint64_t *next =
        children.find(PairMap::key(node, static_cast<uint8_t>(c)));
    if (!next)
      return false;
    node = static_cast<uint32_t>(*next);
    return true;
  }

  /// -1 if no key ends here.
  int32_t value(uint32_t node) const { return values[node]; }

  /// Longest key that `text` starts with: its length (0 if none) and value.
  size_t longestPrefix(std::string_view text, int32_t &found) const {
    uint32_t node = 0;
    size_t length = 0;
    if (text.empty() || !startsWith(text[0]))
      return 0;
    for (size_t i = 0; i < text.size() && step(node, text[i]); ++i)
      if (values[node] >= 0) {
        length = i + 1;
        found = values[node];
      }
    return length;
  }

private:
  PairMap children;
  std::vector<int32_t> values;
  bool firstBytes[256] = {};
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_TABLES_H
