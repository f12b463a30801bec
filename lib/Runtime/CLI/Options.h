//===- Options.h - Command line of a compiled model -------------*- C++ -*-===//
#ifndef QC_RUNTIME_CLI_OPTIONS_H
#define QC_RUNTIME_CLI_OPTIONS_H

#include "qc/Runtime/Evaluate/Evaluate.h"
#include "qc/Runtime/Sampling/Sampler.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace qc::rt {

/// Exit codes of the executable.
enum ExitCode {
  Success = 0,
  Failure = 1,
  UsageError = 2,
  BadInput = 3,
  UnsupportedCPU = 4, ///< or no device that can run the model
  OutOfResources = 5,
  DeviceFailed = 6, ///< lost or hung
  Interrupted = 130
};

struct Options {
  std::optional<std::string> prompt, promptFile;
  std::vector<std::string> stop;
  int64_t tokens = -1; ///< -1: until the end of text or context
  SamplerOptions sampler;
  int64_t threads = 0, context = 0;
  bool pin = false, ignoreEos = false, quiet = false, json = false,
       noMmap = false, noHugePages = false, fixedThreads = false;
  bool info = false, selfTest = false, bench = false, profile = false,
       help = false, version = false, tokenByToken = false;
  std::string device;
  int64_t deviceTimeout = DeviceOptions().timeoutSeconds;
  bool listDevices = false;
  std::optional<std::string> perplexity, logits, generateIds, output;
  PerplexityMode mode = PerplexityMode::Windows;
  int64_t perplexityTokens = 0, window = 0;
  int64_t benchPrompt = 512, benchTokens = 128, repeat = 3;

  std::vector<std::string_view> given; ///< names on the command line
  bool has(std::string_view name) const {
    return std::find(given.begin(), given.end(), name) != given.end();
  }
};

/// False and one line in `error` for an unknown option or a bad value.
bool parseOptions(int argc, char **argv, Options &options, std::string &error);
const char *helpText();

} // namespace qc::rt

#endif // QC_RUNTIME_CLI_OPTIONS_H
