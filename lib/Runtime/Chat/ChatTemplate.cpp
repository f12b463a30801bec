//===- ChatTemplate.cpp - Chat templates of model folders -----------------===//
#include "qc/Runtime/Chat/ChatTemplate.h"

#include "Ast.h"
#include "Interpreter.h"

#include <stdexcept>

using namespace qc::rt;
using namespace qc::rt::chat;

struct ChatTemplate::Impl {
  Body body;
};

/// One line of bounded length; messages quote the template.
static std::string describe(std::string message) {
  constexpr size_t MaxLength = 400;
  for (char &c : message)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      c = ' ';
  if (message.size() > MaxLength) {
    size_t end = MaxLength;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80)
      --end;
    message = message.substr(0, end) + "...";
  }
  return "chat template: " + message;
}

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl)
    : impl(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

std::unique_ptr<ChatTemplate> ChatTemplate::create(std::string_view source,
                                                   std::string &error) {
  error.clear();
  constexpr size_t MaxSource = 1 << 20;
  try {
    if (source.size() > MaxSource)
      throw TemplateError{"longer than 1 MiB"};
    auto impl = std::make_unique<Impl>();
    impl->body = parseTemplate(source);
    return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
  } catch (const TemplateError &e) {
    error = describe(e.message);
  } catch (const std::exception &e) {
    error = describe(e.what());
  }
  return nullptr;
}

bool ChatTemplate::render(std::span<const ChatMessage> messages,
                          bool addGenerationPrompt, std::string_view bosToken,
                          std::string_view eosToken, std::string &out,
                          std::string &error, std::time_t now) const {
  out.clear();
  error.clear();
  try {
    Interpreter interpreter(now ? now : std::time(nullptr));
    addGlobalFunctions(interpreter);
    List list;
    for (const ChatMessage &message : messages)
      list.push_back(
          Value::dict({{"role", message.role}, {"content", message.content}}));
    interpreter.setGlobal("messages", Value::list(std::move(list)));
    interpreter.setGlobal("add_generation_prompt", addGenerationPrompt);
    interpreter.setGlobal("bos_token", std::string(bosToken));
    interpreter.setGlobal("eos_token", std::string(eosToken));
    // transformers passes these even when there are none.
    interpreter.setGlobal("tools", nullptr);
    interpreter.setGlobal("documents", nullptr);
    out = interpreter.run(impl->body);
    return true;
  } catch (const TemplateError &e) {
    error = describe(e.message);
  } catch (const std::exception &e) {
    error = describe(e.what());
  }
  return false;
}
