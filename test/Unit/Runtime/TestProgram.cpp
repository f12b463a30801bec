//===- TestProgram.cpp - Runs the toy executable --------------------------===//
#include "TestProgram.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

TempDir::TempDir() {
  std::string pattern = std::filesystem::temp_directory_path() / "qcrt-XXXXXX";
  path = mkdtemp(pattern.data()) ? pattern : "";
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

std::string TempDir::write(const std::string &name,
                           const std::string &bytes) const {
  std::ofstream(file(name), std::ios::binary) << bytes;
  return file(name);
}

std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

RunResult run(const std::vector<std::string> &command,
              const RunOptions &options) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
    return {};
  pid_t child = fork();
  if (child == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    if (!options.outFile.empty())
      dup2(open(options.outFile.c_str(), O_WRONLY | O_CREAT, 0644), 1);
    if (!options.workDir.empty() && chdir(options.workDir.c_str()) != 0)
      _exit(127);
    for (const std::string &variable : options.environment)
      putenv(const_cast<char *>(variable.c_str()));
    std::vector<char *> arguments;
    for (const std::string &argument : command)
      arguments.push_back(const_cast<char *>(argument.c_str()));
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  // Inputs of tests fit a pipe.
  if (write(in[1], options.input.data(), options.input.size()) < 0)
    ADD_FAILURE() << "cannot write to the child";
  close(in[1]);
  RunResult result;
  pollfd files[] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string *texts[] = {&result.out, &result.err};
  for (int left = 2; left > 0 && poll(files, 2, 60000) > 0;)
    for (int i = 0; i < 2; ++i) {
      if (!files[i].revents)
        continue;
      char buffer[65536];
      ssize_t count = read(files[i].fd, buffer, sizeof buffer);
      if (count > 0) {
        texts[i]->append(buffer, static_cast<size_t>(count));
      } else {
        files[i].fd = -1;
        --left;
      }
    }
  close(out[0]);
  close(err[0]);
  int status = 0;
  waitpid(child, &status, 0);
  result.code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

void makeFake(const std::string &name, const std::string &path,
              TokenizerFile tokenizer, const std::string &chatTemplate) {
  std::filesystem::copy_file(std::string(QC_BINARY_DIR "/unittests/") + name,
                             path,
                             std::filesystem::copy_options::overwrite_existing);
  std::vector<float> w = fake::weights();
  std::string bytes(reinterpret_cast<const char *>(w.data()), w.size() * 4);
  nlohmann::json metadata = {
      {"model", "fake"},        {"architecture", "Toy"},
      {"format", "float<f32>"}, {"bits_per_weight", 32.0},
      {"parameters", w.size()}, {"bytes_per_token", 2 * fake::vocabulary * 4}};
  std::vector<qc::rt::PayloadSection> sections = {
      qc::rt::PayloadSection::fromBytes("weights", bytes)};
  if (tokenizer != TokenizerFile::None) {
    bool pieces = tokenizer == TokenizerFile::SentencePiece;
    metadata["tokenizer"] = {
        {"kind", pieces ? "sentencepiece" : "tokenizer.json"},
        {"bos_id", 1},
        {"eos_ids", {2}},
        {"add_bos", true},
        {"bos_token", "<s>"},
        {"eos_token", "</s>"}};
    if (!chatTemplate.empty())
      metadata["tokenizer"]["chat_template"] = chatTemplate;
    sections.push_back(qc::rt::PayloadSection::fromFile(
        "tokenizer", std::string(QC_SOURCE_DIR "/examples/stories260K/") +
                         (pieces ? "tokenizer.model" : "tokenizer.json")));
  }
  sections.push_back(
      qc::rt::PayloadSection::fromBytes("metadata", metadata.dump()));
  std::string error;
  ASSERT_TRUE(qc::rt::appendPayload(path, sections, error)) << error;
}

TempDir *ProgramTest::suiteDir = nullptr;

void ProgramTest::SetUpTestSuite() {
  suiteDir = new TempDir;
  makeFake("qc-fake-model", suiteDir->file("story"),
           TokenizerFile::SentencePiece);
  makeFake("qc-fake-model", suiteDir->file("bare"), TokenizerFile::None);
}

void ProgramTest::TearDownTestSuite() {
  delete suiteDir;
  suiteDir = nullptr;
}

RunResult ProgramTest::story(std::vector<std::string> arguments,
                             const RunOptions &options) {
  arguments.insert(arguments.begin(), suiteDir->file("story"));
  return run(arguments, options);
}

void ProgramTest::expectError(std::vector<std::string> arguments, int code,
                              const std::string &text,
                              const RunOptions &options) {
  RunResult result = story(std::move(arguments), options);
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(result.err.substr(0, 14), "story: error: ") << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1)
      << result.err;
  EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
}
