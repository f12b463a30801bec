//===- RenderMain.cpp - Renders templates for the Python test -------------===//
//
// Reads one JSON object a line, {"template", "messages", "prompt", "bos",
// "eos", "now"}, and writes {"out"} or {"error"}. Used by
// python/tests/test_chat_templates.py, which compares with Jinja2.
//
//===----------------------------------------------------------------------===//
#include "qc/Runtime/Chat/ChatTemplate.h"

#include <iostream>
#include <nlohmann/json.hpp>

using namespace qc::rt;
using nlohmann::json;

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    json input = json::parse(line), output;
    std::string text, error;
    auto chat =
        ChatTemplate::create(input["template"].get<std::string>(), error);
    std::vector<ChatMessage> messages;
    for (const json &m : input["messages"])
      messages.push_back({m["role"], m["content"]});
    if (chat &&
        chat->render(messages, input["prompt"], input["bos"].get<std::string>(),
                     input["eos"].get<std::string>(), text, error,
                     input["now"].get<std::time_t>()))
      output["out"] = text;
    else
      output["error"] = error;
    std::cout << output.dump() << "\n";
  }
  return 0;
}
