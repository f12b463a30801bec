//===- Json.cpp - JSON of checkpoints, read with suspicion ----------------===//
#include "qc/Frontend/Json.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace qc;
using llvm::StringRef;

constexpr uint64_t maxJsonFile = uint64_t(64) << 20;

std::string qc::quote(StringRef text) {
  constexpr size_t limit = 200;
  std::string valid =
      llvm::json::isUTF8(text) ? text.str() : llvm::json::fixUTF8(text);
  std::string result = "'";
  size_t count = 0;
  for (char c : valid) {
    // Do not cut a character in two: continuation bytes always follow.
    if (count++ >= limit && (c & 0xc0) != 0x80) {
      result += "...";
      break;
    }
    result += llvm::isASCII(c) && !llvm::isPrint(c) ? '?' : c;
  }
  return result + "'";
}

std::string qc::describe(const Json &value) {
  constexpr size_t limit = 60;
  if (value.is_object())
    return "an object";
  if (value.is_array() && value.size() > 16)
    return "an array of " + std::to_string(value.size());
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true,
                                Json::error_handler_t::replace);
  if (text.size() > limit)
    text = text.substr(0, limit) + "...";
  return text;
}

namespace {

/// Builds the value from the parser's events (nlohmann's "SAX" interface).
class Builder {
public:
  std::string error;

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string &) { return add(value); }
  bool string(std::string &value) { return add(std::move(value)); }
  bool binary(Json::binary_t &) { return false; } // not in JSON text
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string &name) {
    auto [position, inserted] = stack.back()->emplace(name, nullptr);
    if (!inserted) {
      error = "duplicate key " + quote(name);
      return false;
    }
    slot = &*position;
    return true;
  }

  bool parse_error(size_t, const std::string &, const Json::exception &e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    StringRef what = e.what();
    error = "not JSON: " + quote(what.substr(what.find("] ") + 2)).substr(1);
    error.pop_back();
    return false;
  }

  Json take() { return std::move(root); }

private:
  Json *place(Json value) {
    if (stack.empty()) {
      root = std::move(value);
      return &root;
    }
    if (stack.back()->is_array()) {
      stack.back()->push_back(std::move(value));
      return &stack.back()->back();
    }
    *slot = std::move(value);
    return slot;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (stack.size() == maxJsonDepth) {
      error = "nested deeper than " + std::to_string(maxJsonDepth) + " levels";
      return false;
    }
    stack.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    stack.pop_back();
    return true;
  }

  Json root;
  Json *slot = nullptr; ///< of the last key
  std::vector<Json *> stack;
};

} // namespace

llvm::Expected<Json> qc::parseJson(StringRef text, StringRef what) {
  size_t bad = 0;
  if (!llvm::json::isUTF8(text, &bad))
    return makeError(what, ": not UTF-8, first bad byte at ", bad);
  Builder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder))
    return makeError(what, ": ", builder.error);
  return builder.take();
}

llvm::Expected<Json> qc::readJsonFile(StringRef path) {
  llvm::sys::fs::file_status status;
  if (std::error_code code = llvm::sys::fs::status(path, status))
    return makeError("cannot read '", path, "': ", code.message());
  if (status.type() != llvm::sys::fs::file_type::regular_file)
    return makeError("cannot read '", path, "': not a regular file");
  if (status.getSize() > maxJsonFile)
    return makeError(path, ": ", status.getSize(), " bytes, expected at most ",
                     maxJsonFile);
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return makeError("cannot read '", path, "': ", buffer.getError().message());
  return parseJson((*buffer)->getBuffer(), path);
}
