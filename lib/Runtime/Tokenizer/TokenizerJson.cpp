//===- TokenizerJson.cpp - Reading tokenizer.json -------------------------===//
#include "TokenizerJson.h"

#include "JsonScanner.h"

using namespace qc::rt;
using nlohmann::json;

// Ids index tables, so a hostile id must not decide about gigabytes.
static constexpr uint64_t MaxId = (1u << 24) - 1;

namespace {

/// Builds the small parts of the file as JSON and diverts the large ones.
class Handler {
public:
  Handler(TokenizerFile &file, std::string &error) : file(file), error(error) {
    stack.push_back(&file.root);
  }

  bool onNull() { return value(nullptr); }
  bool onBool(bool v) { return value(v); }
  bool onInteger(int64_t v) { return value(v); }
  bool onFloat(double v) { return value(v); }
  bool onString(std::string_view v) {
    if (mode == Mode::Merges)
      return addMerge(v);
    if (mode != Mode::MergePair)
      return value(std::string(v));
    if (pairSize < 2)
      pair[pairSize] = v;
    return ++pairSize <= 2 ||
           fail("model.merges: entry with more than 2 tokens");
  }
  bool onUnsigned(uint64_t v) {
    if (mode != Mode::Vocabulary)
      return value(v);
    if (v > MaxId)
      return fail("model.vocab: id " + std::to_string(v) + " of token '" +
                  std::string(lastKey) + "' is above " + std::to_string(MaxId));
    file.vocabulary.push_back({lastKey, static_cast<int32_t>(v)});
    return true;
  }

  bool onObject() {
    if (mode != Mode::Tree)
      return fail("unexpected object in model.vocab or model.merges");
    if (inModel() && lastKey == "vocab") {
      mode = Mode::Vocabulary;
      attach(json::object());
      return true;
    }
    stack.push_back(attach(json::object()));
    return true;
  }
  bool onObjectEnd() {
    if (mode == Mode::Vocabulary)
      mode = Mode::Tree;
    else
      stack.pop_back();
    return true;
  }
  bool onArray() {
    if (mode == Mode::Merges) {
      mode = Mode::MergePair;
      pairSize = 0;
      return true;
    }
    if (mode != Mode::Tree)
      return fail("unexpected list in model.vocab or model.merges");
    if (inModel() && lastKey == "merges") {
      mode = Mode::Merges;
      attach(json::array());
      return true;
    }
    stack.push_back(attach(json::array()));
    return true;
  }
  bool onArrayEnd() {
    if (mode == Mode::MergePair) {
      mode = Mode::Merges;
      file.merges.push_back({pair[0], pair[1]});
      return pairSize == 2 ||
             fail("model.merges: entry with less than 2 tokens");
    }
    if (mode == Mode::Merges)
      mode = Mode::Tree;
    else
      stack.pop_back();
    return true;
  }
  bool onKey(std::string_view v) {
    lastKey = v;
    if (stack.size() == 2)
      topKey = v;
    return true;
  }

private:
  enum class Mode { Tree, Vocabulary, Merges, MergePair };

  // stack: file, top-level object, "model"
  bool inModel() const { return stack.size() == 3 && topKey == "model"; }

  bool fail(std::string message) {
    error = std::move(message);
    return false;
  }
  bool addMerge(std::string_view v) {
    if (v.starts_with("#version"))
      return true;
    size_t space = v.find(' ');
    if (space == std::string_view::npos ||
        v.find(' ', space + 1) != std::string_view::npos)
      return fail("model.merges: entry " + std::to_string(file.merges.size()) +
                  " is not two tokens with a space between them: '" +
                  std::string(v.substr(0, 80)) + "'");
    file.merges.push_back({v.substr(0, space), v.substr(space + 1)});
    return true;
  }
  json *attach(json v) {
    json *parent = stack.back();
    if (stack.size() == 1) {
      *parent = std::move(v);
      return parent;
    }
    if (parent->is_array()) {
      parent->push_back(std::move(v));
      return &parent->back();
    }
    json &slot = (*parent)[std::string(lastKey)];
    slot = std::move(v);
    return &slot;
  }
  template <typename T>
  bool value(T &&v) {
    if (mode != Mode::Tree)
      return fail(mode == Mode::Vocabulary
                      ? "model.vocab: id of token '" + std::string(lastKey) +
                            "' is not a non-negative number"
                      : "model.merges: an entry is not text");
    attach(json(std::forward<T>(v)));
    return true;
  }

  TokenizerFile &file;
  std::string &error;
  std::vector<json *> stack;
  std::string_view lastKey, topKey, pair[2];
  Mode mode = Mode::Tree;
  int pairSize = 0;
};

} // namespace

bool qc::rt::readTokenizerJson(std::string_view bytes, TokenizerFile &out,
                               std::string &error) {
  out.text = std::make_unique<std::string>(bytes);
  Handler handler(out, error);
  JsonScanner<Handler> scanner(*out.text, handler, out.unescaped);
  if (!scanner.scan()) {
    if (scanner.problem)
      error = std::string("not valid JSON: ") + scanner.problem + " at byte " +
              std::to_string(scanner.position) + " of " +
              std::to_string(bytes.size());
  } else if (!out.root.is_object()) {
    error = "not a JSON object";
  } else {
    return true;
  }
  // Token texts may hold line breaks; an error is one line.
  for (char &c : error)
    if (static_cast<unsigned char>(c) < 0x20)
      c = ' ';
  error = "tokenizer.json: " + error;
  return false;
}
