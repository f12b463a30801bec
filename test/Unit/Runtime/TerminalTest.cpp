//===- TerminalTest.cpp - Chat and Ctrl-C on a terminal -------------------===//
#include "TestProgram.h"

#include <chrono>
#include <csignal>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace {

/// A program on a pseudo terminal, without echo.
class Terminal {
public:
  Terminal(std::vector<std::string> command, const char *variable) {
    child = forkpty(&fd, nullptr, nullptr, nullptr);
    if (child == 0) {
      if (variable)
        putenv(const_cast<char *>(variable));
      if (system("stty -echo") != 0)
        _exit(126);
      std::vector<char *> arguments;
      for (std::string &argument : command)
        arguments.push_back(argument.data());
      arguments.push_back(nullptr);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
  }
  ~Terminal() {
    close(fd);
    if (child > 0) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }
  void type(const std::string &text) {
    if (write(fd, text.data(), text.size()) < 0)
      ADD_FAILURE();
  }
  /// Reads until `text` has appeared after what earlier calls consumed; false
  /// after 20 seconds or at the end.
  bool expect(const std::string &text) {
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      size_t at = seen.find(text, used);
      if (at != std::string::npos) {
        used = at + text.size();
        return true;
      }
      pollfd file = {fd, POLLIN, 0};
      if (std::chrono::steady_clock::now() > end || poll(&file, 1, 20000) <= 0)
        return false;
      char buffer[4096];
      ssize_t count = read(fd, buffer, sizeof buffer);
      if (count <= 0)
        return false;
      seen.append(buffer, static_cast<size_t>(count));
    }
  }
  /// Exit code; 128 + signal if killed.
  int wait() {
    while (expect("\x01nothing"))
      ;
    int status = 0;
    waitpid(child, &status, 0);
    child = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string seen;

private:
  int fd = -1;
  pid_t child;
  size_t used = 0;
};

const char *slow = "QC_FAKE_BREAK=slow";

class TerminalTest : public ProgramTest {
protected:
  std::vector<std::string> chat(std::vector<std::string> more = {}) {
    std::vector<std::string> command = {suiteDir->file("story"), "--ignore-eos",
                                        "--temperature=0"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
};

TEST_F(TerminalTest, ControlCStopsTheAnswerOnly) {
  Terminal terminal(chat(), slow);
  ASSERT_TRUE(terminal.expect("> ")) << terminal.seen;
  terminal.type("Once upon\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  terminal.type("\x03");
  ASSERT_TRUE(terminal.expect("> ")) << "512 tokens of 20 ms take longer";
  terminal.type("/exit\n");
  EXPECT_EQ(terminal.wait(), 0) << terminal.seen;
}

TEST_F(TerminalTest, BrokenChatTemplate) {
  std::string path = dir.file("story");
  makeFake("qc-fake-model", path, TokenizerFile::SentencePiece, "{% for %}");
  Terminal terminal({path}, nullptr);
  EXPECT_EQ(terminal.wait(), 3) << terminal.seen;
  EXPECT_EQ(terminal.seen.substr(0, 36),
            "story: error: chat template: line 1:");
}

TEST_F(TerminalTest, SecondControlCAtThePromptLeaves) {
  Terminal terminal(chat(), nullptr);
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("\x03");
  ASSERT_TRUE(terminal.expect("again")) << terminal.seen;
  ASSERT_TRUE(terminal.expect("> ")) << terminal.seen;
  terminal.type("\x03");
  EXPECT_EQ(terminal.wait(), 0) << terminal.seen;
}

TEST_F(TerminalTest, ALineBetweenForgivesTheFirstControlC) {
  Terminal terminal(chat({"--tokens=2"}), nullptr);
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("\x03");
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("/reset\n");
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("\x03");
  ASSERT_TRUE(terminal.expect("again")) << terminal.seen;
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(TerminalTest, ControlCDuringAPromptExits130) {
  std::vector<std::string> command = chat({"--prompt", "Once"});
  Terminal terminal(command, slow);
  ASSERT_TRUE(terminal.expect("Once"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  terminal.type("\x03");
  EXPECT_EQ(terminal.wait(), 130) << terminal.seen;
  EXPECT_NE(terminal.seen.find("tokens/s"), std::string::npos);
}

TEST_F(TerminalTest, TheTemplateShapesThePrompt) {
  // The template spells the whole conversation; the toy's answers depend on the
  // last two tokens only, so equal ends give equal answers.
  std::string path = dir.file("story");
  makeFake("qc-fake-model", path, TokenizerFile::SentencePiece,
           "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content "
           "}}\n{% endfor %}");
  Terminal terminal(
      {path, "--temperature=0", "--ignore-eos", "--tokens=3", "--context=60"},
      nullptr);
  ASSERT_TRUE(terminal.expect("Chat. Ctrl-C")) << terminal.seen;
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("Hello\n");
  ASSERT_TRUE(terminal.expect("> "));
  // The conversation grows until it does not fit; then it says so and goes on.
  bool full = false;
  for (int i = 0; i < 10 && !full; ++i) {
    terminal.type("once upon a time\n");
    ASSERT_TRUE(terminal.expect("> "));
    full = terminal.seen.find("the context holds 60: /reset starts anew") !=
           std::string::npos;
  }
  EXPECT_TRUE(full) << terminal.seen;
  terminal.type("/reset\n");
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("Hello\n");
  ASSERT_TRUE(terminal.expect("> "));
  terminal.type("/exit\n");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(TerminalTest, InterruptSignalWithoutTerminal) {
  // As above by kill(2), which may reach any thread.
  RunResult result =
      run({"/bin/sh", "-c",
           suiteDir->file("story") +
               " --prompt Once --ignore-eos --threads 4 & pid=$!; sleep 0.5; "
               "kill -INT $pid; wait $pid"},
          {.environment = {slow}});
  EXPECT_EQ(result.code, 130) << result.err;
}

} // namespace
