//===- Regex.cpp - Oniguruma patterns on PCRE2 ----------------------------===//
//
// Source of Oniguruma's syntax: kkos/oniguruma doc/RE; of PCRE2's:
// pcre2pattern.
//
//===----------------------------------------------------------------------===//
#include "Regex.h"

#include "Unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <cstdio>
#include <pcre2.h>

using namespace qc::rt;

namespace {

// Contents of character classes.
constexpr const char *Space =
    "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}"
    "\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
constexpr const char *NonSpace =
    "\\x00-\\x08\\x0E-\\x1F\\x21-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}"
    "\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}"
    "\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}";

std::string hexRange(uint32_t first, uint32_t last) {
  char buffer[40];
  if (first == last)
    std::snprintf(buffer, sizeof buffer, "\\x{%X}", first);
  else
    std::snprintf(buffer, sizeof buffer, "\\x{%X}-\\x{%X}", first, last);
  return buffer;
}

/// Class contents for \p{name}; nullopt if the name is not supported.
std::optional<std::string> property(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7>
      LongNames = {{{"Letter", "L"},
                    {"Mark", "M"},
                    {"Number", "N"},
                    {"Punctuation", "P"},
                    {"Symbol", "S"},
                    {"Separator", "Z"},
                    {"Script=Han", "Han"}}};
  for (auto [longName, shortName] : LongNames)
    if (name == longName)
      name = shortName;
  std::string out;
  if (name == "Han") {
    out = "\\p{sc:Han}";
    for (const unicode::Range &r : unicode::addedHan())
      out += hexRange(r.first, r.last);
    return out;
  }
  // U+1171E moved from Mn to Mc, so these two are not mere additions.
  static constexpr std::string_view Known[] = {
      "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Me", "N",  "Nd",
      "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
      "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp"};
  if (std::find(std::begin(Known), std::end(Known), name) == std::end(Known))
    return std::nullopt;
  out = "\\p{" + std::string(name) + "}";
  for (const unicode::CategoryRange &r : unicode::addedCategories())
    if (std::string_view(r.category).substr(0, name.size()) == name)
      out += hexRange(r.first, r.last);
  return out;
}

/// Oniguruma's \w; the Latin-1 digits and fractions are its quirk.
std::string wordClass() {
  return *property("L") + *property("M") + *property("Nd") + "\\p{Nl}\\p{Pc}" +
         "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}\\x{24B6}-\\x{24E9}"
         "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}";
}

class Translator {
public:
  Translator(std::string_view in, std::string &error) : in(in), error(error) {}

  bool run() {
    while (pos < in.size()) {
      char c = in[pos];
      if (c == '\\') {
        if (!escape(false))
          return false;
      } else if (c == '[') {
        if (!characterClass())
          return false;
      } else if (c == '(' && in.substr(pos, 2) == "(?") {
        if (!groupStart())
          return false;
      } else {
        // Ruby repeats an interval on {1,3}+, PCRE2 makes it possessive; and
        // Ruby's {,3} is {0,3}.
        if (c == '}' && in.substr(pos, 2) == "}+")
          return fail("a possessive interval");
        if (c == '{' && in.substr(pos, 2) == "{,")
          return fail("an interval without a minimum");
        out += c;
        ++pos;
      }
    }
    return true;
  }

  std::string out;

private:
  bool fail(std::string what) {
    error = "regular expression: " + std::move(what) + " at offset " +
            std::to_string(pos) + " is not supported";
    return false;
  }

  bool emitClass(const std::string &contents, bool negated, bool inClass) {
    if (!inClass) {
      out += (negated ? "[^" : "[") + contents + "]";
      return true;
    }
    if (negated)
      return fail("a negated class inside of a character class");
    out += contents;
    return true;
  }

  bool escape(bool inClass) {
    if (pos + 1 >= in.size())
      return fail("a backslash at the end");
    char c = in[pos + 1];
    switch (c) {
    case 's':
      out += inClass ? std::string(Space) : "[" + std::string(Space) + "]";
      break;
    case 'S':
      out += inClass ? std::string(NonSpace) : "[^" + std::string(Space) + "]";
      break;
    case 'd':
    case 'D':
      if (!emitClass(*property("Nd"), c == 'D', inClass))
        return false;
      break;
    case 'w':
    case 'W':
      if (!emitClass(wordClass(), c == 'W', inClass))
        return false;
      break;
    case 'h':
    case 'H':
      if (!emitClass("0-9A-Fa-f", c == 'H', inClass))
        return false;
      break;
    case 'v':
      out += "\\x0B";
      break;
    case 'p':
    case 'P': {
      size_t close = in.find('}', pos);
      if (pos + 2 >= in.size() || in[pos + 2] != '{' ||
          close == std::string_view::npos)
        return fail("a property without braces");
      std::string_view name = in.substr(pos + 3, close - pos - 3);
      bool negated = c == 'P';
      if (!name.empty() && name[0] == '^') {
        negated = !negated;
        name.remove_prefix(1);
      }
      std::optional<std::string> contents = property(name);
      if (!contents)
        return fail("property \\p{" + std::string(name) + "}");
      if (!emitClass(*contents, negated, inClass))
        return false;
      pos = close + 1;
      return true;
    }
    case 'u': {
      if (pos + 6 > in.size())
        return fail("a short \\u escape");
      for (char digit : in.substr(pos + 2, 4))
        if (!isxdigit(static_cast<unsigned char>(digit)))
          return fail("a short \\u escape");
      out += "\\x{" + std::string(in.substr(pos + 2, 4)) + "}";
      pos += 6;
      return true;
    }
    case 'b':
      if (!inClass)
        return fail("\\b");
      out += "\\b";
      break;
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'a':
    case 'e':
    case 'x':
      out += {'\\', c};
      break;
    default:
      if (isalpha(static_cast<unsigned char>(c)) &&
          !(c == 'A' || c == 'z' || c == 'Z'))
        return fail(std::string("\\") + c);
      if (inClass && isalpha(static_cast<unsigned char>(c)))
        return fail(std::string("\\") + c + " in a character class");
      out += {'\\', c};
    }
    pos += 2;
    return true;
  }

  bool characterClass() {
    out += in[pos++];
    if (pos < in.size() && in[pos] == '^')
      out += in[pos++];
    if (pos < in.size() && in[pos] == ']') {
      out += "\\]";
      ++pos;
    }
    while (pos < in.size() && in[pos] != ']') {
      char c = in[pos];
      if (c == '[')
        return fail("a nested character class");
      if (in.substr(pos, 2) == "&&")
        return fail("an intersection of character classes");
      if (c == '\\') {
        if (!escape(true))
          return false;
        continue;
      }
      out += c;
      ++pos;
    }
    if (pos >= in.size())
      return fail("an unclosed character class");
    out += in[pos++];
    return true;
  }

  bool groupStart() {
    out += "(?";
    pos += 2;
    // Ruby's m is PCRE2's s; look-arounds, names and atomic groups are equal.
    while (pos < in.size() && (in[pos] == 'i' || in[pos] == 'm' ||
                               in[pos] == 'x' || in[pos] == '-')) {
      out += in[pos] == 'm' ? 's' : in[pos];
      ++pos;
    }
    if (pos < in.size() && in.substr(pos, 1).find_first_of(":=!<>)#") == 0)
      return true;
    return fail("a group option");
  }

  std::string_view in;
  std::string &error;
  size_t pos = 0;
};

/// What matching needs; made once a thread, since texts are often short.
struct MatchContext {
  pcre2_match_data *data = nullptr;
  pcre2_match_context *context = nullptr;
  pcre2_jit_stack *stack = nullptr;
  MatchContext() {
    // Only the whole match is of interest.
    data = pcre2_match_data_create(1, nullptr);
    context = pcre2_match_context_create(nullptr);
    stack = pcre2_jit_stack_create(64 << 10, 128 << 20, nullptr);
    if (context && stack) {
      pcre2_jit_stack_assign(context, nullptr, stack);
      // Bounds of a hostile pattern: seconds, and 256 MiB beside the stack.
      pcre2_set_match_limit(context, 50'000'000);
      pcre2_set_heap_limit(context, 256 << 10);
    }
  }
  ~MatchContext() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

} // namespace

void Regex::Deleter::operator()(void *code) const {
  pcre2_code_free(static_cast<pcre2_code *>(code));
}

std::optional<Regex> Regex::compile(std::string_view pattern, bool literal,
                                    std::string &error) {
  Regex regex;
  if (literal) {
    if (pattern.empty()) {
      error = "an empty string as a pattern is not supported";
      return std::nullopt;
    }
    regex.literal = true;
    regex.pattern = pattern;
    return regex;
  }
  if (pattern.size() > (64u << 10)) {
    error = "regular expression: longer than 64 KiB";
    return std::nullopt;
  }
  Translator translator(pattern, error);
  if (!translator.run())
    return std::nullopt;
  regex.pattern = std::move(translator.out);
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)>
      context(pcre2_compile_context_create(nullptr),
              &pcre2_compile_context_free);
  if (!context) {
    error = "regular expression: out of memory";
    return std::nullopt;
  }
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  size_t offset = 0;
  pcre2_code *compiled = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(regex.pattern.data()), regex.pattern.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &offset, context.get());
  if (!compiled) {
    PCRE2_UCHAR message[120] = {};
    pcre2_get_error_message(code, message, sizeof message);
    error =
        "regular expression: " + std::string(reinterpret_cast<char *>(message));
    return std::nullopt;
  }
  regex.code = std::shared_ptr<void>(compiled, Deleter());
  // Without a JIT compiler matching is slower and otherwise equal.
  (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return regex;
}

bool Regex::find(std::string_view text, std::vector<Span> &spans,
                 std::string &error) const {
  spans.clear();
  if (text.empty())
    return true;
  size_t previous = 0;
  auto add = [&](size_t begin, size_t end) {
    if (previous != begin)
      spans.push_back({previous, begin, false});
    spans.push_back({begin, end, true});
    previous = end;
  };
  if (literal) {
    for (size_t at = text.find(pattern); at != std::string_view::npos;
         at = text.find(pattern, at + pattern.size()))
      add(at, at + pattern.size());
  } else {
    auto *compiled = static_cast<const pcre2_code *>(code.get());
    thread_local MatchContext match;
    if (!match.data || !match.context || !match.stack) {
      error = "regular expression: out of memory";
      return false;
    }
    size_t from = 0;
    std::optional<size_t> lastEnd;
    while (from <= text.size()) {
      int rc = pcre2_match(compiled, reinterpret_cast<PCRE2_SPTR>(text.data()),
                           text.size(), from, PCRE2_NO_UTF_CHECK, match.data,
                           match.context);
      if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(compiled, reinterpret_cast<PCRE2_SPTR>(text.data()),
                         text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         match.data, match.context);
      if (rc == PCRE2_ERROR_NOMATCH)
        break;
      if (rc < 0) {
        PCRE2_UCHAR message[120] = {};
        pcre2_get_error_message(rc, message, sizeof message);
        error = "regular expression: " +
                std::string(reinterpret_cast<char *>(message)) + " at byte " +
                std::to_string(from) + " of the text";
        return false;
      }
      const size_t *range = pcre2_get_ovector_pointer(match.data);
      size_t begin = range[0], end = range[1];
      // As onig::FindMatches: no empty match right behind a match.
      if (begin >= end && lastEnd == end) {
        from += from < text.size() ? unicode::decode(text, from).length : 1;
        continue;
      }
      from = end;
      lastEnd = end;
      add(begin, end);
    }
  }
  if (previous != text.size())
    spans.push_back({previous, text.size(), false});
  return true;
}
