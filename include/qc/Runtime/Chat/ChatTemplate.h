//===- ChatTemplate.h - Chat templates of model folders ---------*- C++ -*-===//
//
// Renders the Jinja templates with which Hugging Face folders say how a
// conversation becomes a prompt ("chat_template" of tokenizer_config.json or
// chat_template.jinja). The result equals transformers' apply_chat_template,
// which means Jinja2 with trim_blocks, lstrip_blocks and loop controls.
//
// A template comes from a stranger's model folder: it is evaluated in a sandbox
// without access to anything but the messages, with limits on steps, nesting,
// memory and output. What is not implemented is an error that names it.
//
// Source: pallets/jinja (lexer.py, parser.py, filters.py, tests.py),
// huggingface/transformers utils/chat_template_utils.py.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_CHAT_CHATTEMPLATE_H
#define QC_RUNTIME_CHAT_CHATTEMPLATE_H

#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace qc::rt {

struct ChatMessage {
  std::string role;    ///< "system", "user", "assistant"
  std::string content; ///< UTF-8
};

class ChatTemplate {
public:
  /// Parses a template. Null and one line in `error`, with the line of the
  /// template, if it is malformed or uses an unsupported statement.
  static std::unique_ptr<ChatTemplate> create(std::string_view source,
                                              std::string &error);
  ~ChatTemplate();

  /// Renders a conversation. The text often starts with `bosToken` itself:
  /// tokenize it with special tokens recognized and without a prefix. False
  /// and one line in `error` if the template refuses the conversation
  /// (raise_exception) or exceeds a limit; `out` is then empty. `now` is what
  /// strftime_now() prints, in local time; 0 means the current time.
  bool render(std::span<const ChatMessage> messages, bool addGenerationPrompt,
              std::string_view bosToken, std::string_view eosToken,
              std::string &out, std::string &error, std::time_t now = 0) const;

private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace qc::rt

#endif // QC_RUNTIME_CHAT_CHATTEMPLATE_H
