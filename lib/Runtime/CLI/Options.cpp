//===- Options.cpp - Command line of a compiled model ---------------------===//
#include "Options.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>

using namespace qc::rt;

const char *qc::rt::helpText() {
  return R"(A language model, compiled by qc.

  --prompt TEXT          continue a text; without it, chat (on a terminal) or
                         read the prompt from standard input
  --prompt-file FILE     the same, from a file
  --tokens N             most new tokens (default: until the text ends)
  --temperature T        0: always the most likely token (default 0.8)
  --top-k N  --top-p P  --min-p P  --repetition-penalty R
  --seed N               of the random choices (default: another each time)
  --stop TEXT            stop before this text; may be repeated
  --ignore-eos           go on after the end-of-text token
  --threads N            default: all CPUs of this process
  --fixed-threads        use all of them even while other programs have their CPUs
  --pin                  keep each thread but the first on one CPU
  --context N            positions of the KV cache (default: the model's, at
                         most 4096)
  --quiet                only the text
  --no-mmap              read the weights into memory
  --no-huge-pages        leave them in the page cache's small pages
  --device NAME          of a model for GPUs: number or part of the name in
  --list-devices         this list (default: the most capable one)
  --device-timeout S     seconds until a step counts as hung (default 600)

  --perplexity FILE      how well the model predicts a text [--json]
      --perplexity-mode windows|lines|gptq   --window N   --perplexity-tokens N
  --bench                tokens a second and share of memory bandwidth [--json]
      --bench-prompt N   --bench-tokens N   --repeat N
  --profile              of a model for NVIDIA GPUs: microseconds of a step and
                         of each kernel; --bench-prompt, --bench-tokens [--json]
  --logits IDS.txt --output F.npy [--token-by-token]
                         float32 [ids, vocabulary]; ids separated by white space
  --generate-ids IDS.txt --tokens N
                         prints the new ids on one line
  --info [--json]        what this file is
  --self-test            check the generated kernels on this machine
  --version  --help

Exit codes: 1 failure, 2 usage, 3 bad input, 4 CPU or device not
supported, 5 out of memory or disk, 6 device lost or hung, 130 interrupted.

Examples:
  ./story --prompt "Once upon a time" --tokens 200 --temperature 0
  ./story --perplexity book.txt --json
)";
}

namespace {

template <typename T>
bool parseNumber(std::string_view text, T &value) {
  const char *end = text.data() + text.size();
  auto [at, code] = std::from_chars(text.data(), end, value);
  return code == std::errc() && at == end && !text.empty();
}

/// One option: its name, whether it takes a value, and what it does with it.
/// `set` returns what was expected if the value is bad, else nothing.
struct Option {
  std::string_view name;
  bool takesValue;
  std::function<std::string(std::string_view)> set;
};

} // namespace

static std::vector<Option> optionTable(Options &o) {
  auto flag = [](std::string_view name, bool &target) {
    return Option{name, false, [&target](std::string_view) {
                    target = true;
                    return std::string();
                  }};
  };
  auto text = [](std::string_view name, std::optional<std::string> &target) {
    return Option{name, true, [&target](std::string_view value) {
                    target = std::string(value);
                    return std::string();
                  }};
  };
  auto expected = [](const char *what, const std::string &low,
                     const std::string &high) {
    return std::string(what) + " from " + low + " to " + high;
  };
  auto count = [expected](std::string_view name, int64_t &target, int64_t low,
                          int64_t high, const char *what = "a number") {
    return Option{
        name, true, [=, &target](std::string_view value) {
          int64_t number;
          if (!parseNumber(value, number) || number < low || number > high)
            return expected(what, std::to_string(low), std::to_string(high));
          target = number;
          return std::string();
        }};
  };
  auto real = [expected](std::string_view name, double &target,
                         const char *lowText, double high) {
    return Option{
        name, true, [=, &target](std::string_view value) {
          double number;
          if (!parseNumber(value, number) ||
              !(number >= std::strtod(lowText, nullptr)) || !(number <= high))
            return expected("a number", lowText,
                            std::to_string(static_cast<int64_t>(high)));
          target = number;
          return std::string();
        }};
  };
  constexpr int64_t many = int64_t(1) << 31;
  return {
      text("--prompt", o.prompt),
      text("--prompt-file", o.promptFile),
      count("--tokens", o.tokens, 0, many),
      real("--temperature", o.sampler.temperature, "0", 100),
      count("--top-k", o.sampler.topK, 0, many),
      real("--top-p", o.sampler.topP, "0", 1),
      real("--min-p", o.sampler.minP, "0", 1),
      real("--repetition-penalty", o.sampler.repetitionPenalty, "0.01", 100),
      {"--seed", true,
       [&o](std::string_view value) -> std::string {
         return parseNumber(value, o.sampler.seed)
                    ? ""
                    : "a number from 0 to 18446744073709551615";
       }},
      {"--stop", true,
       [&o](std::string_view value) -> std::string {
         if (value.empty())
           return "a text";
         o.stop.emplace_back(value);
         return "";
       }},
      flag("--ignore-eos", o.ignoreEos),
      count("--threads", o.threads, 1, 1024),
      count("--context", o.context, 1, many),
      flag("--pin", o.pin),
      flag("--quiet", o.quiet),
      flag("--no-mmap", o.noMmap),
      flag("--no-huge-pages", o.noHugePages),
      flag("--fixed-threads", o.fixedThreads),
      {"--device", true,
       [&o](std::string_view value) -> std::string {
         o.device = value;
         return value.empty() ? "a number or a part of a name" : "";
       }},
      flag("--list-devices", o.listDevices),
      count("--device-timeout", o.deviceTimeout, 1, 1000000,
            "a number of seconds"),
      text("--perplexity", o.perplexity),
      {"--perplexity-mode", true,
       [&o](std::string_view value) -> std::string {
         if (value == "windows")
           o.mode = PerplexityMode::Windows;
         else if (value == "lines")
           o.mode = PerplexityMode::Lines;
         else if (value == "gptq")
           o.mode = PerplexityMode::GPTQ;
         else
           return "windows, lines or gptq";
         return "";
       }},
      count("--window", o.window, 2, many),
      count("--perplexity-tokens", o.perplexityTokens, 1, many),
      flag("--bench", o.bench),
      count("--bench-prompt", o.benchPrompt, 1, many),
      count("--bench-tokens", o.benchTokens, 1, many),
      count("--repeat", o.repeat, 1, 1000),
      flag("--profile", o.profile),
      flag("--json", o.json),
      text("--logits", o.logits),
      text("--output", o.output),
      flag("--token-by-token", o.tokenByToken),
      text("--generate-ids", o.generateIds),
      flag("--info", o.info),
      flag("--self-test", o.selfTest),
      flag("--version", o.version),
      flag("--help", o.help),
  };
}

/// Options that only some commands have would be ignored by the others.
static bool checkCommandOf(const Options &options, std::string_view command,
                           std::string &error) {
  // "": a text from standard input or a conversation.
  using Commands = std::vector<std::string_view>;
  static const Commands texts = {"--prompt", "--prompt-file", ""},
                        sampled = {"--prompt", "--prompt-file",
                                   "--generate-ids", ""},
                        measured = {"--bench", "--profile"};
  static const std::pair<std::string_view, Commands> table[] = {
      {"--tokens", sampled},
      {"--temperature", sampled},
      {"--top-k", sampled},
      {"--top-p", sampled},
      {"--min-p", sampled},
      {"--repetition-penalty", sampled},
      {"--seed", sampled},
      {"--ignore-eos", sampled},
      {"--stop", texts},
      {"--perplexity-mode", {"--perplexity"}},
      {"--perplexity-tokens", {"--perplexity"}},
      {"--window", {"--perplexity"}},
      {"--bench-prompt", measured},
      {"--bench-tokens", measured},
      {"--repeat", {"--bench"}},
      {"--token-by-token", {"--logits"}},
      {"--json",
       {"--perplexity", "--bench", "--profile", "--info", "--list-devices"}},
  };
  for (const auto &[option, commands] : table) {
    if (!options.has(option) ||
        std::find(commands.begin(), commands.end(), command) != commands.end())
      continue;
    error = std::string(option) + " is for ";
    for (size_t i = 0; i < commands.size(); ++i) {
      if (i)
        error += i + 1 < commands.size() ? ", " : " and ";
      error += commands[i].empty() ? "conversations" : commands[i];
    }
    if (!command.empty())
      error += ", not for " + std::string(command);
    return false;
  }
  return true;
}

/// What options say together.
static bool checkCombination(const Options &options, std::string &error) {
  if (options.help || options.version)
    return true;
  const char *chosen = nullptr;
  std::pair<const char *, bool> commands[] = {
      {"--prompt", options.prompt.has_value()},
      {"--prompt-file", options.promptFile.has_value()},
      {"--perplexity", options.perplexity.has_value()},
      {"--bench", options.bench},
      {"--profile", options.profile},
      {"--logits", options.logits.has_value()},
      {"--generate-ids", options.generateIds.has_value()},
      {"--info", options.info},
      {"--self-test", options.selfTest},
      {"--list-devices", options.listDevices}};
  for (auto [name, present] : commands) {
    if (present && chosen) {
      error = std::string(chosen) + " and " + name + " exclude each other";
      return false;
    }
    if (present)
      chosen = name;
  }
  if (!checkCommandOf(options, chosen ? chosen : "", error))
    return false;
  if (options.logits.has_value() != options.output.has_value()) {
    error = options.logits ? "--logits needs --output FILE.npy"
                           : "--output needs --logits IDS.txt";
    return false;
  }
  return true;
}

bool qc::rt::parseOptions(int argc, char **argv, Options &options,
                          std::string &error) {
  std::random_device device;
  options.sampler.seed = static_cast<uint64_t>(device()) << 32 | device();
  std::vector<Option> table = optionTable(options);
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == "-h")
      argument = "--help";
    size_t equals = argument.find('=');
    std::string_view name = argument.substr(0, equals);
    const Option *option = nullptr;
    for (const Option &candidate : table)
      if (candidate.name == name)
        option = &candidate;
    if (!option) {
      error = "unknown option '" + std::string(name) + "', see --help";
      return false;
    }
    std::string_view value;
    if (!option->takesValue) {
      if (equals != std::string_view::npos) {
        error = std::string(name) + " takes no value";
        return false;
      }
    } else if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < argc) {
      value = argv[++i];
    } else {
      error = std::string(name) + " needs a value";
      return false;
    }
    if (std::string expected = option->set(value); !expected.empty()) {
      error = std::string(name) + " " + std::string(value) + ": expected " +
              expected;
      return false;
    }
    options.given.push_back(option->name);
  }
  return checkCombination(options, error);
}
