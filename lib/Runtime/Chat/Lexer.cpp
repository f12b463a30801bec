//===- Lexer.cpp - Tokens of templates ------------------------------------===//
//
// Source: pallets/jinja lexer.py
//
//===----------------------------------------------------------------------===//
#include "Lexer.h"

#include <charconv>

using namespace qc::rt::chat;

static bool isSpaceByte(char c) { return (c >= 9 && c <= 13) || c == ' '; }
static bool isDigit(char c) { return c >= '0' && c <= '9'; }
static bool isNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

namespace {

class Lexer {
public:
  explicit Lexer(std::string_view text) {
    // Jinja normalizes line ends and drops one at the end of the file.
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\r') {
        source += '\n';
        i += i + 1 < text.size() && text[i + 1] == '\n';
      } else {
        source += text[i];
      }
    }
    if (source.ends_with('\n'))
      source.pop_back();
  }

  std::vector<Token> run() {
    while (pos < source.size())
      lexText();
    add(Token::End, "");
    return std::move(tokens);
  }

private:
  [[noreturn]] void fail(const std::string &message) const {
    throw TemplateError{"line " + std::to_string(line) + ": " + message};
  }
  void add(Token::Kind kind, std::string text) {
    tokens.push_back({kind, line, std::move(text)});
  }
  bool at(std::string_view s) const {
    return std::string_view(source).substr(pos, s.size()) == s;
  }
  void advance(size_t n) {
    for (; n && pos < source.size(); --n)
      line += source[pos++] == '\n';
  }
  void skipSpace() {
    while (pos < source.size() && isSpaceByte(source[pos]))
      advance(1);
  }

  /// Text up to the next tag, and the tag.
  void lexText() {
    size_t begin = pos, open = pos;
    while (true) {
      open = source.find('{', open);
      if (open == std::string::npos || open + 1 >= source.size()) {
        add(Token::Text, source.substr(begin));
        advance(source.size() - begin);
        return;
      }
      char next = source[open + 1];
      if (next == '{' || next == '%' || next == '#')
        break;
      ++open;
    }
    char kind = source[open + 1];
    std::string text = source.substr(begin, open - begin);
    char sign = open + 2 < source.size() ? source[open + 2] : '\0';
    if (sign == '-') {
      text = strip(text, nullptr, false, true);
    } else if (sign != '+' && kind != '{') {
      // lstrip_blocks: nothing but white space before the tag on its line.
      size_t lineStart = text.rfind('\n') + 1; // 0 if there is none
      size_t blank = lineStart;
      while (blank < text.size() && isSpaceByte(text[blank]))
        ++blank;
      if (blank == text.size() && (lineStart > 0 || lineStarting))
        text.resize(lineStart);
    }
    if (!text.empty())
      add(Token::Text, std::move(text));
    advance(open - begin + 2 + (sign == '-' || sign == '+'));
    lineStarting = false;
    if (kind == '#')
      lexComment();
    else
      lexTag(kind == '%');
  }

  /// Behind "%}" or "#}", `minus`: "-%}".
  void closeBlock(bool minus, bool plus) {
    if (minus) {
      size_t before = pos;
      skipSpace();
      lineStarting = pos > before && source[pos - 1] == '\n';
    } else if (!plus && at("\n")) { // trim_blocks
      advance(1);
      lineStarting = true;
    }
  }

  void lexComment() {
    size_t end = source.find("#}", pos);
    if (end == std::string::npos)
      fail("comment without an end");
    char sign = end > pos ? source[end - 1] : '\0';
    advance(end - pos + 2);
    closeBlock(sign == '-', sign == '+');
  }

  void lexTag(bool block) {
    size_t first = tokens.size();
    add(block ? Token::BlockBegin : Token::OutputBegin, "");
    std::string brackets;
    while (true) {
      skipSpace();
      if (pos >= source.size())
        fail("tag without an end");
      if (brackets.empty()) {
        std::string_view close = block ? "%}" : "}}";
        bool minus = at("-" + std::string(close));
        bool plus = block && at("+" + std::string(close));
        if (minus || plus || at(close)) {
          advance(close.size() + (minus || plus));
          add(block ? Token::BlockEnd : Token::OutputEnd, "");
          if (block)
            closeBlock(minus, plus);
          else if (minus)
            closeBlock(true, false);
          break;
        }
      }
      lexToken(brackets);
    }
    if (block && tokens.size() == first + 3 &&
        tokens[first + 1].text == "raw" &&
        tokens[first + 1].kind == Token::Name)
      lexRaw(first);
  }

  /// Text between {% raw %} and {% endraw %}; replaces the raw tag.
  void lexRaw(size_t first) {
    tokens.resize(first);
    size_t begin = pos;
    for (size_t open = source.find("{%", pos); open != std::string::npos;
         open = source.find("{%", open + 2)) {
      size_t p = open + 2;
      bool minus = p < source.size() && source[p] == '-';
      p += minus || (p < source.size() && source[p] == '+');
      while (p < source.size() && isSpaceByte(source[p]))
        ++p;
      if (source.compare(p, 6, "endraw") != 0)
        continue;
      p += 6;
      while (p < source.size() && isSpaceByte(source[p]))
        ++p;
      bool closeMinus = source.compare(p, 1, "-") == 0;
      bool closePlus = source.compare(p, 1, "+") == 0;
      p += closeMinus || closePlus;
      if (source.compare(p, 2, "%}") != 0)
        continue;
      std::string text = source.substr(begin, open - begin);
      if (minus)
        text = strip(text, nullptr, false, true);
      add(Token::Text, std::move(text));
      advance(p + 2 - pos);
      closeBlock(closeMinus, closePlus);
      return;
    }
    fail("'raw' without 'endraw'");
  }

  void lexToken(std::string &brackets) {
    char c = source[pos];
    if (isNameStart(c)) {
      size_t end = pos;
      while (end < source.size() &&
             (isNameStart(source[end]) || isDigit(source[end])))
        ++end;
      add(Token::Name, source.substr(pos, end - pos));
      advance(end - pos);
      return;
    }
    if (isDigit(c))
      return lexNumber();
    if (c == '"' || c == '\'')
      return lexString(c);
    for (std::string_view op : {"//", "**", "==", "!=", ">=", "<="})
      if (at(op)) {
        add(Token::Operator, std::string(op));
        advance(2);
        return;
      }
    if (std::string_view("+-*/%~()[]{}<>=.:|,").find(c) ==
        std::string_view::npos)
      fail(std::string("unexpected character '") + c + "'");
    if (c == '(' || c == '[' || c == '{')
      brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c)
        fail(std::string("unexpected '") + c + "'");
      brackets.pop_back();
    }
    add(Token::Operator, std::string(1, c));
    advance(1);
  }

  void lexNumber() {
    std::string digits;
    size_t end = pos;
    auto take = [&] {
      while (end < source.size() &&
             (isDigit(source[end]) ||
              (source[end] == '_' && end + 1 < source.size() &&
               isDigit(source[end + 1])))) {
        if (source[end] != '_')
          digits += source[end];
        ++end;
      }
    };
    take();
    bool real = false;
    if (end + 1 < source.size() && source[end] == '.' &&
        isDigit(source[end + 1])) {
      real = true;
      digits += source[end++];
      take();
    }
    size_t exponent = end;
    if (exponent < source.size() && (source[exponent] | 32) == 'e') {
      ++exponent;
      if (exponent < source.size() &&
          (source[exponent] == '+' || source[exponent] == '-'))
        ++exponent;
      if (exponent < source.size() && isDigit(source[exponent])) {
        digits += source.substr(end, exponent - end);
        end = exponent;
        real = true;
        take();
      }
    }
    Token token{real ? Token::Float : Token::Integer, line, digits};
    const char *first = digits.data(), *last = first + digits.size();
    std::errc status = real ? std::from_chars(first, last, token.real).ec
                            : std::from_chars(first, last, token.integer).ec;
    if (status != std::errc())
      fail("number '" + digits + "' is out of range");
    tokens.push_back(std::move(token));
    advance(end - pos);
  }

  static void appendUtf8(std::string &out, uint32_t c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
      out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
      out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    }
  }

  void lexString(char quote) {
    std::string text;
    int start = line;
    advance(1);
    while (true) {
      if (pos >= source.size())
        fail("string without an end");
      char c = source[pos];
      if (c == quote)
        break;
      if (c != '\\' || pos + 1 >= source.size()) {
        text += c;
        advance(1);
        continue;
      }
      // Python's escapes.
      char e = source[pos + 1];
      static constexpr std::string_view From = "\\'\"abfnrtv",
                                        To = "\\'\"\a\b\f\n\r\t\v";
      size_t known = From.find(e);
      size_t digits = e == 'x' ? 2 : e == 'u' ? 4 : e == 'U' ? 8 : 0;
      if (e == '\n') {
        advance(2);
      } else if (known != std::string_view::npos) {
        text += To[known];
        advance(2);
      } else if (digits) {
        uint32_t code = 0;
        const char *first = source.data() + pos + 2;
        if (source.size() - pos - 2 < digits ||
            std::from_chars(first, first + digits, code, 16).ptr !=
                first + digits ||
            code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
          fail("bad escape in a string");
        appendUtf8(text, code);
        advance(2 + digits);
      } else if (isDigit(e) || e == 'N') {
        fail("octal and named escapes are not supported");
      } else {
        text += c;
        text += e;
        advance(2);
      }
    }
    advance(1);
    tokens.push_back({Token::String, start, std::move(text)});
  }

  std::string source;
  std::vector<Token> tokens;
  size_t pos = 0;
  int line = 1;
  bool lineStarting = true;
};

} // namespace

std::vector<Token> qc::rt::chat::tokenize(std::string_view source) {
  return Lexer(source).run();
}
