//===- Spelling.cpp - Reads the textual form of a format ------------------===//
#include "Spelling.h"

#include <algorithm>
#include <charconv>

using namespace qc;

static bool isWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/// One printable line of bounded length for an error message.
static std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 100))
    out += c >= ' ' && c <= '~' ? c : '?';
  return text.size() > 100 ? out + "..." : out;
}

Spelling::Spelling(std::string_view source) : text(printable(source)) {
  parse(source);
}

void Spelling::parse(std::string_view source) {
  size_t at = 0;
  auto skipSpace = [&] {
    while (at < source.size() && (source[at] == ' ' || source[at] == '\t'))
      ++at;
  };
  auto word = [&] {
    skipSpace();
    size_t begin = at;
    while (at < source.size() && isWordChar(source[at]))
      ++at;
    return std::string(source.substr(begin, at - begin));
  };
  auto accept = [&](char c) {
    skipSpace();
    if (at >= source.size() || source[at] != c)
      return false;
    ++at;
    return true;
  };
  auto found = [&] {
    return at < source.size() ? "'" + printable(source.substr(at, 1)) + "'"
                              : std::string("the end");
  };

  name = word();
  if (name.empty())
    return fail("expected the name of a format, found " + found());
  if (!accept('<'))
    return fail("expected '<' after '" + printable(name) + "', found " +
                found());
  do {
    std::string key, value = word();
    if (accept('=')) {
      key = std::move(value);
      value = word();
    }
    if (value.empty())
      return fail("expected a value" +
                  (key.empty() ? "" : " for '" + printable(key) + "'") +
                  ", found " + found());
    bool twice = std::any_of(parameters.begin(), parameters.end(),
                             [&](auto &p) { return p.first == key; });
    if (twice && !key.empty())
      return fail("parameter '" + printable(key) + "' is given twice");
    if (twice)
      return fail("unexpected value '" + printable(value) + "'");
    parameters.emplace_back(std::move(key), std::move(value));
  } while (accept(','));
  if (!accept('>'))
    return fail("expected ',' or '>', found " + found());
  skipSpace();
  if (at != source.size())
    fail("expected the end after '>', found " + found());
}

void Spelling::fail(const std::string &message) {
  if (error.empty())
    error = "format '" + text + "': " + message;
}

bool Spelling::has(std::string_view parameter) const {
  return std::any_of(parameters.begin(), parameters.end(),
                     [&](auto &p) { return p.first == parameter; });
}

std::string Spelling::take(std::string_view parameter) {
  for (auto it = parameters.begin(); it != parameters.end(); ++it)
    if (it->first == parameter) {
      std::string value = std::move(it->second);
      parameters.erase(it);
      return value;
    }
  return {};
}

std::string Spelling::takeWord() { return take(""); }

int64_t Spelling::takeInteger(std::string_view parameter, int64_t low,
                              int64_t high) {
  std::string what(parameter);
  if (!has(parameter)) {
    fail("parameter '" + what + "' is missing");
    return low;
  }
  std::string value = take(parameter);
  int64_t number = 0;
  auto [end, status] =
      std::from_chars(value.data(), value.data() + value.size(), number);
  if (status == std::errc::invalid_argument ||
      end != value.data() + value.size()) {
    fail(what + " must be an integer, found '" + printable(value) + "'");
    return low;
  }
  if (status != std::errc() || number < low || number > high) {
    fail(what + " must lie in [" + std::to_string(low) + ", " +
         std::to_string(high) + "], found " + printable(value));
    return low;
  }
  return number;
}

int64_t Spelling::takeGroup() {
  for (auto &[key, value] : parameters)
    if (key == "group" && value == "channel") {
      take("group");
      return 0;
    }
  return takeInteger("group", 0, INT32_MAX);
}

DType Spelling::floatType(std::string_view what, std::string_view value) {
  if (value == "f32")
    return DType::F32;
  if (value == "f16")
    return DType::F16;
  if (value == "bf16")
    return DType::BF16;
  fail(std::string(what) + " must be f32, f16 or bf16, found '" +
       printable(value) + "'");
  return DType::F32;
}

DType Spelling::takeFloat(std::string_view parameter) {
  if (!has(parameter)) {
    fail("parameter '" + std::string(parameter) + "' is missing");
    return DType::F32;
  }
  return floatType(parameter, take(parameter));
}

std::string
Spelling::takeChoice(std::string_view parameter,
                     std::initializer_list<std::string_view> choices) {
  std::string value = take(parameter), list;
  for (std::string_view choice : choices) {
    if (value == choice)
      return value;
    bool last = choice == *(choices.end() - 1);
    list += (list.empty() ? "" : last ? " or " : ", ") + std::string(choice);
  }
  fail(std::string(parameter) + " must be " + list + ", found '" +
       printable(value) + "'");
  return std::string(*choices.begin());
}

bool Spelling::finish(std::string &out) {
  if (!parameters.empty()) {
    auto &[key, value] = parameters.front();
    fail(key.empty() ? "unexpected value '" + printable(value) + "'"
                     : "unknown parameter '" + printable(key) + "'");
  }
  out = error;
  return error.empty();
}

std::string qc::floatName(DType type) {
  return type == DType::F32 ? "f32" : type == DType::F16 ? "f16" : "bf16";
}

std::string qc::groupName(int64_t group) {
  return group == 0 ? "channel" : std::to_string(group);
}

std::optional<std::string> qc::checkShape(int64_t n, int64_t k) {
  // Far above any real matrix and low enough that no later product overflows.
  constexpr int64_t maxSize = int64_t(1) << 31, maxCount = int64_t(1) << 44;
  if (n < 1 || k < 1 || n > maxSize || k > maxSize || n * k > maxCount)
    return "weight has shape [" + std::to_string(n) + ", " + std::to_string(k) +
           "], expected positive sizes of at most 2^44 elements";
  return std::nullopt;
}
