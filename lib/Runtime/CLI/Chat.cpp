//===- Chat.cpp - Conversation on a terminal ------------------------------===//
//
// With the model's chat template, every line is a user's message and the whole
// conversation is rendered anew; what the KV cache already holds of it is kept.
// Without one, the model continues what the user writes.
//
//===----------------------------------------------------------------------===//
#include "Program.h"
#include "qc/Runtime/Chat/ChatTemplate.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <poll.h>
#include <unistd.h>

using namespace qc::rt;

namespace {

/// Lines of standard input. SIGINT is let in only while waiting: it cannot slip
/// between the test of its flag and the read.
class LineReader {
public:
  enum class Outcome { Line, End, Interrupted };

  Outcome read(std::string &line) {
    sigset_t interrupt, old;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &old);
    Outcome outcome = readBlocked(line, old);
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    return outcome;
  }

private:
  Outcome readBlocked(std::string &line, const sigset_t &waiting) {
    for (;;) {
      size_t end = buffer.find('\n');
      if (end != std::string::npos || (atEnd && !buffer.empty())) {
        line = buffer.substr(0, end);
        buffer.erase(0, end == std::string::npos ? end : end + 1);
        return Outcome::Line;
      }
      if (atEnd)
        return Outcome::End;
      pollfd file = {0, POLLIN, 0};
      if (stopRequested || ppoll(&file, 1, nullptr, &waiting) < 0) {
        if (!stopRequested && errno == EINTR)
          continue;
        buffer.clear(); // as the terminal does with the line being typed
        return stopRequested ? Outcome::Interrupted : Outcome::End;
      }
      char bytes[4096];
      ssize_t count = ::read(0, bytes, sizeof bytes);
      if (count > 0)
        buffer.append(bytes, static_cast<size_t>(count));
      else if (count == 0 || errno != EINTR)
        atEnd = true;
    }
  }
  std::string buffer;
  bool atEnd = false;
};

} // namespace

struct Program::ChatState {
  std::unique_ptr<ChatTemplate> chatTemplate;
  std::vector<ChatMessage> messages;
};

int Program::chatIds(const std::string &line, std::vector<int32_t> &ids) {
  std::string error;
  if (!chat->chatTemplate) {
    ids = tokenizer->encode(line, /*parseSpecial=*/false, &error);
    if (history.empty() && tokenizerInfo.addsBos)
      ids.insert(ids.begin(), bos);
    ids.insert(ids.begin(), history.begin(), history.end());
    return error.empty() ? Success : fail(BadInput, error);
  }
  std::string prompt;
  if (!chat->chatTemplate->render(chat->messages, /*addGenerationPrompt=*/true,
                                  tokenizerInfo.bosText, tokenizerInfo.eosText,
                                  prompt, error))
    return fail(BadInput, error);
  ids = tokenizer->encode(prompt, /*parseSpecial=*/true, &error);
  return error.empty() ? Success : fail(BadInput, error);
}

/// One line of the user and its answer. After an error the conversation is as
/// before the line.
int Program::chatTurn(const std::string &line) {
  size_t bad;
  if (!validUtf8(line, bad))
    return fail(BadInput,
                "the line is not valid UTF-8 at byte " + std::to_string(bad));
  chat->messages.push_back({"user", line});
  std::vector<int32_t> ids;
  if (int code = chatIds(line, ids)) {
    chat->messages.pop_back();
    return code;
  }
  if (ids.empty() || static_cast<int64_t>(ids.size()) >= session->capacity()) {
    chat->messages.pop_back();
    return fail(BadInput, "the conversation has " + std::to_string(ids.size()) +
                              " tokens, which leaves no place for an answer: "
                              "the context holds " +
                              std::to_string(session->capacity()) +
                              ": /reset starts anew");
  }
  // What the cache already holds is not computed again, but the last token's
  // logits are needed.
  size_t same = 0;
  while (same < history.size() && same + 1 < ids.size() &&
         history[same] == ids[same])
    ++same;
  history.resize(same);
  session->truncate(static_cast<int64_t>(same));
  ids.erase(ids.begin(), ids.begin() + static_cast<long>(same));
  std::string answer, error;
  bool continues = !chat->chatTemplate;
  Outcome outcome = generate(ids, continues, answer, error);
  std::printf("\n");
  std::fflush(stdout);
  if (outcome == Outcome::Failed) {
    chat->messages.pop_back();
    return failSession(error, Failure);
  }
  chat->messages.push_back({"assistant", answer});
  return Success;
}

int Program::runChat() {
  ChatState state;
  chat = &state;
  if (!tokenizerInfo.chatTemplate.empty()) {
    std::string error;
    state.chatTemplate =
        ChatTemplate::create(tokenizerInfo.chatTemplate, error);
    if (!state.chatTemplate)
      return fail(BadInput, error);
  }
  if (int code = createSession(contextSize()))
    return code;
  catchInterrupt();
  if (!options.quiet)
    std::fprintf(stderr,
                 "%s. Ctrl-C stops an answer, Ctrl-D or /exit leaves, /reset "
                 "starts anew.\n",
                 state.chatTemplate ? "Chat"
                                    : "This model has no chat template: it "
                                      "continues what you write");
  LineReader reader;
  for (bool warned = false;;) {
    stopRequested = false;
    std::fprintf(stderr, "> ");
    std::string line;
    LineReader::Outcome outcome = reader.read(line);
    if (outcome == LineReader::Outcome::Interrupted && !warned) {
      warned = true;
      std::fprintf(stderr, "\n(Ctrl-C again or Ctrl-D leaves)\n");
      continue;
    }
    if (outcome != LineReader::Outcome::Line)
      break;
    warned = false;
    if (line == "/exit")
      break;
    if (line == "/reset") {
      state.messages.clear();
      history.clear();
      session->truncate(0);
    } else if (!line.empty()) {
      chatTurn(line);
    }
  }
  std::fprintf(stderr, "\n");
  if (newTokens)
    printStatistics();
  return Success;
}
