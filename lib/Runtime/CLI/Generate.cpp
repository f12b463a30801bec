//===- Generate.cpp - Continuing a text -----------------------------------===//
#include "Program.h"

#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sys/resource.h>

using namespace qc::rt;
using Clock = std::chrono::steady_clock;

std::atomic<bool> qc::rt::stopRequested{false};

static void onInterrupt(int) { stopRequested = true; }

void qc::rt::catchInterrupt() {
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  // No SA_RESTART: a read at the chat prompt returns.
  sigaction(SIGINT, &action, nullptr);
}

static double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

namespace {

/// Prints text as it comes, but holds back what may become a stop text.
class TextOutput {
public:
  explicit TextOutput(const std::vector<std::string> &stops) : stops(stops) {}

  /// False once a stop text has come: it and what follows is not printed.
  bool print(const std::string &piece) {
    pending += piece;
    size_t found = std::string::npos, held = 0;
    for (const std::string &stop : stops) {
      found = std::min(found, pending.find(stop));
      for (size_t length = std::min(stop.size(), pending.size()); length > held;
           --length)
        if (pending.compare(pending.size() - length, length, stop, 0, length) ==
            0)
          held = length;
    }
    bool stopped = found != std::string::npos;
    flush(stopped ? found : pending.size() - held);
    if (stopped)
      pending.clear();
    return !stopped;
  }
  void flush() { flush(pending.size()); }
  bool failed() const { return errorNumber != 0; }
  int errorNumber = 0;
  std::string printed;

private:
  void flush(size_t length) {
    if (length == 0)
      return;
    if (std::fwrite(pending.data(), 1, length, stdout) != length ||
        std::fflush(stdout) != 0)
      errorNumber = errno ? errno : EIO;
    printed.append(pending, 0, length);
    pending.erase(0, length);
  }
  const std::vector<std::string> &stops;
  std::string pending;
};

} // namespace

Program::Outcome Program::generate(const std::vector<int32_t> &ids,
                                   bool continues, std::string &answer,
                                   std::string &error) {
  if (!sampler)
    sampler = std::make_unique<Sampler>(options.sampler);
  session->setStopFlag(&stopRequested);
  auto start = Clock::now();
  int64_t before = session->position();
  Continuation sequence(*session, *sampler);
  bool begun = sequence.begin(ids, error);
  auto done = static_cast<size_t>(session->position() - before);
  history.insert(history.end(), ids.begin(),
                 ids.begin() + static_cast<long>(done));
  promptSeconds += since(start);
  promptTokens += static_cast<int64_t>(done);
  if (!begun)
    return stopRequested ? Outcome::Stopped : Outcome::Failed;

  StreamDecoder decoder(*tokenizer);
  if (continues)
    for (int32_t id : history)
      decoder.push(id);
  TextOutput output(options.stop);
  Outcome outcome = Outcome::Done;
  start = Clock::now();
  bool going = true;
  for (int64_t i = 0; going && (options.tokens < 0 || i < options.tokens);
       ++i) {
    if (stopRequested) {
      outcome = Outcome::Stopped;
      break;
    }
    int32_t id = sequence.next(history);
    if (id < 0) {
      error = "the model's logits are not numbers";
      return Outcome::Failed;
    }
    ++newTokens;
    if (isEnd(id))
      break;
    going = output.print(decoder.push(id));
    if (output.failed() || sequence.position() >= session->capacity())
      break;
    if (!going || (options.tokens >= 0 && i + 1 >= options.tokens))
      break;
    int64_t more = options.tokens < 0 ? -1 : options.tokens - i - 1;
    if (!sequence.accept(id, more, error)) {
      outcome = stopRequested ? Outcome::Stopped : Outcome::Failed;
      break;
    }
    history.push_back(id);
    ++decodeSteps;
  }
  // What was held back is text after all, unless a stop text came.
  if (going && output.print(decoder.finish()))
    output.flush();
  newSeconds += since(start);
  answer = output.printed;
  if (output.failed()) {
    error = std::string("cannot write the text: ") +
            std::strerror(output.errorNumber);
    writeError = output.errorNumber;
    return Outcome::Failed;
  }
  return outcome;
}

void Program::printStatistics() {
  if (options.quiet)
    return;
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  auto rate = [](int64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
  };
  std::fprintf(stderr,
               "%" PRId64 " tokens, %.1f tokens/s (prompt: %" PRId64
               " tokens, %.1f tokens/s), %.2f bits per weight, %.1f MB memory, "
               "%" PRId64 " threads\n",
               newTokens, rate(decodeSteps, newSeconds), promptTokens,
               rate(promptTokens, promptSeconds),
               metadata.value("bits_per_weight", 0.0),
               static_cast<double>(usage.ru_maxrss) / 1024, session->threads());
}

int Program::runPrompt(std::string prompt) {
  std::string error;
  std::vector<int32_t> ids =
      tokenizer->encode(prompt, /*parseSpecial=*/false, &error);
  if (!error.empty())
    return fail(BadInput, error);
  if (tokenizerInfo.addsBos || (ids.empty() && bos >= 0))
    ids.insert(ids.begin(), bos);
  if (ids.empty())
    return fail(BadInput, "the prompt is empty");
  auto count = static_cast<int64_t>(ids.size());
  // One new token needs no place: nothing follows it.
  if (count > contextSize())
    return fail(BadInput,
                "the prompt has " + std::to_string(count) +
                    " tokens but the context holds " +
                    std::to_string(contextSize()) +
                    ": shorten it or raise --context (this model: up to " +
                    std::to_string(activeModel().max_positions) + ")");
  if (int code = createSession(contextSize()))
    return code;
  catchInterrupt();
  if (!options.quiet) {
    std::fwrite(prompt.data(), 1, prompt.size(), stdout);
    std::fflush(stdout);
  }
  std::string answer;
  Outcome outcome = generate(ids, /*continues=*/true, answer, error);
  if (outcome == Outcome::Failed)
    return writeError ? fail(writeFailureCode(writeError), error)
                      : failSession(error, Failure);
  std::printf("\n");
  std::fflush(stdout);
  printStatistics();
  return outcome == Outcome::Stopped ? Interrupted : Success;
}
