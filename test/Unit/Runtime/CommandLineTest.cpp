//===- CommandLineTest.cpp - The executable's options and errors ----------===//
#include "TestProgram.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace {

class CommandLineTest : public ProgramTest {};

TEST_F(CommandLineTest, HelpAndVersion) {
  RunResult result = story({"--help"});
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.out.find("Examples:"), std::string::npos);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(story({"--version"}).out, "fake, compiled by qc for x86-64, ABI " +
                                          std::to_string(QC_ABI_VERSION) +
                                          "\n");
}

/// Of a model for the CPU.
TEST_F(CommandLineTest, DevicesNeedAModelForOne) {
  expectError({"--list-devices"}, 2,
              "--list-devices: this model was compiled for the CPU");
  expectError({"--device", "0", "--generate-ids", "x"}, 2,
              "--device: this model was compiled for the CPU");
  expectError({"--device", ""}, 2, "a number or a part of a name");
  expectError({"--device-timeout", "0"}, 2, "a number of seconds from 1");
  expectError({"--list-devices", "--bench"}, 2, "exclude each other");
}

TEST_F(CommandLineTest, BadOptions) {
  expectError({"--promt", "x"}, 2, "unknown option '--promt'");
  expectError({"file.txt"}, 2, "unknown option 'file.txt'");
  expectError({"--prompt"}, 2, "--prompt needs a value");
  expectError({"--bench=3"}, 2, "--bench takes no value");
  expectError({"--logits", "x"}, 2, "--logits needs --output");
  expectError({"--output", "x"}, 2, "--output needs --logits");
  expectError({"--prompt", "a", "--bench"}, 2, "exclude each other");
  // What would be ignored.
  expectError({"--prompt", "a", "--json"}, 2,
              "--json is for --perplexity, --bench, --profile, --info and "
              "--list-devices, not for --prompt");
  expectError({"--window", "5"}, 2, "--window is for --perplexity\n");
  expectError({"--bench", "--tokens", "5"}, 2,
              "--tokens is for --prompt, --prompt-file, --generate-ids and "
              "conversations, not for --bench");
  expectError({"--generate-ids", "x", "--stop", "a"}, 2,
              "--stop is for --prompt, --prompt-file and conversations");
  expectError({"--profile", "--repeat", "2"}, 2, "--repeat is for --bench");
  expectError({"--prompt", "a", "--prompt-file", "b"}, 2, "exclude each other");
}

TEST_F(CommandLineTest, BadValues) {
  std::pair<const char *, std::vector<const char *>> cases[] = {
      {"--tokens", {"", "x", "-1", "1.5", "3x", " 3", "99999999999999999999"}},
      {"--temperature", {"", "warm", "-0.1", "nan", "inf", "1e9", "0.8x"}},
      {"--top-k", {"-1", "4.5"}},
      {"--top-p", {"-0.1", "1.1", "nan"}},
      {"--min-p", {"-0.1", "1.1"}},
      {"--repetition-penalty", {"0", "-1", "1000"}},
      {"--seed", {"-1", "x", "18446744073709551616"}},
      {"--threads", {"0", "-2", "1025", "two"}},
      {"--context", {"0", "-5", "x"}},
      {"--stop", {""}},
      {"--window", {"1", "0"}},
      {"--perplexity-mode", {"word", ""}},
      {"--repeat", {"0"}},
  };
  for (auto &[option, values] : cases)
    for (const char *value : values)
      expectError({"--prompt", "a", option, value}, 2,
                  std::string(option) + " " + value + ": expected ");
  // Both bounds.
  for (const char *option : {"--tokens", "--top-k"})
    expectError({"--prompt", "a", option, "999999999999"}, 2,
                ": expected a number from 0 to 2147483648\n");
  expectError({"--perplexity", "x", "--perplexity-tokens", "999999999999"}, 2,
              ": expected a number from 1 to 2147483648\n");
  expectError({"--prompt", "a", "--repetition-penalty", "0"}, 2,
              ": expected a number from 0.01 to 100\n");
  expectError({"--prompt", "a", "--context", "513"}, 2,
              "--context 513: the model has 512 positions");
  expectError({"--perplexity", dir.write("t", "text"), "--window=513"}, 2,
              "--window 513: the model has 512 positions");
  for (std::string option : {"--bench-prompt", "--bench-tokens"}) {
    expectError({"--bench", option, "513"}, 2,
                option + " 513: the model has 512 positions");
    expectError({"--bench", option, "9", "--context", "8"}, 2,
                option + " 9: --context has 8 positions");
  }
}

TEST_F(CommandLineTest, BadPrompts) {
  expectError({"--prompt", "a\xff"}, 3,
              "--prompt is not valid UTF-8 at byte 1");
  expectError({"--prompt-file", dir.write("p", "ab\xc3(")}, 3,
              "' is not valid UTF-8 at byte 2");
  expectError({}, 3, "standard input is not valid UTF-8 at byte 0",
              {.input = "\xed\xa0\x80"});
  expectError({"--prompt-file", dir.file("absent")}, 3,
              "cannot read '" + dir.file("absent") +
                  "': No such file or directory");
  expectError({"--prompt-file", dir.path}, 3, "Is a directory");
  expectError({"--prompt", "abcdefghij", "--context", "5"}, 3,
              "tokens but the context holds 5: shorten it or raise --context "
              "(this model: up to 512)");
}

TEST_F(CommandLineTest, BadIds) {
  auto ids = [&](const char *text) { return dir.write("ids", text); };
  auto expect = [&](const char *text, const std::string &message) {
    expectError({"--generate-ids", ids(text), "--tokens", "1"}, 3, message);
    expectError({"--logits", ids(text), "--output", dir.file("o.npy")}, 3,
                message);
    EXPECT_NE(access(dir.file("o.npy").c_str(), F_OK), 0);
  };
  expect("1 2 512", "token id 512 at index 2 is out of range: the vocabulary "
                    "has 512 tokens");
  expect("-1", "token id -1 at index 0 is out of range");
  expect("1 99999999999999999999", "expected token ids, found "
                                   "'99999999999999999999' at index 1");
  expect("1 2,3", "found '2,3' at index 1");
  expect(" \n", "no token ids");
  std::string many;
  for (int i = 0; i < 513; ++i)
    many += "1 ";
  expect(many.c_str(), "513 tokens do not fit");
  expectError({"--generate-ids", dir.file("absent")}, 3, "cannot read");
}

TEST_F(CommandLineTest, UnwritableOutput) {
  std::string ids = dir.write("ids", "1 2 3");
  expectError({"--logits", ids, "--output", dir.file("no/o.npy")}, 1,
              "cannot write '" + dir.file("no/o.npy") + "'");
  // A file system without space: limits of the process stand in for it.
  RunResult result =
      run({"/bin/sh", "-c",
           "ulimit -f 2; exec " + suiteDir->file("story") + " --logits " + ids +
               " --output " + dir.file("o.npy")});
  EXPECT_EQ(result.code, 5) << result.err;
  EXPECT_NE(result.err.find("File too large"), std::string::npos) << result.err;
  EXPECT_NE(access(dir.file("o.npy").c_str(), F_OK), 0);
  std::string listing = run({"/bin/ls", dir.path}).out;
  EXPECT_EQ(listing.find("tmp"), std::string::npos) << listing;
  // Text on a full device.
  for (std::vector<std::string> command :
       {std::vector<std::string>{"--prompt", "a", "--tokens", "5"},
        {"--info"},
        {"--help"}}) {
    result = story(command, {.outFile = "/dev/full"});
    EXPECT_EQ(result.code, 5) << command[0] << result.err;
    EXPECT_NE(result.err.find("No space left"), std::string::npos);
  }
}

TEST_F(CommandLineTest, NotEnoughMemory) {
  // Little address space: neither threads nor the file can be had.
  auto limited = [&](const char *kilobytes, const std::string &arguments) {
    return run({"/bin/sh", "-c",
                std::string("ulimit -v ") + kilobytes + "; exec " +
                    suiteDir->file("story") + " " + arguments});
  };
  RunResult result =
      limited("200000", "--prompt a --tokens 2 --threads 1024 --quiet");
  EXPECT_EQ(result.code, 5) << result.err;
  EXPECT_NE(result.err.find("cannot start thread"), std::string::npos)
      << result.err;
}

TEST_F(CommandLineTest, MissingCPUFeatures) {
  std::string future = dir.file("story");
  makeFake("qc-fake-model-future", future, TokenizerFile::None);
  RunResult result = run({future, "--bench"});
  EXPECT_EQ(result.code, 4);
  EXPECT_EQ(result.err,
            "story: error: this CPU lacks avx1024, fancy-dots, which the model "
            "was compiled for (--mcpu=x86-64)\n");
  // What runs no generated code works.
  EXPECT_EQ(run({future, "--info"}).code, 0);
}

TEST_F(CommandLineTest, DamagedFile) {
  std::string bytes = readFile(suiteDir->file("story"));
  auto expect = [&](const std::string &content, const std::string &message) {
    std::string path = dir.write("story", content);
    chmod(path.c_str(), 0755);
    RunResult result = run({path, "--prompt", "a"});
    EXPECT_EQ(result.code, 3);
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  };
  expect(bytes.substr(0, bytes.size() - 1), "or is truncated");
  expect(bytes + "x", "or is truncated");
  size_t at = bytes.rfind("bits_per_weight");
  std::string damaged = bytes;
  damaged[at] = 'B';
  expect(damaged, "section 'metadata' is damaged");
  // Of weights only the self-test notices: nothing else reads all of them.
  damaged = bytes;
  std::vector<float> w = fake::weights();
  at = bytes.find(std::string(reinterpret_cast<char *>(w.data()), 64));
  ASSERT_NE(at, std::string::npos);
  damaged[at + 4 * w.size() - 1] ^= 64;
  std::string path = dir.write("story", damaged);
  chmod(path.c_str(), 0755);
  RunResult result = run({path, "--self-test"});
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.err,
            "story: error: '" + path + "': section 'weights' is damaged\n");
}

TEST_F(CommandLineTest, WithoutTokenizer) {
  std::string bare = suiteDir->file("bare");
  RunResult result = run({bare, "--prompt", "a"});
  EXPECT_EQ(result.code, 3);
  EXPECT_NE(result.err.find("this model has no tokenizer"), std::string::npos);
  EXPECT_EQ(
      run({bare, "--generate-ids", dir.write("i", "1"), "--tokens", "2"}).code,
      0);
}

TEST_F(CommandLineTest, Info) {
  RunResult result = story({"--info", "--json"});
  auto info = nlohmann::json::parse(result.out);
  EXPECT_EQ(info["model"], "fake");
  EXPECT_EQ(info["abi"]["vocab_size"], 512);
  EXPECT_EQ(info["abi"]["max_tokens"], 32);
  EXPECT_EQ(info["missing_cpu_features"], "");
  EXPECT_NE(story({"--info"}).out.find("32.000 bits per weight"),
            std::string::npos);
}

TEST_F(CommandLineTest, SelfTestFindsWrongKernels) {
  RunResult result = story({"--self-test"});
  EXPECT_EQ(result.code, 0) << result.out;
  EXPECT_NE(result.out.find("2 passed, 0 failed"), std::string::npos);
  for (const char *part : {"decode", "matmul"}) {
    result = story({"--self-test"},
                   {.environment = {std::string("QC_FAKE_BREAK=") + part}});
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.out.find(std::string("FAIL  ") + part), std::string::npos)
        << result.out;
    EXPECT_NE(result.out.find("1 passed, 1 failed"), std::string::npos);
  }
}

TEST_F(CommandLineTest, Bench) {
  for (const char *name : {"story", "bare"}) {
    RunResult result =
        run({suiteDir->file(name), "--bench", "--json", "--bench-prompt=40",
             "--bench-tokens=10", "--repeat=2", "--threads=2"});
    ASSERT_EQ(result.code, 0) << result.err;
    auto report = nlohmann::json::parse(result.out);
    EXPECT_EQ(report["threads"], 2);
    EXPECT_EQ(report["prefill"]["tokens"], 40);
    EXPECT_GT(report["decode"]["best"], 0);
    EXPECT_GE(report["decode"]["best"], report["decode"]["median"]);
    EXPECT_GE(report["decode"]["median"], report["decode"]["min"]);
    EXPECT_EQ(report["bytes_per_token"], 4096);
    ASSERT_EQ(report["rounds"].size(), 2u);
    double shares = 0;
    for (const auto &round : report["rounds"]) {
      double stream = round["stream_bytes_per_second"], rate = round["decode"];
      EXPECT_LE(stream, report["stream_bytes_per_second"]);
      EXPECT_GT(stream, 1e8);
      EXPECT_LE(rate, report["decode"]["best"]);
      shares += rate * 4096 / stream;
    }
    EXPECT_NEAR(report["share_of_bandwidth"], shares / 2, 1e-9);
  }
}

} // namespace
