//===- RegexTest.cpp - Tests of patterns and characters -------------------===//
#include "Regex.h"
#include "Unicode.h"

#include "qc/Runtime/Tokenizer/Tokenizer.h"

#include <gtest/gtest.h>

using namespace qc::rt;

/// The matches, joined by '|'; "error: ..." if the pattern is refused.
static std::string matches(std::string_view pattern, std::string_view text,
                           bool literal = false) {
  std::string error;
  std::optional<Regex> regex = Regex::compile(pattern, literal, error);
  std::vector<Span> spans;
  if (!regex || !regex->find(text, spans, error))
    return "error: " + error;
  std::string out;
  size_t covered = 0;
  for (const Span &s : spans) {
    EXPECT_EQ(s.begin, covered);
    covered = s.end;
    if (s.isMatch)
      out += std::string(text.substr(s.begin, s.end - s.begin)) + "|";
  }
  EXPECT_EQ(covered, text.size());
  return out;
}

TEST(Regex, MeansWhatOnigurumaMeans) {
  EXPECT_EQ(matches("\\s+", "a \t\xC2\x85\xE1\xA0\x8E b"), " \t\xC2\x85| |");
  EXPECT_EQ(matches("[^\\s]+", "a b"), "a|b|");
  EXPECT_EQ(matches("[\\S]+", "a b"), "a|b|");
  EXPECT_EQ(matches("\\v", "\n\v"), "\v|");
  EXPECT_EQ(matches("\\h+", "fa0g"), "fa0|");
  EXPECT_EQ(matches("\\w+", "e\xCC\x81_1 \xC2\xB2-"), "e\xCC\x81_1|\xC2\xB2|");
  EXPECT_EQ(matches("a.c", "a\nc"), "");
  EXPECT_EQ(matches("(?m:a.c)", "a\nc"), "a\nc|");
  EXPECT_EQ(matches("^b$", "a\nb\nc"), "b|");
  EXPECT_EQ(matches("\\Ab|c\\z", "b\nbc"), "b|c|");
  EXPECT_EQ(matches("\\u0041", "xAx"), "A|");
  // U+31350 is a letter since Unicode 15, U+105C0 since 16.
  EXPECT_EQ(matches("\\p{L}+", "\xF0\xB1\x8D\x90\xF0\x90\x97\x80."),
            "\xF0\xB1\x8D\x90\xF0\x90\x97\x80|");
  EXPECT_EQ(matches("\\P{L}+", "\xF0\xB1\x8D\x90."), ".|");
  EXPECT_EQ(matches("[^\\p{L}]+", "\xF0\xB1\x8D\x90."), ".|");
  // U+3001 is not in the script Han, only in its extensions.
  EXPECT_EQ(matches("\\p{Han}+", "\xE4\xB8\x80\xE3\x80\x81"), "\xE4\xB8\x80|");
  EXPECT_EQ(matches("x*", "axxb"), "|xx||");
  EXPECT_EQ(matches("a.b", "a.b axb", true), "a.b|");
}

TEST(Regex, RefusesWhatWouldDiffer) {
  for (const char *pattern :
       {"\\bword", "[a&&b]", "[a[b]]", "\\p{Arabic}", "\\p{Mn}", "[\\P{L}]",
        "[\\W]", "a{1,3}+", "a{,3}", "\\Kx", "\\Gx", "\\Rx", "\\pL", "(?u)x",
        "\\", "[a", "(a", "*"})
    EXPECT_EQ(matches(pattern, "x").substr(0, 26), "error: regular expression:")
        << pattern << " -> " << matches(pattern, "x");
  EXPECT_EQ(matches("", "x", true).substr(0, 6), "error:");
}

TEST(Regex, LimitsHostilePatterns) {
  std::string text(40, 'a');
  EXPECT_EQ(matches("(a+)+b|(a|a)*c", text + "d").substr(0, 6), "error:");
  // Long texts alone are no problem.
  std::string longText(1 << 20, ' ');
  EXPECT_EQ(matches("\\s+(?!\\S)|\\s+", longText).size(), longText.size() + 1);
  EXPECT_EQ(matches("(?:a|b)+", std::string(1 << 20, 'a')).size(),
            (1u << 20) + 1);
}

TEST(Unicode, DecodesOnlyWellFormedText) {
  size_t bad = 99;
  EXPECT_TRUE(validUtf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", bad));
  for (std::string_view text :
       {"ab\x80", "ab\xC3", "ab\xC0\x80", "ab\xE0\x80\x80", "ab\xED\xA0\x80",
        "ab\xF0\x80\x80\x80", "ab\xF4\x90\x80\x80", "ab\xFF", "ab\xE2\x82"}) {
    EXPECT_FALSE(validUtf8(text, bad));
    EXPECT_EQ(bad, 2u);
  }
  EXPECT_EQ(unicode::sanitize("a\xE2\x82z"), "a\xEF\xBF\xBD\xEF\xBF\xBDz");
  for (uint32_t c :
       {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    unicode::append(text, c);
    unicode::Decoded d = unicode::decode(text, 0);
    EXPECT_TRUE(d.valid);
    EXPECT_EQ(d.codePoint, c);
    EXPECT_EQ(d.length, text.size());
  }
}

TEST(Unicode, Normalizes) {
  using unicode::Form;
  EXPECT_EQ(unicode::normalize("e\xCC\x81x", Form::NFC), "\xC3\xA9x");
  EXPECT_EQ(unicode::normalize("\xC3\xA9", Form::NFD), "e\xCC\x81");
  EXPECT_EQ(unicode::normalize("\xEF\xAC\x81\xC2\xBD", Form::NFKC),
            "fi1\xE2\x81\x84"
            "2");
  EXPECT_EQ(unicode::normalize("plain", Form::NFKD), "plain");
  // Combining marks are sorted, also behind ASCII and between runs.
  EXPECT_EQ(unicode::normalize("abc\xCC\x81\xCC\xA3", Form::NFC),
            unicode::normalize("abc\xCC\xA3\xCC\x81", Form::NFC));
  // U+32FF (Unicode 12.1) is unassigned for the reference.
  EXPECT_EQ(unicode::normalize("\xE3\x8B\xBF", Form::NFKC), "\xE3\x8B\xBF");
  EXPECT_EQ(unicode::lowercase("A\xC4\xB0\xC3\x9C\xE1\xB2\x89"),
            "ai\xCC\x87\xC3\xBC\xE1\xB2\x8A");
}
