//===- Unicode.cpp - UTF-8 and character properties -----------------------===//
#include "Unicode.h"

#include "qc/Runtime/Tokenizer/Tokenizer.h"

#include <algorithm>
#include <utf8proc.h>
#include <vector>

using namespace qc::rt;

unicode::Decoded unicode::decode(std::string_view text, size_t pos) {
  constexpr Decoded Bad = {0xFFFD, 1, false};
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[pos + i]); };
  auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  size_t left = text.size() - pos;
  uint32_t lead = byte(0);
  if (lead < 0x80)
    return {lead, 1, true};
  if ((lead & 0xE0) == 0xC0) {
    if (left < 2 || !tail(1) || lead < 0xC2)
      return Bad;
    return {(lead & 0x1Fu) << 6 | (byte(1) & 0x3Fu), 2, true};
  }
  if ((lead & 0xF0) == 0xE0) {
    if (left < 3 || !tail(1) || !tail(2))
      return Bad;
    uint32_t c =
        (lead & 0xFu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    if (c < 0x800 || (c >= 0xD800 && c < 0xE000))
      return Bad;
    return {c, 3, true};
  }
  if ((lead & 0xF8) == 0xF0) {
    if (left < 4 || !tail(1) || !tail(2) || !tail(3))
      return Bad;
    uint32_t c = (lead & 0x7u) << 18 | (byte(1) & 0x3Fu) << 12 |
                 (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
    if (c < 0x10000 || c > 0x10FFFF)
      return Bad;
    return {c, 4, true};
  }
  return Bad;
}

void unicode::append(std::string &out, uint32_t c) {
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

bool qc::rt::validUtf8(std::string_view text, size_t &badOffset) {
  for (size_t pos = 0; pos < text.size();) {
    unicode::Decoded d = unicode::decode(text, pos);
    if (!d.valid) {
      badOffset = pos;
      return false;
    }
    pos += d.length;
  }
  return true;
}

std::string unicode::sanitize(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    Decoded d = decode(text, pos);
    if (d.valid)
      out.append(text.substr(pos, d.length));
    else
      append(out, 0xFFFD);
    pos += d.length;
  }
  return out;
}

bool unicode::contains(std::span<const Range> sorted, uint32_t c) {
  auto it =
      std::upper_bound(sorted.begin(), sorted.end(), c,
                       [](uint32_t v, const Range &r) { return v < r.first; });
  return it != sorted.begin() && c <= std::prev(it)->last;
}

bool unicode::isWhitespace(uint32_t c) {
  if (c < 0x80)
    return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode::isNumeric(uint32_t c) {
  if (c < 0x80)
    return c >= '0' && c <= '9';
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_NO:
    return true;
  default:
    return contains(addedNumeric(), c);
  }
}

bool unicode::isPunctuation(uint32_t c) {
  if (c < 0x80)
    return c > 0x20 && c < 0x7F && !(c >= '0' && c <= '9') &&
           !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z');
  // These two were punctuation and symbol before Unicode 12 and 8.
  if (c == 0x166D || c == 0x111C9)
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_PC:
  case UTF8PROC_CATEGORY_PD:
  case UTF8PROC_CATEGORY_PS:
  case UTF8PROC_CATEGORY_PE:
  case UTF8PROC_CATEGORY_PI:
  case UTF8PROC_CATEGORY_PF:
  case UTF8PROC_CATEGORY_PO:
    return !contains(laterPunctuation(), c);
  default:
    return false;
  }
}

bool unicode::isWord(uint32_t c) {
  if (c < 0x80)
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z') || c == '_';
  // Join_Control, and the symbols that are Other_Alphabetic.
  if (c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
      (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
      (c >= 0x1F170 && c <= 0x1F189))
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default:
    break;
  }
  for (const CategoryRange &r : addedCategories())
    if (c >= r.first && c <= r.last)
      return r.category[0] == 'L' || r.category[0] == 'M' ||
             std::string_view(r.category) == "Nd";
  return false;
}

/// Normalizes a run of characters that all tables know.
static void normalizeRun(std::string_view run, unicode::Form form,
                         std::string &out) {
  using unicode::Form;
  int options = UTF8PROC_STABLE;
  options |= form == Form::NFC || form == Form::NFKC ? UTF8PROC_COMPOSE
                                                     : UTF8PROC_DECOMPOSE;
  if (form == Form::NFKC || form == Form::NFKD)
    options |= UTF8PROC_COMPAT;
  auto *bytes = reinterpret_cast<const utf8proc_uint8_t *>(run.data());
  auto length = static_cast<utf8proc_ssize_t>(run.size());
  utf8proc_uint8_t *result = nullptr;
  utf8proc_ssize_t size = utf8proc_map(bytes, length, &result,
                                       static_cast<utf8proc_option_t>(options));
  if (size < 0) { // out of memory; the text is known to be well formed
    out.append(run);
    return;
  }
  out.append(reinterpret_cast<char *>(result), static_cast<size_t>(size));
  free(result);
}

std::string unicode::normalize(std::string_view text, Form form) {
  std::string out;
  out.reserve(text.size());
  // Later characters are unassigned for the reference: starters that neither
  // decompose nor compose, hence they separate independent runs. So does ASCII
  // in front of ASCII, which saves plain text from the general path.
  size_t runStart = 0, pos = 0;
  auto flush = [&](size_t end) {
    if (end > runStart)
      normalizeRun(text.substr(runStart, end - runStart), form, out);
  };
  while (pos < text.size()) {
    uint8_t b = static_cast<uint8_t>(text[pos]);
    if (b < 0x80) {
      size_t end = pos + 1;
      while (end < text.size() && static_cast<uint8_t>(text[end]) < 0x80)
        ++end;
      // The last ASCII character may compose with what follows.
      if (end - pos > 1 || end == text.size()) {
        size_t keep = end == text.size() ? end : end - 1;
        flush(pos);
        out.append(text.substr(pos, keep - pos));
        runStart = keep;
      }
      pos = end;
      continue;
    }
    Decoded d = decode(text, pos);
    if (contains(laterNormalization(), d.codePoint)) {
      flush(pos);
      out.append(text.substr(pos, d.length));
      runStart = pos + d.length;
    }
    pos += d.length;
  }
  flush(text.size());
  return out;
}

std::string unicode::lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    Decoded d = decode(text, pos);
    pos += d.length;
    uint32_t c = d.codePoint;
    if (c < 0x80) {
      out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
      continue;
    }
    if (c == 0x130) { // the only character whose lowercase is two
      out += "i\xCC\x87";
      continue;
    }
    uint32_t lower = static_cast<uint32_t>(
        utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    for (const CasePair &p : addedLowercase())
      if (c >= p.upper && c < p.upper + p.count)
        lower = p.lower + (c - p.upper);
    append(out, lower);
  }
  return out;
}
