//===- Inputs.cpp - Files and standard input of a command -----------------===//
#include "Program.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

using namespace qc::rt;

int Program::readFile(const std::string &path, std::string &bytes) {
  FILE *file = std::fopen(path.c_str(), "rbe");
  if (!file)
    return fail(BadInput,
                "cannot read '" + path + "': " + std::strerror(errno));
  char buffer[65536];
  while (size_t count = std::fread(buffer, 1, sizeof buffer, file))
    bytes.append(buffer, count);
  bool ok = !std::ferror(file);
  int code = errno;
  std::fclose(file);
  if (!ok)
    return fail(BadInput, "cannot read '" + path + "': " + std::strerror(code));
  return Success;
}

int Program::readText(const std::string &path, std::string &text) {
  if (int code = readFile(path, text))
    return code;
  size_t bad;
  if (!validUtf8(text, bad))
    return fail(BadInput, "'" + path + "' is not valid UTF-8 at byte " +
                              std::to_string(bad));
  return Success;
}

int Program::readIds(const std::string &path, std::vector<int32_t> &ids) {
  std::string text;
  if (int code = readFile(path, text))
    return code;
  const char *space = " \t\r\n";
  size_t at = text.find_first_not_of(space);
  while (at != std::string::npos) {
    size_t end = std::min(text.find_first_of(space, at), text.size());
    int64_t id;
    auto [stop, code] =
        std::from_chars(text.data() + at, text.data() + end, id);
    std::string word = text.substr(at, std::min<size_t>(end - at, 40));
    auto where = "'" + path + "': ";
    if (code != std::errc() || stop != text.data() + end)
      return fail(BadInput, where + "expected token ids, found '" + word +
                                "' at index " + std::to_string(ids.size()));
    if (id < 0 || id >= activeModel().vocab_size)
      return fail(BadInput, where + "token id " + word + " at index " +
                                std::to_string(ids.size()) +
                                " is out of range: the vocabulary has " +
                                std::to_string(activeModel().vocab_size) +
                                " tokens");
    ids.push_back(static_cast<int32_t>(id));
    at = text.find_first_not_of(space, end);
  }
  if (ids.empty())
    return fail(BadInput, "'" + path + "': no token ids");
  return Success;
}

int Program::readPrompt(std::string &prompt) {
  std::string source = "--prompt";
  if (options.prompt) {
    prompt = *options.prompt;
  } else if (options.promptFile) {
    source = "'" + *options.promptFile + "'";
    if (int code = readFile(*options.promptFile, prompt))
      return code;
  } else {
    source = "the prompt on standard input";
    char buffer[65536];
    while (size_t count = std::fread(buffer, 1, sizeof buffer, stdin))
      prompt.append(buffer, count);
    if (std::ferror(stdin))
      return fail(BadInput, std::string("cannot read standard input: ") +
                                std::strerror(errno));
  }
  // Editors and echo end a file with a newline that nobody means.
  if (!options.prompt && prompt.ends_with('\n'))
    prompt.pop_back();
  size_t bad;
  if (!validUtf8(prompt, bad))
    return fail(BadInput,
                source + " is not valid UTF-8 at byte " + std::to_string(bad));
  return Success;
}
