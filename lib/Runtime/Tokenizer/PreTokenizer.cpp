//===- PreTokenizer.cpp - "pre_tokenizer" of tokenizer.json ---------------===//
#include "PreTokenizer.h"

#include <nlohmann/json.hpp>

using namespace qc::rt;
using nlohmann::json;

// The regular expression of GPT-2.
static constexpr const char *ByteLevelPattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| "
    "?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

bool PreTokenizer::parse(const json &j, PreTokenizer &out, std::string &error) {
  if (j.is_null())
    return true;
  return out.parseStep(j, 0, error);
}

bool PreTokenizer::parseBehavior(const json &j, const std::string &where,
                                 Behavior &out, std::string &error) {
  std::string name;
  if (!readString(j, "behavior", where, name, error))
    return false;
  if (name == "Removed")
    out = Behavior::Removed;
  else if (name == "Isolated")
    out = Behavior::Isolated;
  else if (name == "MergedWithPrevious")
    out = Behavior::Previous;
  else if (name == "MergedWithNext")
    out = Behavior::Next;
  else if (name == "Contiguous")
    out = Behavior::Contiguous;
  else {
    error = where + ": behavior '" + name + "' is not supported";
    return false;
  }
  return true;
}

bool PreTokenizer::parseStep(const json &j, int depth, std::string &error) {
  std::string type = componentType(j), where = "pre_tokenizer " + type;
  if (type == "Sequence") {
    auto list = j.find("pretokenizers");
    if (list == j.end() || !list->is_array() || depth > 8) {
      error = "pre_tokenizer: Sequence without a list 'pretokenizers'";
      return false;
    }
    for (const json &item : *list)
      if (!parseStep(item, depth + 1, error))
        return false;
    return true;
  }
  if (byteLevel) {
    error = "pre_tokenizer: '" + type + "' after ByteLevel is not supported";
    return false;
  }
  Step step{};
  if (type == "ByteLevel") {
    step.kind = Kind::ByteLevel;
    bool useRegex = true;
    if (!readBool(j, "add_prefix_space", true, where, step.prefixSpace,
                  error) ||
        !readBool(j, "use_regex", true, where, useRegex, error))
      return false;
    if (useRegex) {
      step.pattern = Regex::compile(ByteLevelPattern, false, error);
      if (!step.pattern)
        return false;
    }
    byteLevel = true;
  } else if (type == "Metaspace") {
    step.kind = Kind::Metaspace;
    if (!readString(j, "replacement", where, step.replacement, error) ||
        !readBool(j, "split", true, where, step.split, error))
      return false;
    if (step.replacement.empty() ||
        unicode::decode(step.replacement, 0).length !=
            step.replacement.size()) {
      error = where + ": 'replacement' is not one character";
      return false;
    }
    bool addPrefix = true;
    if (!readBool(j, "add_prefix_space", true, where, addPrefix, error))
      return false;
    std::string scheme = "always";
    if (j.contains("prepend_scheme") &&
        !readString(j, "prepend_scheme", where, scheme, error))
      return false;
    if (scheme == "always" && addPrefix)
      step.prepend = Prepend::Always;
    else if (scheme == "first" && addPrefix)
      step.prepend = Prepend::First;
    else if (scheme == "never" ||
             (scheme == "always" && !j.contains("prepend_scheme")))
      step.prepend = Prepend::Never;
    else {
      error =
          where + ": prepend_scheme '" + scheme +
          "' is not always, first or never, or contradicts add_prefix_space";
      return false;
    }
    if (step.split) {
      step.pattern = Regex::compile(step.replacement, true, error);
      if (!step.pattern)
        return false;
    }
  } else if (type == "Split" || type == "CharDelimiterSplit") {
    step.kind = Kind::Split;
    if (type == "Split") {
      auto pattern = j.find("pattern");
      step.pattern =
          parsePattern(pattern == j.end() ? json() : *pattern, where, error);
      if (!step.pattern || !parseBehavior(j, where, step.behavior, error) ||
          !readBool(j, "invert", false, where, step.invert, error))
        return false;
    } else {
      std::string delimiter;
      if (!readString(j, "delimiter", where, delimiter, error))
        return false;
      step.behavior = Behavior::Removed;
      step.pattern = Regex::compile(delimiter, true, error);
      if (!step.pattern) {
        error = where + ": " + error;
        return false;
      }
    }
  } else if (type == "Digits") {
    step.kind = Kind::Digits;
    bool individual = false;
    if (!readBool(j, "individual_digits", false, where, individual, error))
      return false;
    step.behavior = individual ? Behavior::Isolated : Behavior::Contiguous;
  } else if (type == "Punctuation") {
    step.kind = Kind::Punctuation;
    if (j.contains("behavior") &&
        !parseBehavior(j, where, step.behavior, error))
      return false;
  } else if (type == "WhitespaceSplit") {
    step.kind = Kind::Whitespace;
    step.behavior = Behavior::Removed;
  } else {
    error =
        "pre_tokenizer '" + type +
        "' is not supported (ByteLevel, Metaspace, Split, Digits, "
        "Punctuation, WhitespaceSplit, CharDelimiterSplit and Sequence are)";
    return false;
  }
  steps.push_back(std::move(step));
  return true;
}

void PreTokenizer::split(const Piece &piece, const std::vector<Span> &spans,
                         Behavior behavior, std::vector<Piece> &out) {
  auto emit = [&](size_t begin, size_t end) {
    if (begin != end)
      out.push_back(
          {piece.text.substr(begin, end - begin), piece.atStart && begin == 0});
  };
  switch (behavior) {
  case Behavior::Isolated:
    for (const Span &s : spans)
      emit(s.begin, s.end);
    return;
  case Behavior::Removed:
    for (const Span &s : spans)
      if (!s.isMatch)
        emit(s.begin, s.end);
    return;
  case Behavior::Contiguous:
  case Behavior::Previous: {
    bool previous = false;
    std::optional<Span> open;
    for (const Span &s : spans) {
      bool join = behavior == Behavior::Contiguous ? s.isMatch == previous
                                                   : s.isMatch && !previous;
      if (join && open) {
        open->end = s.end;
      } else {
        if (open)
          emit(open->begin, open->end);
        open = s;
      }
      previous = s.isMatch;
    }
    if (open)
      emit(open->begin, open->end);
    return;
  }
  case Behavior::Next: {
    // The same from right to left.
    std::vector<Span> joined;
    bool previous = false;
    for (size_t i = spans.size(); i-- > 0;) {
      const Span &s = spans[i];
      if (s.isMatch && !previous && !joined.empty())
        joined.back().begin = s.begin;
      else
        joined.push_back(s);
      previous = s.isMatch;
    }
    for (size_t i = joined.size(); i-- > 0;)
      emit(joined[i].begin, joined[i].end);
    return;
  }
  }
}

/// Every character that satisfies `predicate` is a match of its own.
static void findCharacters(std::string_view text, bool (*predicate)(uint32_t),
                           std::vector<Span> &spans) {
  spans.clear();
  size_t previous = 0;
  for (size_t pos = 0; pos < text.size();) {
    unicode::Decoded d = unicode::decode(text, pos);
    if (predicate(d.codePoint)) {
      if (previous < pos)
        spans.push_back({previous, pos, false});
      spans.push_back({pos, pos + d.length, true});
      previous = pos + d.length;
    }
    pos += d.length;
  }
  if (previous < text.size())
    spans.push_back({previous, text.size(), false});
}

bool PreTokenizer::apply(std::vector<Piece> &pieces,
                         std::deque<std::string> &storage,
                         std::string &error) const {
  std::vector<Piece> next;
  std::vector<Span> spans;
  for (const Step &step : steps) {
    next.clear();
    for (Piece piece : pieces) {
      switch (step.kind) {
      case Kind::ByteLevel:
        if (step.prefixSpace && !piece.text.starts_with(' ')) {
          storage.push_back(" " + std::string(piece.text));
          piece.text = storage.back();
        }
        break;
      case Kind::Metaspace: {
        std::string text;
        text.reserve(piece.text.size() * 2);
        for (char c : piece.text) {
          if (c == ' ')
            text += step.replacement;
          else
            text += c;
        }
        if (!text.starts_with(step.replacement) &&
            (step.prepend == Prepend::Always ||
             (step.prepend == Prepend::First && piece.atStart)))
          text.insert(0, step.replacement);
        storage.push_back(std::move(text));
        piece.text = storage.back();
        break;
      }
      default:
        break;
      }

      if (step.kind == Kind::Digits)
        findCharacters(piece.text, unicode::isNumeric, spans);
      else if (step.kind == Kind::Punctuation)
        findCharacters(piece.text, unicode::isPunctuation, spans);
      else if (step.kind == Kind::Whitespace)
        findCharacters(piece.text, unicode::isWhitespace, spans);
      else if (!step.pattern) {
        next.push_back(piece);
        continue;
      } else if (!step.pattern->find(piece.text, spans, error))
        return false;
      if (step.invert)
        for (Span &s : spans)
          s.isMatch = !s.isMatch;
      split(piece, spans,
            step.kind == Kind::Metaspace ? Behavior::Next : step.behavior,
            next);
    }
    pieces.swap(next);
  }
  return true;
}
