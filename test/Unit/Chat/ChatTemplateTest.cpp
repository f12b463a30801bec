//===- ChatTemplateTest.cpp - Tests of chat templates ---------------------===//
//
// Expected.inc was written by Jinja2 (python/tests/test_chat_templates.py,
// which compares many more renderings when Python is there).
//
//===----------------------------------------------------------------------===//
#include "qc/Runtime/Chat/ChatTemplate.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <vector>

using namespace qc::rt;

namespace {

struct Expectation {
  const char *name;
  int conversation;
  bool prompt;
  const char *text; ///< null: the template refuses the conversation
};

const Expectation Expected[] = {
#include "Expected.inc"
};

// The first ones of CONVERSATIONS in the Python test.
const std::vector<std::vector<ChatMessage>> Conversations = {
    {{"user", "Hello, how are you?"}},
    {{"system", "You are terse."}, {"user", "Hi"}},
    {{"user", " Two \n"}, {"assistant", " spaces  "}, {"user", "\tand\ttabs "}},
    {{"system", "Be kind.\nAlways."},
     {"user", "Was ist <b>das</b>?"},
     {"assistant", "Ein \"Tag\" & mehr."},
     {"user", "日本語で 😀?"}},
    {{"user", "a"},
     {"assistant", "<think>\nhmm\n</think>\n\nb"},
     {"user", "c"},
     {"assistant", "<think>x</think>y"}},
    {{"user", "a"}, {"user", "b"}},
};

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The rendered text, or "error: " and the message.
std::string render(const std::string &source,
                   const std::vector<ChatMessage> &messages = Conversations[3],
                   bool prompt = false) {
  std::string out, error;
  std::unique_ptr<ChatTemplate> chat = ChatTemplate::create(source, error);
  if (!chat ||
      !chat->render(messages, prompt, "<s>", "</s>", out, error, 1700000000)) {
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    return "error: " + error;
  }
  return out;
}

} // namespace

TEST(ChatTemplate, EqualsJinja2OnRealTemplates) {
  ASSERT_GT(std::size(Expected), 50u);
  for (const Expectation &e : Expected) {
    std::string source =
        readFile(std::string(QC_SOURCE_DIR) + "/test/Unit/Chat/templates/" +
                 e.name + ".jinja");
    ASSERT_FALSE(source.empty()) << e.name;
    std::string text = render(
        source, Conversations[static_cast<size_t>(e.conversation)], e.prompt);
    if (e.text)
      EXPECT_EQ(text, e.text)
          << e.name << " on conversation " << e.conversation;
    else
      EXPECT_EQ(text.substr(0, 7), "error: ") << e.name;
  }
}

TEST(ChatTemplate, Date) {
  setenv("TZ", "UTC", 1);
  tzset();
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}"), "14 Nov 2023");
}

TEST(ChatTemplate, ReportsWhereAndWhy) {
  EXPECT_EQ(render("a\nb\n{% if %}"),
            "error: chat template: line 3: expected an expression");
  EXPECT_EQ(render("\n{{ raise_exception('no\nway') }}"),
            "error: chat template: line 2: the template refuses: no way");
  EXPECT_EQ(render("{% include 'x' %}"),
            "error: chat template: line 1: tag 'include' is not supported");
  EXPECT_EQ(render("{{ 1 | pprint }}"),
            "error: chat template: line 1: filter 'pprint' is not supported");
  EXPECT_EQ(render("{{ x.y }}"),
            "error: chat template: line 1: 'x' is undefined");
  EXPECT_EQ(render("{{ 'a' + 1 }}"), "error: chat template: line 1: operator + "
                                     "does not work on a str and a int");
}

TEST(ChatTemplate, SandboxHidesEverythingElse) {
  for (const char *source :
       {"{{ ''.__class__ }}", "{{ messages.__init__ }}", "{{ self }}",
        "{{ cycler }}", "{{ [].append }}", "{{ {}.update }}"})
    EXPECT_EQ(render(source), "") << source;
}

TEST(ChatTemplate, LimitsStepsDepthAndMemory) {
  const std::string sources[] = {
      // steps
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}"
      "{% endfor %}",
      "{% for i in range(100001) %}{% endfor %}",
      // recursion
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      // memory
      "{{ 'abcdefgh' * 1000000000000 }}", "{{ [1] * 9223372036854775807 }}",
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}"
      "{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
      // nested values and cycles
      "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}"
      "{% set ns.x = [ns.x] %}{% endfor %}",
      "{% set ns = namespace() %}{% set ns.x = ns %}",
      "{% set ns = namespace() %}{% set ns.x = [{'a': ns}] %}",
      // syntax
      "{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}",
      "{{ " + std::string(100000, '-') + "1 }}",
      "{{ 1" +
          [] {
            std::string s;
            for (int i = 0; i < 100000; ++i)
              s += "+1";
            return s;
          }() +
          " }}",
      "{{ x" +
          [] {
            std::string s;
            for (int i = 0; i < 100000; ++i)
              s += ".y";
            return s;
          }() +
          " }}",
      [] {
        std::string s;
        for (int i = 0; i < 50000; ++i)
          s += "{% if 1 %}";
        return s;
      }(),
      std::string(2 << 20, 'x'),
      // arithmetic
      "{{ 9223372036854775807 + 1 }}", "{{ 99999999999999999999 }}",
      "{{ 2 ** 100000000000 }}", "{{ -9223372036854775807 - 2 }}",
      "{{ (-9223372036854775807 - 1) // -1 }}", "{{ 1 % 0 }}",
      "{{ 'a'[::0] }}"};
  for (const std::string &source : sources)
    EXPECT_EQ(render(source).substr(0, 7), "error: ") << source.substr(0, 100);
}

TEST(ChatTemplate, HostileArithmeticThatIsFine) {
  EXPECT_EQ(render("{{ 1 ** 9223372036854775807 }}"), "1");
  EXPECT_EQ(render("{{ (-1) ** 9223372036854775807 }}"), "-1");
  EXPECT_EQ(render("{{ 0 ** 9223372036854775807 }}"), "0");
  EXPECT_EQ(render("{{ 'abc'[-9223372036854775807:9223372036854775807] }}"),
            "abc");
  EXPECT_EQ(render("{{ 'abc'[::9223372036854775807] }}"), "a");
  EXPECT_EQ(render("{{ 'abc'[::-9223372036854775807] }}"), "c");
  EXPECT_EQ(
      render("{{ range(9223372036854775805, 9223372036854775807, 5) | list }}"),
      "[9223372036854775805]");
  EXPECT_EQ(
      render("{{ ['nan'|float, 1.0, 'nan'|float, 0.5] | sort | length }}"),
      "4");
}

TEST(ChatTemplate, AnyBytesAreSafe) {
  // Every prefix of a real template, and templates with bytes replaced.
  std::string source = readFile(std::string(QC_SOURCE_DIR) +
                                "/test/Unit/Chat/templates/qwen3.jinja");
  ASSERT_FALSE(source.empty());
  for (size_t size = 0; size < source.size(); size += 3)
    render(source.substr(0, size));
  uint32_t state = 12345;
  auto random = [&] {
    return state = state * 1664525 + 1013904223, state >> 8;
  };
  static const char Bytes[] = "{}%#-+()[]|.,'\"\\ \n=x1\xff\x80";
  for (int i = 0; i < 3000; ++i) {
    std::string mutated = source;
    for (int k = 0; k < 4; ++k)
      mutated[random() % mutated.size()] = Bytes[random() % (sizeof Bytes - 1)];
    render(mutated, {{"user", "\xff\xfe \xe4\xb8"}, {"assistant", "\x80"}});
  }
}

TEST(ChatTemplate, SharedTemplatesParse) {
  const char *env = std::getenv("QC_SHARED_DATA");
  std::string folder =
      env ? env : std::string(QC_SOURCE_DIR) + "/../shared/data";
  std::string source = readFile(
      folder +
      "/tokenizers/chat-templates/meta-llama-Llama-3.1-8B-Instruct.jinja");
  if (source.empty())
    GTEST_SKIP() << "skipped: no shared data";
  EXPECT_EQ(
      render(source, Conversations[0], true),
      "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge "
      "Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nHello, how are you?"
      "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
}
