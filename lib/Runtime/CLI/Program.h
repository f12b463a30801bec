//===- Program.h - A compiled model as a program ----------------*- C++ -*-===//
#ifndef QC_RUNTIME_CLI_PROGRAM_H
#define QC_RUNTIME_CLI_PROGRAM_H

#include "Options.h"
#include "qc/Runtime/Artefact/Payload.h"
#include "qc/Runtime/Session/Continuation.h"

#include <nlohmann/json.hpp>

namespace qc::rt {

/// What all commands share. Members that return int return exit codes and have
/// printed the message of an error.
class Program {
public:
  Program(const Options &options, std::string name)
      : options(options), name(std::move(name)) {}

  /// Opens the payload at `path`, checks the CPU and runs the command.
  int run(const std::string &path);

private:
  // Program.cpp
  int fail(int code, const std::string &message);
  int open(const std::string &path);
  void readTokenizerInfo();
  int checkCPU();
  int createSession(int64_t capacity);
  /// The model on its device, without a session; null: `error`.
  std::unique_ptr<Device> openDevice(int64_t capacity, DeviceError &error);
  /// Ends the process at once where the device may still be at work.
  int failDevice(const DeviceError &error);
  /// For a failure of the session: of its device, or else `otherwise`.
  int failSession(const std::string &message, int otherwise = BadInput);
  int checkDevice();
  int selfTestDevice();
  int64_t contextSize() const;
  /// Defaults of --bench-prompt and --bench-tokens shrink to the context; what
  /// was asked for is measured, or an error.
  int benchSizes(int64_t &prompt, int64_t &tokens);
  int needTokenizer();
  const void *weights() const { return payload->section("weights").data(); }
  bool isEnd(int32_t id) const;

  // Inputs.cpp
  int readFile(const std::string &path, std::string &bytes);
  int readText(const std::string &path, std::string &text);
  int readIds(const std::string &path, std::vector<int32_t> &ids);
  int readPrompt(std::string &prompt);

  // Info.cpp
  int info();
  int listDevices();

  // Commands.cpp
  int runPerplexity();
  int runLogits();
  int runGenerateIds();

  // Bench.cpp
  int runBench();

  // Profile.cpp
  int runProfile();

  // Generate.cpp
  enum class Outcome { Done, Stopped, Failed };
  /// Appends `ids` to the sequence, then samples and prints until something
  /// ends the text. `continues`: the text continues that of `ids` (no dummy
  /// space of SentencePiece is lost). Stopped: by Ctrl-C; Failed: `error`.
  Outcome generate(const std::vector<int32_t> &ids, bool continues,
                   std::string &answer, std::string &error);
  int runPrompt(std::string prompt);
  void printStatistics();

  // Chat.cpp
  int runChat();
  /// The ids of the conversation with a new `line` of the user.
  int chatIds(const std::string &line, std::vector<int32_t> &ids);
  int chatTurn(const std::string &line);

  const Options &options;
  std::string name;
  std::unique_ptr<Payload> payload;
  nlohmann::json metadata;

  struct {
    bool present = false, sentencePiece = false, addsBos = false;
    std::string chatTemplate, bosText, eosText;
  } tokenizerInfo;
  int32_t bos = -1;
  std::vector<int32_t> ends;

  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Session> session;
  std::unique_ptr<Sampler> sampler;
  std::vector<int32_t> history; ///< tokens in the cache

  struct ChatState;
  ChatState *chat = nullptr;

  int writeError = 0; ///< errno of standard output, once it failed
  int64_t promptTokens = 0, newTokens = 0, decodeSteps = 0;
  double promptSeconds = 0, newSeconds = 0;
};

/// Set by Ctrl-C once catchInterrupt() has run.
extern std::atomic<bool> stopRequested;
void catchInterrupt();

/// Exit code for a failed write: no space is a matter of resources.
int writeFailureCode(int errorNumber);

} // namespace qc::rt

#endif // QC_RUNTIME_CLI_PROGRAM_H
