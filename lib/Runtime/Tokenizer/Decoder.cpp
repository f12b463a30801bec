//===- Decoder.cpp - "decoder" of tokenizer.json --------------------------===//
#include "Decoder.h"

#include "Bpe.h"

#include <algorithm>
#include <nlohmann/json.hpp>

using namespace qc::rt;
using nlohmann::json;

int qc::rt::byteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with(">"))
    return -1;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0)
      return -1;
    value = value * 16 + digit;
  }
  return value;
}

size_t qc::rt::illFormedLength(std::string_view text, size_t pos, bool eachByte,
                               bool atEnd) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  // How many bytes agree with the table of well-formed sequences (Unicode 3.9).
  uint8_t lead = byte(pos);
  size_t need = lead >= 0xC2 && lead <= 0xDF   ? 2
                : lead >= 0xE0 && lead <= 0xEF ? 3
                : lead >= 0xF0 && lead <= 0xF4 ? 4
                                               : 1;
  size_t have = 1;
  while (have < need && pos + have < text.size()) {
    uint8_t low = 0x80, high = 0xBF, b = byte(pos + have);
    if (have == 1) {
      low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
      high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    }
    if (b < low || b > high)
      break;
    ++have;
  }
  if (!atEnd && have < need && pos + have == text.size())
    return 0;
  return eachByte ? 1 : have;
}

std::string qc::rt::lossyText(std::string_view bytes, bool eachByte) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t pos = 0; pos < bytes.size();) {
    unicode::Decoded d = unicode::decode(bytes, pos);
    if (d.valid) {
      out.append(bytes.substr(pos, d.length));
      pos += d.length;
      continue;
    }
    unicode::append(out, 0xFFFD);
    pos += illFormedLength(bytes, pos, eachByte, true);
  }
  return out;
}

bool Decoder::parse(const json &j, Decoder &out, std::string &error) {
  if (j.is_null())
    return true;
  out.joinWithSpaces = false;
  return out.parseStep(j, 0, error);
}

bool Decoder::parseStep(const json &j, int depth, std::string &error) {
  std::string type = componentType(j), where = "decoder " + type;
  if (type == "Sequence") {
    auto list = j.find("decoders");
    if (list == j.end() || !list->is_array() || depth > 8) {
      error = "decoder: Sequence without a list 'decoders'";
      return false;
    }
    for (const json &item : *list)
      if (!parseStep(item, depth + 1, error))
        return false;
    return true;
  }
  Step step{};
  if (type == "ByteLevel") {
    step.kind = Kind::ByteLevel;
  } else if (type == "ByteFallback") {
    step.kind = Kind::ByteFallback;
  } else if (type == "Fuse") {
    step.kind = Kind::Fuse;
  } else if (type == "Metaspace") {
    step.kind = Kind::Metaspace;
    std::string scheme = "always";
    bool addPrefix = true;
    if (!readString(j, "replacement", where, step.content, error) ||
        !readBool(j, "add_prefix_space", true, where, addPrefix, error) ||
        (j.contains("prepend_scheme") &&
         !readString(j, "prepend_scheme", where, scheme, error)))
      return false;
    step.dropFirst = addPrefix && scheme != "never";
    if (step.content.empty()) {
      error = where + ": empty 'replacement'";
      return false;
    }
  } else if (type == "Replace") {
    step.kind = Kind::Replace;
    auto pattern = j.find("pattern");
    if (!readString(j, "content", where, step.content, error))
      return false;
    step.pattern =
        parsePattern(pattern == j.end() ? json() : *pattern, where, error);
    if (!step.pattern)
      return false;
  } else if (type == "Strip") {
    step.kind = Kind::Strip;
    if (!readString(j, "content", where, step.content, error))
      return false;
    for (auto [key, value] :
         {std::pair<const char *, size_t *>{"start", &step.start},
          {"stop", &step.stop}}) {
      auto it = j.find(key);
      if (it == j.end() || !it->is_number_unsigned()) {
        error = where + ": no count '" + key + "'";
        return false;
      }
      *value = it->get<size_t>();
    }
    if (step.content.empty()) {
      error = where + ": empty 'content'";
      return false;
    }
  } else {
    error = "decoder '" + type +
            "' is not supported (ByteLevel, Metaspace, ByteFallback, Fuse, "
            "Replace, Strip and Sequence are)";
    return false;
  }
  steps.push_back(std::move(step));
  return true;
}

static void replaceIn(std::string &token, const Regex &pattern,
                      const std::string &content) {
  std::vector<Span> spans;
  std::string ignored, result;
  // A pattern that exceeds its limits leaves the token as it is.
  if (!pattern.find(token, spans, ignored))
    return;
  for (const Span &s : spans) {
    if (s.isMatch)
      result += content;
    else
      result.append(token, s.begin, s.end - s.begin);
  }
  token = std::move(result);
}

static void replaceAll(std::string &token, std::string_view from,
                       std::string_view to) {
  std::string result;
  size_t previous = 0;
  for (size_t at = token.find(from); at != std::string::npos;
       at = token.find(from, previous)) {
    result.append(token, previous, at - previous);
    result += to;
    previous = at + from.size();
  }
  if (previous)
    token = result.append(token, previous, std::string::npos);
}

/// Runs of <0xNN> become text if they are well formed as a whole, otherwise one
/// U+FFFD a byte.
static std::vector<std::string>
byteFallback(const std::vector<std::string> &tokens) {
  std::vector<std::string> out;
  std::string run;
  auto flush = [&] {
    if (run.empty())
      return;
    size_t bad = 0;
    if (validUtf8(run, bad))
      out.push_back(run);
    else
      out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
    run.clear();
  };
  for (const std::string &token : tokens) {
    int byte = byteOfToken(token);
    if (byte >= 0) {
      run += static_cast<char>(byte);
      continue;
    }
    flush();
    out.push_back(token);
  }
  flush();
  return out;
}

std::string Decoder::decode(std::vector<std::string> tokens) const {
  for (const Step &step : steps) {
    switch (step.kind) {
    case Kind::ByteLevel: {
      std::string bytes, all;
      for (const std::string &token : tokens)
        all += ByteAlphabet::get().decode(token, bytes) ? bytes : token;
      tokens = {lossyText(all, false)};
      break;
    }
    case Kind::ByteFallback:
      tokens = byteFallback(tokens);
      break;
    case Kind::Fuse: {
      std::string all;
      for (const std::string &token : tokens)
        all += token;
      tokens = {all};
      break;
    }
    case Kind::Metaspace:
      for (size_t i = 0; i < tokens.size(); ++i)
        replaceAll(tokens[i], step.content,
                   i == 0 && step.dropFirst ? "" : " ");
      break;
    case Kind::Replace:
      for (std::string &token : tokens)
        replaceIn(token, *step.pattern, step.content);
      break;
    case Kind::Strip:
      for (std::string &token : tokens) {
        size_t begin = 0, end = token.size(), n = step.content.size();
        std::string_view view = token;
        for (size_t i = 0;
             i < step.start && view.substr(begin, n) == step.content; ++i)
          begin += n;
        for (size_t i = 0; i < step.stop && end >= begin + n &&
                           view.substr(end - n, n) == step.content;
             ++i)
          end -= n;
        token = token.substr(begin, end - begin);
      }
      break;
    }
  }
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i && joinWithSpaces)
      text += ' ';
    text += tokens[i];
  }
  return text;
}

bool Decoder::hasByteFallback() const {
  return std::any_of(steps.begin(), steps.end(), [](const Step &s) {
    return s.kind == Kind::ByteFallback;
  });
}

bool Decoder::streamable() const {
  // ByteLevel | Metaspace | Replace* ByteFallback? Fuse Strip(start)?
  if (steps.size() == 1 &&
      (steps[0].kind == Kind::ByteLevel || steps[0].kind == Kind::Metaspace))
    return true;
  size_t i = 0;
  while (i < steps.size() && steps[i].kind == Kind::Replace)
    ++i;
  if (i < steps.size() && steps[i].kind == Kind::ByteFallback)
    ++i;
  if (i >= steps.size() || steps[i].kind != Kind::Fuse)
    return false;
  ++i;
  if (i < steps.size() && steps[i].kind == Kind::Strip && steps[i].stop == 0)
    ++i;
  return i == steps.size();
}

void Decoder::appendStream(std::string token, StreamState &state,
                           std::string &out) const {
  for (const Step &step : steps) {
    switch (step.kind) {
    case Kind::ByteLevel: {
      std::string bytes;
      if (ByteAlphabet::get().decode(token, bytes))
        token = std::move(bytes);
      break;
    }
    case Kind::Metaspace:
      replaceAll(token, step.content,
                 !state.started && step.dropFirst ? "" : " ");
      break;
    case Kind::Replace:
      replaceIn(token, *step.pattern, step.content);
      break;
    case Kind::ByteFallback:
      if (int byte = byteOfToken(token); byte >= 0)
        token.assign(1, static_cast<char>(byte));
      break;
    case Kind::Fuse:
      break;
    case Kind::Strip: {
      size_t begin = 0, n = step.content.size();
      while (!state.stripDone && state.strippedLeft < step.start &&
             token.compare(begin, n, step.content) == 0) {
        begin += n;
        ++state.strippedLeft;
      }
      token.erase(0, begin);
      if (!token.empty())
        state.stripDone = true;
      break;
    }
    }
  }
  state.started = true;
  out += token;
}
