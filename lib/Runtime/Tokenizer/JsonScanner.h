//===- JsonScanner.h - Fast strict JSON scanner -----------------*- C++ -*-===//
//
// A tokenizer.json has up to 17 MB and is read at every start of the user's
// program; this scanner reads it several times faster than the general library
// and hands out strings without copying them. Calls the members of a handler:
//
//   bool onNull(), onBool(bool), onInteger(int64_t), onUnsigned(uint64_t),
//        onFloat(double), onString(std::string_view), onKey(std::string_view),
//        onObject(), onObjectEnd(), onArray(), onArrayEnd()
//
// Strings are valid UTF-8 and live as long as the text and the scanner.
// Handlers return false to stop.
//
// Source: RFC 8259
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_JSONSCANNER_H
#define QC_LIB_RUNTIME_TOKENIZER_JSONSCANNER_H

#include "Unicode.h"

#include <charconv>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace qc::rt {

template <typename Handler>
class JsonScanner {
public:
  static constexpr size_t MaxDepth = 64;

  /// `unescaped` receives the strings that had to be rewritten.
  JsonScanner(std::string_view text, Handler &handler,
              std::deque<std::string> &unescaped)
      : text(text), handler(handler), unescaped(unescaped) {}

  /// False if malformed (`problem` says why, at `position`) or stopped by the
  /// handler (`problem` is null).
  bool scan() {
    std::vector<bool> isObject;
    bool needKey = false;
    while (true) {
      skipSpace();
      if (needKey) {
        std::string_view key;
        if (peek() != '"')
          return fail("expected a member name");
        if (!string(key))
          return false;
        skipSpace();
        if (peek() != ':')
          return fail("expected ':'");
        ++position;
        if (!handler.onKey(key))
          return false;
        skipSpace();
        needKey = false;
      }
      char c = peek();
      if (c == '{' || c == '[') {
        if (isObject.size() >= MaxDepth)
          return fail("nested too deeply");
        ++position;
        isObject.push_back(c == '{');
        if (!(c == '{' ? handler.onObject() : handler.onArray()))
          return false;
        skipSpace();
        if (peek() != (c == '{' ? '}' : ']')) {
          needKey = c == '{';
          continue;
        }
      } else if (!scalar(c)) {
        return false;
      }
      // A value is complete: close what ends here.
      while (true) {
        if (isObject.empty()) {
          skipSpace();
          return position == text.size() || fail("unexpected text at the end");
        }
        skipSpace();
        char next = peek();
        if (next == ',') {
          ++position;
          needKey = isObject.back();
          break;
        }
        if (next != (isObject.back() ? '}' : ']'))
          return fail(isObject.back() ? "expected ',' or '}'"
                                      : "expected ',' or ']'");
        ++position;
        if (!(isObject.back() ? handler.onObjectEnd() : handler.onArrayEnd()))
          return false;
        isObject.pop_back();
      }
    }
  }

  size_t position = 0;
  const char *problem = nullptr;

private:
  bool fail(const char *what) {
    problem = what;
    return false;
  }
  /// NUL at the end of the text, which is no valid character either.
  char peek() const { return position < text.size() ? text[position] : '\0'; }
  void skipSpace() {
    while (position < text.size() &&
           (text[position] == ' ' || text[position] == '\n' ||
            text[position] == '\r' || text[position] == '\t'))
      ++position;
  }
  bool literal(std::string_view word) {
    if (text.substr(position, word.size()) != word)
      return fail("expected a value");
    position += word.size();
    return true;
  }

  bool scalar(char c) {
    switch (c) {
    case '"': {
      std::string_view s;
      return string(s) && handler.onString(s);
    }
    case 't':
      return literal("true") && handler.onBool(true);
    case 'f':
      return literal("false") && handler.onBool(false);
    case 'n':
      return literal("null") && handler.onNull();
    default:
      return number();
    }
  }

  static bool isDigit(char c) { return c >= '0' && c <= '9'; }

  bool number() {
    size_t start = position;
    bool negative = peek() == '-', integer = true;
    position += negative;
    if (!isDigit(peek()))
      return fail("expected a value");
    if (peek() == '0')
      ++position;
    else
      while (isDigit(peek()))
        ++position;
    if (peek() == '.') {
      integer = false;
      ++position;
      if (!isDigit(peek()))
        return fail("expected a digit");
      while (isDigit(peek()))
        ++position;
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++position;
      if (peek() == '+' || peek() == '-')
        ++position;
      if (!isDigit(peek()))
        return fail("expected a digit");
      while (isDigit(peek()))
        ++position;
    }
    const char *first = text.data() + start, *last = text.data() + position;
    if (integer && negative) {
      int64_t value = 0;
      if (std::from_chars(first, last, value).ec == std::errc())
        return handler.onInteger(value);
    } else if (integer) {
      uint64_t value = 0;
      if (std::from_chars(first, last, value).ec == std::errc())
        return handler.onUnsigned(value);
    }
    double value = 0;
    if (std::from_chars(first, last, value).ec != std::errc())
      return fail("number out of range");
    return handler.onFloat(value);
  }

  bool string(std::string_view &out) {
    size_t start = ++position;
    while (position < text.size()) {
      uint8_t c = static_cast<uint8_t>(text[position]);
      if (c == '"') {
        out = text.substr(start, position - start);
        ++position;
        return true;
      }
      if (c == '\\')
        return escapedString(start, out);
      if (!plain(c))
        return false;
    }
    return fail("unterminated string");
  }

  /// Steps over one character of a string.
  bool plain(uint8_t c) {
    if (c >= 0x20 && c < 0x80) {
      ++position;
      return true;
    }
    if (c < 0x20)
      return fail("control character in a string");
    unicode::Decoded d = unicode::decode(text, position);
    if (!d.valid)
      return fail("ill-formed UTF-8");
    position += d.length;
    return true;
  }

  bool hex(uint32_t &value) {
    if (text.size() - position < 4)
      return fail("short \\u escape");
    const char *first = text.data() + position;
    auto result = std::from_chars(first, first + 4, value, 16);
    if (result.ec != std::errc() || result.ptr != first + 4)
      return fail("short \\u escape");
    position += 4;
    return true;
  }

  bool escapedString(size_t start, std::string_view &out) {
    std::string s(text.substr(start, position - start));
    while (position < text.size()) {
      uint8_t c = static_cast<uint8_t>(text[position]);
      if (c == '"') {
        ++position;
        unescaped.push_back(std::move(s));
        out = unescaped.back();
        return true;
      }
      if (c != '\\') {
        size_t before = position;
        if (!plain(c))
          return false;
        s.append(text.substr(before, position - before));
        continue;
      }
      ++position;
      char e = peek();
      ++position;
      static constexpr std::string_view From = "\"\\/bfnrt",
                                        To = "\"\\/\b\f\n\r\t";
      if (size_t at = From.find(e); at != std::string_view::npos && e) {
        s += To[at];
        continue;
      }
      if (e != 'u')
        return fail("unknown escape in a string");
      uint32_t code = 0, low = 0;
      if (!hex(code))
        return false;
      if (code >= 0xD800 && code < 0xDC00) {
        if (text.substr(position, 2) != "\\u")
          return fail("lone surrogate");
        position += 2;
        if (!hex(low))
          return false;
        if (low < 0xDC00 || low > 0xDFFF)
          return fail("lone surrogate");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      } else if (code >= 0xDC00 && code < 0xE000) {
        return fail("lone surrogate");
      }
      unicode::append(s, code);
    }
    return fail("unterminated string");
  }

  std::string_view text;
  Handler &handler;
  std::deque<std::string> &unescaped;
};

} // namespace qc::rt

#endif // QC_LIB_RUNTIME_TOKENIZER_JSONSCANNER_H
