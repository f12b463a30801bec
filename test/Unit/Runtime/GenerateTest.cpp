//===- GenerateTest.cpp - What the toy executable computes ----------------===//
#include "TestProgram.h"
#include "qc/Runtime/Tokenizer/Tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

using namespace qc::rt;

namespace {

class GenerateTest : public ProgramTest {
protected:
  const std::vector<float> w = fake::weights();

  std::vector<int32_t> greedy(std::vector<int32_t> ids, int64_t count) {
    std::vector<int32_t> result;
    for (int64_t i = 0; i < count; ++i) {
      std::vector<float> row =
          fake::logits(w, ids, static_cast<int64_t>(ids.size()) - 1);
      auto id = static_cast<int32_t>(std::max_element(row.begin(), row.end()) -
                                     row.begin());
      ids.push_back(id);
      result.push_back(id);
    }
    return result;
  }
  static std::string join(const std::vector<int32_t> &ids) {
    std::string text;
    for (int32_t id : ids)
      text += (text.empty() ? "" : " ") + std::to_string(id);
    return text;
  }
  /// 75 ids: three chunks of the prefill, the last not full.
  static std::vector<int32_t> someIds() {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 75; ++i)
      ids.push_back((i * 37 + 11) % 512);
    return ids;
  }
  static std::unique_ptr<Tokenizer> tokenizer() {
    std::string error;
    return Tokenizer::create(
        TokenizerKind::SentencePiece,
        readFile(QC_SOURCE_DIR "/examples/stories260K/tokenizer.model"), error);
  }
  double nll(const std::vector<int32_t> &ids, size_t target) {
    std::vector<float> row =
        fake::logits(w, ids, static_cast<int64_t>(target) - 1);
    double sum = 0;
    for (float v : row)
      sum += std::exp(static_cast<double>(v));
    return std::log(sum) - row[static_cast<size_t>(ids[target])];
  }
};

TEST_F(GenerateTest, IdsWithAnyNumberOfThreads) {
  std::string file = dir.write("ids", join(someIds()));
  std::string expected = join(greedy(someIds(), 20)) + "\n";
  for (const char *threads : {"1", "2", "3", "8"}) {
    RunResult result =
        story({"--generate-ids", file, "--tokens", "20", "--temperature", "0",
               "--ignore-eos", "--threads", threads});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.out, expected);
  }
  for (const char *option :
       {"--no-mmap", "--no-huge-pages", "--pin", "--fixed-threads"})
    EXPECT_EQ(story({"--generate-ids", file, "--tokens=20", "--temperature=0",
                     "--ignore-eos", option})
                  .out,
              expected);
}

TEST_F(GenerateTest, IdsFillTheContext) {
  std::string file = dir.write("ids", "5 6 7");
  RunResult result = story({"--generate-ids", file, "--temperature", "0",
                            "--ignore-eos", "--context", "10"});
  // The last one needs no place.
  EXPECT_EQ(result.out, join(greedy({5, 6, 7}, 8)) + "\n");
}

TEST_F(GenerateTest, PromptFillsTheContext) {
  std::vector<int32_t> ids = tokenizer()->encode("Once upon a time", false);
  std::vector<std::string> command = {"--prompt",      "Once upon a time",
                                      "--temperature", "0",
                                      "--ignore-eos",  "--context"};
  // And one for the beginning of the text.
  command.push_back(std::to_string(ids.size() + 1));
  RunResult result = story(command);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err.substr(0, 9), "1 tokens,") << result.err;
  command.back() = std::to_string(ids.size());
  expectError(command, 3,
              "the prompt has " + std::to_string(ids.size() + 1) +
                  " tokens but the context holds " +
                  std::to_string(ids.size()) + ": ");
}

TEST_F(GenerateTest, Logits) {
  std::vector<int32_t> ids = someIds();
  std::string file = dir.write("ids", join(ids));
  std::string bytes[2];
  for (int i = 0; i < 2; ++i) {
    std::vector<std::string> command = {"--logits", file, "--output",
                                        dir.file("o.npy")};
    if (i)
      command.push_back("--token-by-token");
    ASSERT_EQ(story(command).code, 0);
    bytes[i] = readFile(dir.file("o.npy"));
  }
  EXPECT_EQ(bytes[0], bytes[1]) << "prefill and decode agree";
  EXPECT_EQ(bytes[0].substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  size_t header =
      10 + static_cast<unsigned char>(bytes[0][8]) +
      256 * static_cast<size_t>(static_cast<unsigned char>(bytes[0][9]));
  EXPECT_EQ(header % 64, 0u);
  EXPECT_EQ(bytes[0][header - 1], '\n');
  EXPECT_NE(bytes[0].find("'shape': (75, 512)"), std::string::npos);
  ASSERT_EQ(bytes[0].size(), header + 75 * 512 * 4);
  for (size_t i = 0; i < ids.size(); ++i) {
    std::vector<float> row = fake::logits(w, ids, static_cast<int64_t>(i));
    EXPECT_EQ(std::memcmp(bytes[0].data() + header + i * 512 * 4, row.data(),
                          512 * 4),
              0)
        << "row " << i;
  }
}

TEST_F(GenerateTest, TextContinuesThePrompt) {
  auto tok = tokenizer();
  ASSERT_TRUE(tok);
  std::vector<int32_t> ids = tok->encode("Once upon a time", false);
  ids.insert(ids.begin(), 1);
  std::vector<int32_t> all = ids;
  for (int32_t id : greedy(ids, 12))
    all.push_back(id);
  // Decoding all together is the reference for the text after the prompt.
  std::string whole = tok->decode(all), prompt = tok->decode(ids);
  ASSERT_EQ(whole.substr(0, prompt.size()), prompt);
  std::vector<std::string> command = {
      "--prompt", "Once upon a time", "--tokens", "12", "--temperature",
      "0",        "--ignore-eos"};
  RunResult result = story(command);
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, whole + "\n");
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
  EXPECT_EQ(result.err.substr(0, 10), "12 tokens,");
  command.push_back("--quiet");
  result = story(command);
  EXPECT_EQ(result.out, whole.substr(prompt.size()) + "\n");
  EXPECT_EQ(result.err, "");
  // The same prompt by two other ways; the final newline is not part of it.
  std::string file = dir.write("p", "Once upon a time\n");
  EXPECT_EQ(story({"--prompt-file", file, "--tokens=12", "--temperature=0",
                   "--ignore-eos", "--quiet"})
                .out,
            result.out);
  EXPECT_EQ(story({"--tokens=12", "--temperature=0", "--ignore-eos", "--quiet"},
                  {.input = "Once upon a time\n"})
                .out,
            result.out);
}

TEST_F(GenerateTest, StopTexts) {
  std::vector<std::string> command = {
      "--prompt", "Once",          "--tokens", "40",
      "--quiet",  "--temperature", "0",        "--ignore-eos"};
  std::string full = story(command).out;
  ASSERT_GT(full.size(), 20u);
  // A text from the middle, which may span tokens.
  std::string stop = full.substr(10, 4);
  command.insert(command.end(), {"--stop", "never-seen", "--stop", stop});
  EXPECT_EQ(story(command).out, full.substr(0, full.find(stop)) + "\n");
}

TEST_F(GenerateTest, SeedsAndTemperature) {
  auto text = [&](const char *seed) {
    return story({"--prompt", "Once", "--tokens", "30", "--quiet", "--seed",
                  seed, "--temperature", "5", "--top-k", "0", "--top-p", "1",
                  "--min-p", "0"})
        .out;
  };
  EXPECT_EQ(text("1"), text("1"));
  EXPECT_NE(text("1"), text("2"));
}

TEST_F(GenerateTest, BrokenLogitsAreSaid) {
  expectError({"--prompt", "Once", "--quiet"}, 1,
              "the model's logits are not numbers",
              {.environment = {"QC_FAKE_BREAK=nan"}});
}

TEST_F(GenerateTest, PerplexityModes) {
  auto tok = tokenizer();
  std::string text = "  Once upon a time there was a cat.\n\n \t\n"
                     "The cat sat on the mat, and looked at the moon.  \n"
                     "End\n";
  std::string file = dir.write("text", text);
  auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--perplexity", file, "--json"});
    RunResult result = story(arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  auto check = [&](const nlohmann::json &got,
                   const std::vector<std::vector<int32_t>> &windows) {
    double sum = 0;
    int64_t count = 0;
    for (const std::vector<int32_t> &ids : windows)
      for (size_t i = 1; i < ids.size(); ++i, ++count)
        sum += nll(ids, i);
    EXPECT_EQ(got["tokens"], count);
    EXPECT_NEAR(got["nll"], sum / static_cast<double>(count), 1e-9);
    EXPECT_NEAR(got["perplexity"], std::exp(sum / static_cast<double>(count)),
                1e-6);
  };
  std::vector<int32_t> ids = tok->encode(text, false);
  ASSERT_GT(ids.size(), 40u);
  auto cut = [](const std::vector<int32_t> &all, size_t length, bool bos) {
    std::vector<std::vector<int32_t>> windows;
    for (size_t at = 0; at < all.size(); at += length) {
      windows.emplace_back();
      if (bos)
        windows.back().push_back(1);
      for (size_t i = at; i < std::min(all.size(), at + length); ++i)
        windows.back().push_back(all[i]);
    }
    return windows;
  };
  nlohmann::json got = run({"--window", "16"});
  EXPECT_EQ(got["mode"], "windows");
  EXPECT_EQ(got["window"], 16);
  check(got, cut(ids, 15, true));
  std::vector<int32_t> first(ids.begin(), ids.begin() + 20);
  check(run({"--window=16", "--perplexity-tokens=20"}), cut(first, 15, true));
  check(run({}), cut(ids, 511, true));
  std::vector<int32_t> withBos = ids;
  withBos.insert(withBos.begin(), 1);
  check(run({"--perplexity-mode", "gptq", "--window", "40"}),
        cut(withBos, 40, false));
  std::vector<std::vector<int32_t>> lines;
  for (const char *line :
       {"Once upon a time there was a cat.",
        "The cat sat on the mat, and looked at the moon.", "End"}) {
    lines.push_back(tok->encode(line, false));
    lines.back().insert(lines.back().begin(), 1);
    if (lines.back().size() > 12)
      lines.back().resize(12);
  }
  check(run({"--perplexity-mode", "lines", "--window", "12"}), lines);
}

TEST_F(GenerateTest, PerplexityErrors) {
  expectError({"--perplexity", dir.file("absent")}, 3, "cannot read");
  expectError({"--perplexity", dir.write("t", "")}, 3, "fewer than two tokens");
  expectError({"--perplexity", dir.write("t", "ok \x80")}, 3,
              "is not valid UTF-8 at byte 3");
}

} // namespace
