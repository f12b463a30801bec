//===- TestProgram.h - Runs the toy executable ------------------*- C++ -*-===//
#ifndef QC_TEST_RUNTIME_TESTPROGRAM_H
#define QC_TEST_RUNTIME_TESTPROGRAM_H

#include "FakeModel.h"
#include "qc/Runtime/Artefact/Payload.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

/// A folder that disappears with the test.
class TempDir {
public:
  TempDir();
  ~TempDir();
  std::string file(const std::string &name) const { return path + "/" + name; }
  /// Writes a file and returns its path.
  std::string write(const std::string &name, const std::string &bytes) const;
  std::string path;
};

std::string readFile(const std::string &path);

struct RunResult {
  int code = -1; ///< exit code, 128 + signal if killed
  std::string out, err;
};

struct RunOptions {
  std::string input = {};                    ///< standard input
  std::vector<std::string> environment = {}; ///< added, "NAME=value"
  std::string workDir = {};
  std::string outFile = {}; ///< standard output goes there instead of RunResult
};

RunResult run(const std::vector<std::string> &command,
              const RunOptions &options = {});

enum class TokenizerFile { None, SentencePiece, HuggingFace };

/// Copies the built binary `name` (in the folder of the unit tests) to `path`
/// and appends the toy's payload.
void makeFake(const std::string &name, const std::string &path,
              TokenizerFile tokenizer, const std::string &chatTemplate = "");

/// Test with a toy executable `story` with the SentencePiece tokenizer of
/// examples/stories260K.
class ProgramTest : public testing::Test {
protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  RunResult story(std::vector<std::string> arguments,
                  const RunOptions &options = {});
  /// Expects failure with `code` and one line of error that contains `text`.
  void expectError(std::vector<std::string> arguments, int code,
                   const std::string &text, const RunOptions &options = {});
  static TempDir *suiteDir;
  TempDir dir;
};

#endif // QC_TEST_RUNTIME_TESTPROGRAM_H
