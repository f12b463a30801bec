//===- Normalizer.cpp - "normalizer" of tokenizer.json --------------------===//
#include "Normalizer.h"

#include <nlohmann/json.hpp>

using namespace qc::rt;
using nlohmann::json;

std::string qc::rt::componentType(const json &j) {
  if (!j.is_object())
    return "";
  auto it = j.find("type");
  return it != j.end() && it->is_string() ? it->get<std::string>() : "";
}

bool qc::rt::readBool(const json &j, const char *key, bool defaultValue,
                      const std::string &where, bool &out, std::string &error) {
  auto it = j.find(key);
  out = defaultValue;
  if (it == j.end() || it->is_null())
    return true;
  if (!it->is_boolean()) {
    error = where + ": '" + key + "' is not true or false";
    return false;
  }
  out = it->get<bool>();
  return true;
}

bool qc::rt::readString(const json &j, const char *key,
                        const std::string &where, std::string &out,
                        std::string &error) {
  auto it = j.find(key);
  if (it == j.end() || !it->is_string()) {
    error = where + ": no string '" + key + "'";
    return false;
  }
  out = it->get<std::string>();
  return true;
}

std::optional<Regex> qc::rt::parsePattern(const json &j,
                                          const std::string &where,
                                          std::string &error) {
  bool literal = true;
  const json *text = nullptr;
  if (j.is_object() && j.size() == 1) {
    if (auto it = j.find("String"); it != j.end())
      text = &*it;
    else if (auto re = j.find("Regex"); re != j.end()) {
      text = &*re;
      literal = false;
    }
  }
  if (!text || !text->is_string()) {
    error = where + ": pattern is neither a String nor a Regex";
    return std::nullopt;
  }
  std::optional<Regex> regex =
      Regex::compile(text->get_ref<const std::string &>(), literal, error);
  if (!regex)
    error = where + ": " + error;
  return regex;
}

bool Normalizer::parse(const json &j, Normalizer &out, std::string &error) {
  if (j.is_null())
    return true;
  return out.parseStep(j, 0, error);
}

bool Normalizer::parseStep(const json &j, int depth, std::string &error) {
  std::string type = componentType(j);
  if (type == "Sequence") {
    auto list = j.find("normalizers");
    if (list == j.end() || !list->is_array() || depth > 8) {
      error = "normalizer: Sequence without a list 'normalizers'";
      return false;
    }
    for (const json &item : *list)
      if (!parseStep(item, depth + 1, error))
        return false;
    return true;
  }
  Step step{};
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    step.kind = Kind::Unicode;
    step.form = type == "NFC"    ? unicode::Form::NFC
                : type == "NFD"  ? unicode::Form::NFD
                : type == "NFKC" ? unicode::Form::NFKC
                                 : unicode::Form::NFKD;
  } else if (type == "Lowercase") {
    step.kind = Kind::Lowercase;
  } else if (type == "Prepend") {
    step.kind = Kind::Prepend;
    if (!readString(j, "prepend", "normalizer Prepend", step.content, error))
      return false;
  } else if (type == "Replace") {
    step.kind = Kind::Replace;
    auto pattern = j.find("pattern");
    if (!readString(j, "content", "normalizer Replace", step.content, error))
      return false;
    step.pattern = parsePattern(pattern == j.end() ? json() : *pattern,
                                "normalizer Replace", error);
    if (!step.pattern)
      return false;
  } else if (type == "Strip") {
    step.kind = Kind::Strip;
    if (!readBool(j, "strip_left", false, "normalizer Strip", step.left,
                  error) ||
        !readBool(j, "strip_right", false, "normalizer Strip", step.right,
                  error))
      return false;
  } else {
    error = "normalizer '" + type +
            "' is not supported (NFC, NFD, NFKC, NFKD, Lowercase, Prepend, "
            "Replace, Strip and Sequence are)";
    return false;
  }
  steps.push_back(std::move(step));
  return true;
}

static void strip(std::string &text, bool left, bool right, bool &atStart) {
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    unicode::Decoded d = unicode::decode(text, begin);
    if (!unicode::isWhitespace(d.codePoint))
      break;
    begin += d.length;
    atStart = false;
  }
  while (right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (static_cast<uint8_t>(text[last]) & 0xC0) == 0x80)
      --last;
    if (!unicode::isWhitespace(unicode::decode(text, last).codePoint))
      break;
    end = last;
  }
  text = text.substr(begin, end - begin);
}

bool Normalizer::apply(std::string &text, bool &atStart,
                       std::string &error) const {
  for (const Step &step : steps) {
    switch (step.kind) {
    case Kind::Unicode:
      text = unicode::normalize(text, step.form);
      break;
    case Kind::Lowercase:
      text = unicode::lowercase(text);
      break;
    case Kind::Prepend:
      if (!text.empty())
        text.insert(0, step.content);
      break;
    case Kind::Strip:
      strip(text, step.left, step.right, atStart);
      break;
    case Kind::Replace: {
      std::vector<Span> spans;
      if (!step.pattern->find(text, spans, error))
        return false;
      std::string result;
      result.reserve(text.size());
      for (const Span &span : spans) {
        if (!span.isMatch) {
          result.append(text, span.begin, span.end - span.begin);
          continue;
        }
        // The replacement is aligned to the last character that it replaces.
        if (span.begin == 0 && span.end > 0 &&
            (step.content.empty() ||
             unicode::decode(text, 0).length != span.end))
          atStart = false;
        result += step.content;
      }
      text = std::move(result);
      break;
    }
    }
  }
  return true;
}
