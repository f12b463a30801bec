//===- SentencePieceTest.cpp - Tests of tokenizer.model -------------------===//
//
// Small models written here field by field, with ids worked out by hand;
// python/tests/test_tokenizers.py compares real files with the reference.
//
//===----------------------------------------------------------------------===//
#include "TestData.h"

#include <cstring>

using namespace qc::rt;

namespace {

std::string varint(uint64_t n) {
  std::string out;
  do {
    out += static_cast<char>((n & 0x7F) | (n > 0x7F ? 0x80 : 0));
    n >>= 7;
  } while (n);
  return out;
}

std::string bytesField(int field, const std::string &content) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) +
         varint(content.size()) + content;
}

std::string numberField(int field, uint64_t n) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(n);
}

std::string piece(const std::string &text, float score, uint64_t type = 1) {
  std::string number(4, '\0');
  std::memcpy(number.data(), &score, 4);
  return bytesField(1, bytesField(1, text) + varint(2 << 3 | 5) + number +
                           numberField(3, type));
}

enum { Normal = 1, Unknown, Control, User, Unused, Byte };

std::string basicPieces() {
  return piece("<unk>", 0, Unknown) + piece("<s>", 0, Control) +
         piece("</s>", 0, Control);
}

std::string trainer(uint64_t type, bool byteFallback = false) {
  return bytesField(2, numberField(3, type) + numberField(35, byteFallback));
}

std::string normalizer(bool dummyPrefix, bool removeExtra,
                       const std::string &charsMap = "") {
  return bytesField(3, (charsMap.empty() ? "" : bytesField(2, charsMap)) +
                           numberField(3, dummyPrefix) +
                           numberField(4, removeExtra));
}

/// 3 "▁", 4 "a", 5 "b", 6 "ab", 7 "▁ab", 8 "ba"
std::string bpeModel(bool dummyPrefix = true, bool removeExtra = false) {
  return basicPieces() + piece("▁", -4) + piece("a", -5) + piece("b", -6) +
         piece("ab", -1) + piece("▁ab", -2) + piece("ba", -1) + trainer(2) +
         normalizer(dummyPrefix, removeExtra);
}

std::unique_ptr<Tokenizer> load(const std::string &bytes) {
  std::string error;
  auto t = Tokenizer::create(TokenizerKind::SentencePiece, bytes, error);
  EXPECT_TRUE(t) << error;
  return t;
}

std::string loadError(const std::string &bytes) {
  return createError(TokenizerKind::SentencePiece, bytes);
}

} // namespace

using Ids = std::vector<int32_t>;

TEST(SentencePiece, Bpe) {
  auto t = load(bpeModel());
  ASSERT_TRUE(t);
  EXPECT_EQ(t->vocabSize(), 9);
  EXPECT_EQ(t->bosId(), 1);
  EXPECT_EQ(t->eosId(), 2);
  EXPECT_EQ(t->prefixIds(), Ids{1});
  EXPECT_EQ(t->encode("ab", false), Ids{7});
  EXPECT_EQ(t->encode("ab ab", false), (Ids{7, 7}));
  // Of two merges with the same score the left one.
  EXPECT_EQ(t->encode("bab", false), (Ids{3, 8, 5}));
  // A run of unknown characters is one token.
  EXPECT_EQ(t->encode("axyz", false), (Ids{3, 4, 0}));
  EXPECT_EQ(t->encode("", false), Ids());
  EXPECT_EQ(t->decode(Ids{1, 7, 7, 2}), "ab ab");
  EXPECT_EQ(t->decode(Ids{4, 0}), "a \xE2\x81\x87 ");
  EXPECT_EQ(t->decode(Ids{-1, 7, 99}), "ab");
  EXPECT_EQ(t->tokenBytes(7), " ab");
  EXPECT_EQ(t->idOf("▁ab"), 7);
  EXPECT_TRUE(t->isSpecial(1));
}

TEST(SentencePiece, ControlTokensInTheText) {
  auto t = load(bpeModel());
  ASSERT_TRUE(t);
  EXPECT_EQ(t->encode("<s>", false), (Ids{3, 0}));
  EXPECT_EQ(t->encode("ab</s>ab", true), (Ids{7, 2, 7}));
  EXPECT_EQ(t->encode("<s>ab</s> ab", true), (Ids{1, 7, 2, 7}));
  EXPECT_EQ(t->decode(Ids{7, 2}, false), "ab</s>");
}

TEST(SentencePiece, Spaces) {
  auto plain = load(bpeModel(false, false));
  EXPECT_EQ(plain->encode(" ab", false), Ids{7});
  EXPECT_EQ(plain->encode("ab", false), Ids{6});
  auto removing = load(bpeModel(true, true));
  EXPECT_EQ(removing->encode("  ab   ab  ", false), (Ids{7, 7}));
  EXPECT_EQ(removing->encode("   ", false), Ids());
  EXPECT_EQ(removing->decode(Ids{3, 3, 7}), "ab");
}

TEST(SentencePiece, ByteFallbackAndStreams) {
  std::string model = basicPieces();
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    model += piece(name, 0, Byte);
  }
  model += piece("▁", -1) + piece("a", -2) + trainer(2, true) +
           normalizer(true, false);
  auto t = load(model);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->encode("a\xC3\xA9", false), (Ids{259, 260, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(t->encode("\xFF", false), (Ids{259, 3 + 0xEF, 3 + 0xBF, 3 + 0xBD}));
  EXPECT_EQ(t->decode(Ids{259, 260, 3 + 0xC3, 3 + 0xA9}), "a\xC3\xA9");
  EXPECT_EQ(t->decode(Ids{3 + 0xC3, 260}), "\xEF\xBF\xBD"
                                           "a");
  StreamDecoder stream(*t);
  EXPECT_EQ(stream.push(259), "");
  EXPECT_EQ(stream.push(260), "a");
  EXPECT_EQ(stream.push(259), " ");
  EXPECT_EQ(stream.push(3 + 0xC3), "");
  EXPECT_EQ(stream.push(3 + 0xA9), "\xC3\xA9");
  EXPECT_EQ(stream.push(3 + 0xE2), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  // Long and arbitrary texts.
  EXPECT_EQ(t->encode(std::string(1 << 20, 'x'), false).size(), (1u << 20) + 1);
}

TEST(SentencePiece, UserDefinedAndUnused) {
  auto t = load(basicPieces() + piece("▁", -4) + piece("a", -5) +
                piece("b", -6) + piece("ab", -1, Unused) +
                piece("bb", 0, User) + trainer(2) + normalizer(false, false));
  ASSERT_TRUE(t);
  EXPECT_EQ(t->encode("ab", false), (Ids{4, 5}));
  EXPECT_EQ(t->encode("abbb", false), (Ids{4, 7, 5}));
}

TEST(SentencePiece, Unigram) {
  // 3 "a" -1, 4 "b" -1, 5 "ab" -1.5, 6 "abb" -9, 7 user "xx"
  auto t = load(basicPieces() + piece("a", -1) + piece("b", -1) +
                piece("ab", -1.5) + piece("abb", -9) + piece("xx", 0, User) +
                trainer(1) + normalizer(false, false));
  ASSERT_TRUE(t);
  EXPECT_EQ(t->encode("ab", false), Ids{5});
  EXPECT_EQ(t->encode("abb", false), (Ids{5, 4}));
  EXPECT_EQ(t->encode("axxb", false), (Ids{3, 7, 4}));
  EXPECT_EQ(t->encode("a?!b", false), (Ids{3, 0, 4}));
}

TEST(SentencePiece, CharsMap) {
  // A double array with the rule "A" -> "a" (darts-clone's units): the root's
  // offset leads to unit 'A' ^ 256, that one's offset to a value.
  std::vector<uint32_t> units(512, 0);
  auto offset = [](uint32_t n) { return n << 10; };
  units[0] = offset(256);
  uint32_t node = 256 ^ 'A';
  units[node] = offset(node ^ 300) | 1u << 8 | 'A';
  units[300] = 0x80000000u | 1; // text at offset 1
  std::string map(4 + units.size() * 4, '\0');
  uint32_t size = static_cast<uint32_t>(units.size() * 4);
  std::memcpy(map.data(), &size, 4);
  std::memcpy(map.data() + 4, units.data(), size);
  std::string model = basicPieces() + piece("a", -1) + trainer(1);
  auto t =
      load(model + normalizer(false, false, map + std::string("\0a\0", 3)));
  ASSERT_TRUE(t);
  EXPECT_EQ(t->encode("Aa", false), (Ids{3, 3}));
  // Without an end, or with a trie that is larger than the field.
  EXPECT_NE(loadError(model + normalizer(false, false, map + "a")), "");
  EXPECT_NE(loadError(model + normalizer(false, false, map.substr(0, 100))),
            "");
  EXPECT_NE(loadError(model + normalizer(false, false, "x")), "");
  // Any units are safe.
  uint32_t state = 7;
  for (int i = 0; i < 300; ++i) {
    std::string wild = map;
    for (size_t k = 4; k < wild.size(); ++k) {
      state = state * 1664525 + 1013904223;
      wild[k] = static_cast<char>(state >> 24);
    }
    auto w =
        load(model + normalizer(false, i % 2, wild + std::string("\0a\0", 3)));
    ASSERT_TRUE(w);
    w->encode("Aa \xC3\xA9\xFF\xF0\x9F", true);
  }
}

TEST(SentencePiece, RefusesContradictions) {
  EXPECT_EQ(loadError(""),
            "tokenizer.model: no pieces (not a SentencePiece model?)");
  EXPECT_EQ(loadError(piece("a", 0) + trainer(2)),
            "tokenizer.model: no piece of type unknown");
  EXPECT_EQ(
      loadError(basicPieces() + piece("a", 0) + piece("a", 0) + trainer(2)),
      "tokenizer.model: piece 'a' appears twice");
  EXPECT_EQ(
      loadError(basicPieces() + trainer(3)),
      "tokenizer.model: model type 3 is not supported (1, unigram, and 2, "
      "BPE, are)");
  for (const std::string &bytes :
       {basicPieces() + piece("", 0), basicPieces() + piece("\xFF", 0),
        basicPieces() + piece("a", 0, 9), basicPieces() + piece("a", NAN),
        basicPieces() + piece("<unk2>", 0, Unknown),
        basicPieces() + piece("<0x41>", 0, Byte),
        basicPieces() + piece("<0x41>", 0, Byte) + trainer(2, true),
        basicPieces() + bytesField(5, bytesField(2, "map")),
        std::string("this is no protocol buffer"),
        std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")})
    EXPECT_EQ(loadError(bytes).substr(0, 17), "tokenizer.model: ") << bytes;
}

TEST(SentencePiece, AnyBytesAreSafe) {
  std::string good = bpeModel();
  for (size_t size = 0; size < good.size(); ++size) {
    std::string error;
    Tokenizer::create(TokenizerKind::SentencePiece, good.substr(0, size),
                      error);
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
  uint32_t state = 5;
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (int k = 0; k < 3; ++k) {
      state = state * 1664525 + 1013904223;
      bad[(state >> 8) % bad.size()] = static_cast<char>(state >> 24);
    }
    std::string error;
    auto t = Tokenizer::create(TokenizerKind::SentencePiece, bad, error);
    EXPECT_EQ(t == nullptr, !error.empty());
    if (t)
      t->decode(t->encode("abba <s>\xFF\xC3\xA9  ab", i % 2));
  }
}
