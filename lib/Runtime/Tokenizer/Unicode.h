//===- Unicode.h - UTF-8 and character properties ---------------*- C++ -*-===//
//
// Character properties in the Unicode versions of the reference tokenizers, so
// that ids agree for recent characters too. utf8proc provides the bulk, the
// tables in UnicodeDeltas.cpp what differs.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_RUNTIME_TOKENIZER_UNICODE_H
#define QC_LIB_RUNTIME_TOKENIZER_UNICODE_H

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qc::rt::unicode {

struct Decoded {
  uint32_t codePoint; ///< U+FFFD if ill-formed
  uint32_t length;    ///< bytes consumed, 1 if ill-formed
  bool valid;
};

/// The character that starts at text[pos], pos < text.size().
Decoded decode(std::string_view text, size_t pos);

void append(std::string &out, uint32_t codePoint);

/// `text` with every ill-formed byte replaced by U+FFFD.
std::string sanitize(std::string_view text);

bool isWhitespace(uint32_t c);  ///< White_Space
bool isNumeric(uint32_t c);     ///< Rust's char::is_numeric
bool isPunctuation(uint32_t c); ///< ASCII punctuation or P of Unicode 8
bool isWord(uint32_t c);        ///< \w of Rust's regex

enum class Form { NFC, NFD, NFKC, NFKD };
/// `text` is well formed.
std::string normalize(std::string_view text, Form form);
std::string lowercase(std::string_view text);

struct Range {
  uint32_t first, last;
};

bool contains(std::span<const Range> sorted, uint32_t c);

/// A range of one general category that Unicode 15.0 to 16.0 added.
struct CategoryRange {
  uint32_t first, last;
  char category[3];
};

/// Additions of Unicode 15.0, 15.1 and 16.0 (Oniguruma 6.9.10) to 14.0
/// (PCRE2 10.42).
std::span<const CategoryRange> addedCategories();
/// The same for Script=Han.
std::span<const Range> addedHan();
/// Rust's is_numeric beyond utf8proc 2.8 (Unicode 15.0).
std::span<const Range> addedNumeric();
/// Punctuation newer than the crate that `tokenizers` asks.
std::span<const Range> laterPunctuation();
/// Characters newer than the normalization tables of `tokenizers` (Unicode 9),
/// which it leaves as they are: those with a decomposition or a combining
/// class.
std::span<const Range> laterNormalization();
struct CasePair {
  uint32_t upper, lower, count; ///< upper + i -> lower + i
};
/// Lowercase mappings beyond utf8proc 2.8.
std::span<const CasePair> addedLowercase();

} // namespace qc::rt::unicode

#endif // QC_LIB_RUNTIME_TOKENIZER_UNICODE_H
