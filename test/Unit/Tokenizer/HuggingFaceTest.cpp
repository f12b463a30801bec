//===- HuggingFaceTest.cpp - Tests of tokenizer.json ----------------------===//
//
// Small files with ids worked out by hand; python/tests/test_tokenizers.py
// compares real files with the reference implementation.
//
//===----------------------------------------------------------------------===//
#include "TestData.h"

#include <thread>

using namespace qc::rt;
using nlohmann::json;

namespace {

/// Byte-level BPE: "ab" and "Ġab" merge, <|end|> is special.
json byteLevel() {
  json j = json::parse(R"({"version": "1.0", "truncation": null,
    "normalizer": null, "post_processor": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {}, "merges": ["a b", "Ġ ab"]}})");
  json &vocab = j["model"]["vocab"];
  int next = 0;
  for (int b = 33; b < 127; ++b)
    vocab[std::string(1, static_cast<char>(b))] = next++; // 'a' = 64, 'b' = 65
  vocab["Ġ"] = 100;
  vocab["Ã"] = 101; // byte C3
  vocab["©"] = 102; // byte A9
  vocab["ab"] = 103;
  vocab["Ġab"] = 104;
  vocab["Ċ"] = 105;
  // The reference numbers added tokens from the number of entries on.
  for (int gap = next; gap < 100; ++gap)
    vocab["unused" + std::to_string(gap)] = gap;
  j["added_tokens"] = json::parse(R"([{"id": 106, "content": "<|end|>",
    "single_word": false, "lstrip": false, "rstrip": false,
    "normalized": false, "special": true}])");
  return j;
}

/// BPE on characters with byte fall-back, as Llama-2 files.
json byteFallback() {
  json j = json::parse(R"({"version": "1.0",
    "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null,
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "</s>", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                         "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2},
      "merges": [["▁", "a"], ["▁a", "b"]], "unk_token": "<unk>",
      "fuse_unk": true, "byte_fallback": true}})");
  json &vocab = j["model"]["vocab"];
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    vocab[name] = 3 + b;
  }
  int next = 259;
  for (const char *token : {"▁", "a", "b", "▁a", "▁ab"})
    vocab[token] = next++;
  j["added_tokens"] = json::array();
  for (int id = 0; id < 3; ++id)
    j["added_tokens"].push_back({{"id", id},
                                 {"content", id == 0   ? "<unk>"
                                             : id == 1 ? "<s>"
                                                       : "</s>"},
                                 {"special", true},
                                 {"normalized", false}});
  return j;
}

std::unique_ptr<Tokenizer> load(const json &j) {
  std::string error;
  auto t = Tokenizer::create(TokenizerKind::HuggingFaceJson, j.dump(), error);
  EXPECT_TRUE(t) << error;
  return t;
}

std::string loadError(const json &j) {
  return createError(TokenizerKind::HuggingFaceJson, j.dump());
}

} // namespace

using Ids = std::vector<int32_t>;

TEST(TokenizerJson, ByteLevel) {
  auto t = load(byteLevel());
  ASSERT_TRUE(t);
  EXPECT_EQ(t->vocabSize(), 107);
  EXPECT_EQ(t->encode("ab ab\xC3\xA9", true), (Ids{103, 104, 101, 102}));
  EXPECT_EQ(t->encode("ab<|end|>", true), (Ids{103, 106}));
  EXPECT_EQ(t->encode("a<|end|>", false),
            (Ids{64, 27, 91, 68, 77, 67, 91, 29}));
  EXPECT_EQ(t->encode("", true), Ids());
  EXPECT_EQ(t->decode(Ids{103, 104, 101, 102, 106}), "ab ab\xC3\xA9");
  EXPECT_EQ(t->decode(Ids{103, 106}, false), "ab<|end|>");
  EXPECT_EQ(t->decode(Ids{102, 64}), "\xEF\xBF\xBD"
                                     "a");
  EXPECT_EQ(t->tokenBytes(104), " ab");
  EXPECT_EQ(t->tokenBytes(101), "\xC3");
  EXPECT_EQ(t->idOf("<|end|>"), 106);
  EXPECT_EQ(t->idOf("Ġab"), 104);
  EXPECT_EQ(t->idOf("nope"), -1);
  EXPECT_TRUE(t->isSpecial(106));
  EXPECT_FALSE(t->isSpecial(103));
}

TEST(TokenizerJson, IdsOutOfRangeAddNothing) {
  auto t = load(byteLevel());
  ASSERT_TRUE(t);
  EXPECT_EQ(t->decode(Ids{-1, 103, 1000000, INT32_MIN, INT32_MAX}), "ab");
  EXPECT_EQ(t->tokenBytes(-1), "");
  EXPECT_EQ(t->tokenBytes(107), "");
  EXPECT_FALSE(t->isSpecial(-5));
  StreamDecoder stream(*t);
  EXPECT_EQ(stream.push(-7), "");
  EXPECT_EQ(stream.push(103), "ab");
}

TEST(TokenizerJson, ByteFallback) {
  auto t = load(byteFallback());
  ASSERT_TRUE(t);
  EXPECT_EQ(t->prefixIds(), Ids{1});
  EXPECT_EQ(t->suffixIds(), Ids{2});
  EXPECT_TRUE(t->addsBos());
  EXPECT_EQ(t->bosId(), 1);
  EXPECT_EQ(t->eosId(), 2);
  EXPECT_EQ(t->encode("ab ab", true), (Ids{263, 263}));
  EXPECT_EQ(t->encode("\xC3\xA9", true), (Ids{259, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(t->encode("a</s>b", true), (Ids{262, 2, 259, 261}));
  EXPECT_EQ(t->decode(Ids{263, 263}), "ab ab");
  EXPECT_EQ(t->decode(Ids{1, 259, 3 + 0xC3, 3 + 0xA9, 2}), "\xC3\xA9");
  // A run of bytes that is no text: one U+FFFD each.
  EXPECT_EQ(t->decode(Ids{3 + 0xC3, 3 + 0xC3}), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(t->tokenBytes(263), " ab");
  EXPECT_EQ(t->tokenBytes(3 + 0xC3), "\xC3");
}

TEST(TokenizerJson, Streams) {
  auto t = load(byteFallback());
  ASSERT_TRUE(t);
  StreamDecoder stream(*t);
  EXPECT_EQ(stream.push(1), "");
  EXPECT_EQ(stream.push(263), "ab"); // without the first space
  EXPECT_EQ(stream.push(263), " ab");
  EXPECT_EQ(stream.push(3 + 0xF0), "");
  EXPECT_EQ(stream.push(3 + 0x9F), "");
  EXPECT_EQ(stream.push(3 + 0x98), "");
  EXPECT_EQ(stream.push(3 + 0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(stream.push(3 + 0xE2), "");
  EXPECT_EQ(stream.push(260), "\xEF\xBF\xBD"
                              "a"); // was not continued
  EXPECT_EQ(stream.push(3 + 0xE2), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.push(263), "ab"); // ready for the next text
}

TEST(TokenizerJson, StreamsAnyDecoder) {
  // Strip at the end cannot be done token by token.
  json j = byteFallback();
  j["decoder"]["decoders"][3]["stop"] = 1;
  auto t = load(j);
  ASSERT_TRUE(t);
  StreamDecoder stream(*t);
  std::string text;
  Ids ids = {263, 3 + 0xC3, 3 + 0xA9, 259, 263, 259};
  for (int32_t id : ids)
    text += stream.push(id);
  text += stream.finish();
  EXPECT_EQ(t->decode(ids), "ab\xC3\xA9  ab");
  EXPECT_EQ(text.substr(0, 5), "ab\xC3\xA9 ");
}

TEST(TokenizerJson, AnyBytesAreSafe) {
  auto t = load(byteLevel());
  auto u = load(byteFallback());
  ASSERT_TRUE(t && u);
  EXPECT_EQ(u->encode(std::string_view("\0", 1), true), (Ids{259, 3}));
  EXPECT_EQ(u->encode("\xFF", true), (Ids{259, 3 + 0xEF, 3 + 0xBF, 3 + 0xBD}));
  uint32_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int k = 0; k < 40; ++k) {
      state = state * 1664525 + 1013904223;
      text += static_cast<char>(state >> 24);
    }
    for (const Tokenizer *x : {t.get(), u.get()}) {
      Ids ids = x->encode(text, i % 2);
      x->decode(ids);
      StreamDecoder stream(*x);
      std::string out;
      for (int32_t id : ids)
        out += stream.push(id);
      out += stream.finish();
      size_t bad = 0;
      EXPECT_TRUE(validUtf8(out, bad));
    }
  }
}

TEST(TokenizerJson, LongTexts) {
  auto t = load(byteFallback());
  ASSERT_TRUE(t);
  // One word of a megabyte, merged by priority.
  EXPECT_EQ(t->encode(std::string(1 << 20, 'a'), false).size(), 1u << 20);
  std::string many;
  for (int i = 0; i < 300000; ++i)
    many += "ab ";
  EXPECT_EQ(t->encode(many, false).size(), 300001u);
}

TEST(TokenizerJson, ThreadsShareATokenizer) {
  auto t = load(byteLevel());
  ASSERT_TRUE(t);
  std::vector<std::thread> threads;
  std::vector<Ids> results(4);
  for (Ids &r : results)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        r = t->encode("ab ab ab<|end|> ab\n", true);
    });
  for (std::thread &thread : threads)
    thread.join();
  for (const Ids &r : results)
    EXPECT_EQ(r, (Ids{103, 104, 104, 106, 104, 105}));
}

TEST(TokenizerJson, RefusesContradictions) {
  auto changed = [](auto change) {
    json j = byteLevel();
    change(j);
    return loadError(j);
  };
  EXPECT_EQ(changed([](json &j) { j["model"]["merges"] = {"a zz"}; }),
            "tokenizer.json: model.merges: entry 0 names token 'zz', which is "
            "not in model.vocab");
  EXPECT_EQ(
      changed([](json &j) { j["model"]["vocab"]["a"] = -4; }),
      "tokenizer.json: model.vocab: id of token 'a' is not a non-negative "
      "number");
  EXPECT_EQ(
      changed([](json &j) { j["model"]["vocab"]["a"] = 65; }),
      "tokenizer.json: model.vocab: tokens 'a' and 'b' have the same id 65");
  EXPECT_EQ(changed([](json &j) { j["added_tokens"][0]["id"] = 110; }),
            "tokenizer.json: added token '<|end|>' has id 110, expected 106");
  EXPECT_EQ(changed([](json &j) {
              j["normalizer"] = {{"type", "Nmt"}};
            }).substr(0, 51),
            "tokenizer.json: normalizer 'Nmt' is not supported (");
  EXPECT_EQ(changed([](json &j) { j["model"]["type"] = "Unigram"; }),
            "tokenizer.json: model 'Unigram' is not supported (BPE is)");
  for (auto change : std::vector<std::function<void(json &)>>{
           [](json &j) { j["model"]["vocab"]["a"] = 1ull << 40; },
           [](json &j) { j["model"]["vocab"]["a"] = 16000000; },
           [](json &j) { j["model"]["vocab"] = json::object(); },
           [](json &j) { j["model"]["vocab"] = 3; },
           [](json &j) { j["model"]["merges"] = {"a b c"}; },
           [](json &j) { j["model"]["merges"] = {{"a", "b", "c"}}; },
           [](json &j) { j["model"]["merges"] = json::parse("[[\"a\"]]"); },
           [](json &j) { j["model"]["merges"] = {1}; },
           [](json &j) { j["model"].erase("merges"); },
           [](json &j) { j["model"]["dropout"] = 0.1; },
           [](json &j) { j["model"]["byte_fallback"] = "yes"; },
           [](json &j) { j["model"]["unk_token"] = "nope"; },
           [](json &j) { j["model"]["continuing_subword_prefix"] = "##"; },
           [](json &j) { j["truncation"] = json::object(); },
           [](json &j) { j["pre_tokenizer"] = {{"type", "Whitespace"}}; },
           [](json &j) { j["decoder"] = {{"type", "WordPiece"}}; },
           [](json &j) { j["decoder"] = 1; },
           [](json &j) { j["post_processor"] = {{"type", "X"}}; },
           [](json &j) { j["added_tokens"] = 5; },
           [](json &j) { j["added_tokens"].push_back(7); },
           [](json &j) { j["added_tokens"].push_back(j["added_tokens"][0]); },
           [](json &j) { j["added_tokens"][0]["id"] = 1ull << 50; },
           [](json &j) {
             j["added_tokens"][0]["content"] = std::string(5000, 'x');
           }})
    EXPECT_EQ(changed(change).substr(0, 16), "tokenizer.json: ");
}

TEST(TokenizerJson, RefusesWhatIsNotJson) {
  std::string good = byteLevel().dump();
  auto error = [](std::string_view text) {
    return createError(TokenizerKind::HuggingFaceJson, text);
  };
  EXPECT_EQ(error("{\"a\" 1}"),
            "tokenizer.json: not valid JSON: expected ':' at byte 5 of 7");
  for (const char *text : {"",
                           "{",
                           "[",
                           "nul",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "[1,]",
                           "[01]",
                           "[1.]",
                           "[-]",
                           "[\"\\x\"]",
                           "[\"\\ud800\"]",
                           "[\"\\ud800\\u0041\"]",
                           "[\"\\udc00\"]",
                           "[\"\\u12\"]",
                           "[\"\n\"]",
                           "[\"\xff\"]",
                           "[\"a]",
                           "{} {}",
                           "{1:2}",
                           "[1 2]",
                           "[1e999]",
                           "5",
                           "[]"})
    EXPECT_EQ(error(text).substr(0, 16), "tokenizer.json: ") << text;
  // Truncated anywhere, and with bytes replaced.
  for (size_t size = 0; size < good.size(); size += 7)
    EXPECT_NE(error(good.substr(0, size)), "");
  uint32_t state = 3;
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    for (int k = 0; k < 3; ++k) {
      state = state * 1664525 + 1013904223;
      bad[(state >> 8) % bad.size()] = static_cast<char>(state >> 24);
    }
    std::string message;
    auto t = Tokenizer::create(TokenizerKind::HuggingFaceJson, bad, message);
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_EQ(t == nullptr, !message.empty());
    if (t)
      t->decode(t->encode("ab ab\xC3\xA9<|end|>", true));
  }
}

TEST(TokenizerJson, JsonEscapes) {
  json j = byteFallback();
  std::string text = j.dump();
  // The same file in ASCII with escapes, also of surrogates.
  std::string escaped = j.dump(-1, ' ', /*ensure_ascii=*/true);
  ASSERT_NE(text, escaped);
  std::string error;
  auto t = Tokenizer::create(TokenizerKind::HuggingFaceJson, escaped, error);
  ASSERT_TRUE(t) << error;
  EXPECT_EQ(t->encode("ab ab", true), (Ids{263, 263}));
}

TEST(TokenizerJson, SharedFiles) {
  std::string folder = sharedData();
  std::string bytes = readFile(folder + "/models/stories260K/tokenizer.json");
  if (bytes.empty())
    GTEST_SKIP() << "skipped: no shared data";
  std::string error;
  auto t = Tokenizer::create(TokenizerKind::HuggingFaceJson, bytes, error);
  ASSERT_TRUE(t) << error;
  // As sentencepiece encodes it (golden ids of the model, without BOS).
  Ids ids = t->encode("One day, a big dog", false);
  EXPECT_EQ(t->decode(ids), "One day, a big dog");
  auto sp = Tokenizer::create(
      TokenizerKind::SentencePiece,
      readFile(folder + "/models/stories260K/tokenizer.model"), error);
  ASSERT_TRUE(sp) << error;
  EXPECT_EQ(ids, sp->encode("One day, a big dog", false));
}
