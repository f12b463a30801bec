//===- TokenizerFilesTest.cpp - The tokenizer's files of a folder ---------===//
#include "TestFiles.h"

#include "qc/Frontend/TokenizerFiles.h"

using namespace qc;
using namespace qc::test;

static const std::string stories = QC_SOURCE_DIR "/examples/stories260K/";

namespace {
class TokenizerFiles : public testing::Test {
protected:
  void SetUp() override {
    config.vocab = 512;
    config.bosId = 1;
    config.eosIds = {2};
  }
  void copy(const char *name) { dir.write(name, test::read(stories + name)); }
  TokenizerInfo get() {
    auto info = readTokenizer(dir.path, config, warnings);
    if (!info) {
      ADD_FAILURE() << llvm::toString(info.takeError());
      return {};
    }
    EXPECT_TRUE(info->has_value());
    return info->value_or(TokenizerInfo());
  }
  std::string error() {
    return errorOf(readTokenizer(dir.path, config, warnings));
  }

  TempDir dir;
  ModelConfig config;
  std::vector<std::string> warnings;
};
} // namespace

TEST_F(TokenizerFiles, None) {
  auto info = readTokenizer(dir.path, config, warnings);
  ASSERT_TRUE(bool(info));
  EXPECT_FALSE(info->has_value());
}

TEST_F(TokenizerFiles, JsonBeforeModel) {
  copy("tokenizer.json");
  copy("tokenizer.model");
  copy("tokenizer_config.json");
  TokenizerInfo info = get();
  EXPECT_EQ(info.kind, "tokenizer.json");
  EXPECT_EQ(info.file, dir.file("tokenizer.json"));
  EXPECT_TRUE(info.addBos);
  EXPECT_EQ(info.bosId, 1);
  EXPECT_EQ(info.bosToken, "<s>");
  EXPECT_EQ(info.eosToken, "</s>");
  EXPECT_EQ(info.eosIds, (std::vector<int64_t>{2}));
  EXPECT_EQ(info.chatTemplate, "");
  EXPECT_TRUE(warnings.empty());
}

TEST_F(TokenizerFiles, SentencePieceAlone) {
  copy("tokenizer.model");
  config.bosId = std::nullopt;
  config.eosIds.clear();
  TokenizerInfo info = get();
  EXPECT_EQ(info.kind, "sentencepiece");
  EXPECT_TRUE(info.addBos); // LlamaTokenizer's default
  EXPECT_EQ(info.bosId, 1); // from the file itself
  EXPECT_EQ(info.eosIds, (std::vector<int64_t>{2}));
}

TEST_F(TokenizerFiles, AddBosIsWhatTheConfigSays) {
  copy("tokenizer.json");
  EXPECT_TRUE(get().addBos); // its post-processor
  dir.write("tokenizer_config.json", R"({"add_bos_token": false})");
  EXPECT_FALSE(get().addBos);
}

TEST_F(TokenizerFiles, TokensAsObjectsAndTemplates) {
  copy("tokenizer.json");
  dir.write("tokenizer_config.json",
            R"({"bos_token": {"content": "<s>", "special": true},
                "eos_token": null, "chat_template": "{{ messages }}"})");
  TokenizerInfo info = get();
  EXPECT_EQ(info.bosToken, "<s>");
  EXPECT_EQ(info.eosToken, "");
  EXPECT_EQ(info.chatTemplate, "{{ messages }}");
  dir.write("tokenizer_config.json",
            R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                  {"name": "default", "template": "d"}]})");
  EXPECT_EQ(get().chatTemplate, "d");
  dir.write("chat_template.jinja", "from a file\n");
  EXPECT_EQ(get().chatTemplate, "from a file\n");
}

TEST_F(TokenizerFiles, BrokenTemplates) {
  copy("tokenizer.json");
  dir.write("tokenizer_config.json", R"({"chat_template": "{% for %}"})");
  get();
  ASSERT_EQ(warnings.size(), 1u);
  std::string start = dir.file("tokenizer_config.json") + ": chat template: ";
  EXPECT_EQ(warnings[0].substr(0, start.size() + 8), start + "line 1: ");
  // Only what is used.
  dir.write("chat_template.jinja", "{{ messages }}");
  warnings.clear();
  get();
  EXPECT_TRUE(warnings.empty());
  dir.write("chat_template.jinja", "{{ messages }}\n{% if %}");
  get();
  ASSERT_EQ(warnings.size(), 1u);
  start = dir.file("chat_template.jinja") + ": chat template: line 2: ";
  EXPECT_EQ(warnings[0].substr(0, start.size()), start);
}

TEST_F(TokenizerFiles, EosOfTheTokenizerIsAdded) {
  copy("tokenizer.json");
  dir.write("tokenizer_config.json", R"({"eos_token": "<unk>"})");
  EXPECT_EQ(get().eosIds, (std::vector<int64_t>{2, 0}));
}

TEST_F(TokenizerFiles, SpecialTokensMap) {
  copy("tokenizer.json");
  dir.write("special_tokens_map.json", R"({"bos_token": "<unk>"})");
  TokenizerInfo info = get();
  EXPECT_EQ(info.bosToken, "<unk>");
  EXPECT_EQ(info.bosId, 0); // before bos_token_id of config.json
}

TEST_F(TokenizerFiles, MoreTokensThanTheModel) {
  copy("tokenizer.json");
  config.vocab = 500;
  get();
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("512 tokens, but vocab_size of the model is 500"),
            std::string::npos);
}

TEST_F(TokenizerFiles, BadFiles) {
  dir.write("tokenizer.json", "{");
  expectError(error(), "tokenizer.json: ");
  dir.write("tokenizer.json", "{}");
  std::string message = error();
  expectError(message, "tokenizer.json: ");
  EXPECT_EQ(message.find("tokenizer.json"), message.rfind("tokenizer.json"))
      << message;
  copy("tokenizer.json");
  dir.write("tokenizer_config.json", "[]");
  expectError(error(), "tokenizer_config.json: is [], expected an object");
  dir.write("tokenizer_config.json", R"({"bos_token": 5})");
  expectError(error(), "bos_token is 5, expected a string");
  dir.write("tokenizer_config.json", R"({"add_bos_token": "yes"})");
  expectError(error(), "add_bos_token is \"yes\", expected true or false");
  dir.write("tokenizer_config.json", R"({"chat_template": [{"name": "x"}]})");
  expectError(error(), "expected a string or a list with a template named");
  dir.write("tokenizer_config.json", "{}");
  dir.write("chat_template.jinja", "\xff");
  expectError(error(), "chat_template.jinja: not UTF-8");
  dir.write("chat_template.jinja", std::string((1 << 20) + 1, ' '));
  expectError(error(), "chat_template.jinja: 1048577 bytes, expected at most");
}

TEST_F(TokenizerFiles, CutSentencePiece) {
  dir.write("tokenizer.model",
            test::read(stories + "tokenizer.model").substr(0, 1000));
  expectError(error(), "tokenizer.model: ");
}
