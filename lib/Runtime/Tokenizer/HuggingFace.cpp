//===- HuggingFace.cpp - tokenizer.json -----------------------------------===//
#include "HuggingFace.h"

#include "TokenizerJson.h"

#include <algorithm>
#include <set>

using namespace qc::rt;
using nlohmann::json;

/// Member `key`, null if absent.
static const json &member(const json &j, const char *key) {
  static const json Null;
  auto it = j.find(key);
  return it == j.end() ? Null : *it;
}

std::unique_ptr<Tokenizer> HuggingFaceTokenizer::create(std::string_view bytes,
                                                        std::string &error) {
  TokenizerFile file;
  if (!readTokenizerJson(bytes, file, error))
    return nullptr;
  auto fail = [&]() -> std::unique_ptr<Tokenizer> {
    // Token texts may hold line breaks; an error is one line.
    for (char &c : error)
      if (static_cast<unsigned char>(c) < 0x20)
        c = ' ';
    error = "tokenizer.json: " + error;
    return nullptr;
  };
  auto result = std::make_unique<HuggingFaceTokenizer>();
  result->text = std::move(file.text);
  result->unescaped = std::move(file.unescaped);
  result->vocabulary = std::move(file.vocabulary);
  result->merges = std::move(file.merges);
  const json &root = file.root;
  if (!member(root, "truncation").is_null()) {
    error = "'truncation' is not supported";
    return fail();
  }
  if (!Normalizer::parse(member(root, "normalizer"), result->normalizer,
                         error) ||
      !PreTokenizer::parse(member(root, "pre_tokenizer"), result->preTokenizer,
                           error) ||
      !Decoder::parse(member(root, "decoder"), result->decoder, error) ||
      !result->readModel(member(root, "model"), error) ||
      !result->readAddedTokens(member(root, "added_tokens"), error) ||
      !result->readPostProcessor(member(root, "post_processor"), 0, error))
    return fail();
  result->guessSpecialIds();
  // Only needed while building.
  result->vocabulary = {};
  result->merges = {};
  return result;
}

bool HuggingFaceTokenizer::readModel(const json &model, std::string &error) {
  std::string type = componentType(model);
  if (!model.is_object() ||
      (type != "BPE" && !(type.empty() && model.contains("merges")))) {
    error = "model '" + type + "' is not supported (BPE is)";
    return false;
  }
  if (!member(model, "vocab").is_object() ||
      !member(model, "merges").is_array()) {
    error = "model: no object 'vocab' or no list 'merges'";
    return false;
  }
  const json &dropout = member(model, "dropout");
  if (!dropout.is_null() &&
      !(dropout.is_number() && dropout.get<double>() == 0)) {
    error = "model: 'dropout' is not supported";
    return false;
  }
  for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json &affix = member(model, key);
    if (!affix.is_null() &&
        !(affix.is_string() && affix.get<std::string>().empty())) {
      error = std::string("model: '") + key + "' is not supported";
      return false;
    }
  }
  if (vocabulary.empty()) {
    error = "model.vocab is empty";
    return false;
  }

  for (auto [token, id] : vocabulary)
    numIds = std::max(numIds, id + 1);
  // Gaps are allowed, but not a table that is nearly empty.
  if (static_cast<size_t>(numIds) > vocabulary.size() * 16 + 65536) {
    error = "model.vocab: id " + std::to_string(numIds - 1) + " for " +
            std::to_string(vocabulary.size()) + " tokens";
    return false;
  }
  spelling.resize(static_cast<size_t>(numIds));
  ids.reserve(vocabulary.size());
  for (auto [token, id] : vocabulary) {
    std::string_view &slot = spelling[static_cast<size_t>(id)];
    if (slot.data()) {
      error = "model.vocab: tokens '" + std::string(slot) + "' and '" +
              std::string(token) + "' have the same id " + std::to_string(id);
      return false;
    }
    slot = token;
    if (!ids.insert(token, id)) {
      error = "model.vocab: token '" + std::string(token) + "' appears twice";
      return false;
    }
  }

  Bpe::Options options;
  options.byteMode = preTokenizer.isByteLevel();
  if (!readBool(model, "byte_fallback", false, "model", options.byteFallback,
                error) ||
      !readBool(model, "fuse_unk", false, "model", options.fuseUnk, error) ||
      !readBool(model, "ignore_merges", false, "model", options.ignoreMerges,
                error))
    return false;
  const json &unk = member(model, "unk_token");
  if (!unk.is_null()) {
    options.unk =
        unk.is_string() ? ids.find(unk.get_ref<const std::string &>()) : -1;
    if (options.unk < 0) {
      error = "model: 'unk_token' is not in model.vocab";
      return false;
    }
  }
  return bpe.build(ids, merges, options, error);
}

bool HuggingFaceTokenizer::readAddedTokens(const json &list,
                                           std::string &error) {
  addedIndex.assign(spelling.size(), -1);
  if (list.is_null())
    return true;
  if (!list.is_array()) {
    error = "'added_tokens' is not a list";
    return false;
  }
  // The reference numbers new tokens itself: from the size of the vocabulary.
  int32_t next = static_cast<int32_t>(vocabulary.size());
  std::set<std::string, std::less<>> seen;
  for (const json &item : list) {
    AddedToken token;
    std::string where =
        "added_tokens entry " + std::to_string(added.all().size());
    if (!item.is_object() ||
        !readString(item, "content", where, token.content, error)) {
      if (error.empty())
        error = where + " is not an object";
      return false;
    }
    where = "added token '" + token.content + "'";
    if (token.content.empty() || token.content.size() > 4096) {
      error = where + ": not 1 to 4096 bytes long";
      return false;
    }
    const json &id = member(item, "id");
    if (!id.is_number_unsigned() || id.get<uint64_t>() > (1u << 24)) {
      error = where + ": 'id' is not a number from 0 to 2^24";
      return false;
    }
    int32_t fileId = id.get<int32_t>();
    if (!readBool(item, "special", false, where, token.special, error) ||
        !readBool(item, "normalized", !token.special, where, token.normalized,
                  error) ||
        !readBool(item, "single_word", false, where, token.singleWord, error) ||
        !readBool(item, "lstrip", false, where, token.stripLeft, error) ||
        !readBool(item, "rstrip", false, where, token.stripRight, error))
      return false;
    if (!seen.insert(token.content).second) {
      error = where + " is listed twice";
      return false;
    }
    int32_t expected = ids.find(token.content);
    if (expected < 0)
      expected = next++;
    if (fileId != expected) {
      error = where + " has id " + std::to_string(fileId) + ", expected " +
              std::to_string(expected);
      return false;
    }
    token.id = fileId;
    token.normalizedContent = token.content;
    bool atStart = true;
    if (token.normalized &&
        !normalizer.apply(token.normalizedContent, atStart, error))
      return false;
    if (static_cast<size_t>(fileId) >= addedIndex.size()) {
      addedIndex.resize(static_cast<size_t>(fileId) + 1, -1);
      spelling.resize(addedIndex.size());
    }
    if (addedIndex[static_cast<size_t>(fileId)] >= 0 ||
        (ids.find(token.content) < 0 &&
         spelling[static_cast<size_t>(fileId)].data())) {
      error = where + ": id " + std::to_string(fileId) + " is taken";
      return false;
    }
    addedIndex[static_cast<size_t>(fileId)] =
        static_cast<int32_t>(added.all().size());
    numIds = std::max(numIds, fileId + 1);
    added.add(std::move(token));
  }
  return true;
}

bool HuggingFaceTokenizer::readPostProcessor(const json &j, int depth,
                                             std::string &error) {
  if (j.is_null())
    return true;
  std::string type = componentType(j), where = "post_processor " + type;
  auto checkId = [&](const json &id, std::vector<int32_t> &out) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() >= static_cast<uint64_t>(numIds)) {
      error = where + ": a special token's id is not in the vocabulary";
      return false;
    }
    out.push_back(id.get<int32_t>());
    return true;
  };
  if (type == "ByteLevel")
    return true; // concerns offsets only
  if (type == "Sequence") {
    const json &list = member(j, "processors");
    if (!list.is_array() || depth > 8) {
      error = where + ": no list 'processors'";
      return false;
    }
    for (const json &item : list)
      if (!readPostProcessor(item, depth + 1, error))
        return false;
    return true;
  }
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    const json &cls = member(j, "cls"), &sep = member(j, "sep");
    if (!cls.is_array() || cls.size() != 2 || !sep.is_array() ||
        sep.size() != 2) {
      error = where + ": 'cls' and 'sep' are not [token, id]";
      return false;
    }
    return checkId(cls[1], prefix) && checkId(sep[1], suffix);
  }
  if (type != "TemplateProcessing") {
    error = "post_processor '" + type +
            "' is not supported (TemplateProcessing, ByteLevel, "
            "RobertaProcessing, BertProcessing and Sequence are)";
    return false;
  }
  const json &single = member(j, "single"),
             &specials = member(j, "special_tokens");
  if (!single.is_array() || !specials.is_object()) {
    error = where + ": no list 'single' or no object 'special_tokens'";
    return false;
  }
  bool afterText = false;
  for (const json &item : single) {
    if (item.is_object() && item.contains("Sequence")) {
      if (afterText) {
        error = where + ": the text stands twice in 'single'";
        return false;
      }
      afterText = true;
      continue;
    }
    const json &name =
        item.is_object() && member(item, "SpecialToken").is_object()
            ? member(member(item, "SpecialToken"), "id")
            : json();
    const json &entry =
        name.is_string()
            ? member(specials, name.get_ref<const std::string &>().c_str())
            : name;
    if (!entry.is_object() || !member(entry, "ids").is_array()) {
      error =
          where + ": 'single' has an entry that is not a known special token";
      return false;
    }
    for (const json &id : member(entry, "ids"))
      if (!checkId(id, afterText ? suffix : prefix))
        return false;
  }
  return true;
}

void HuggingFaceTokenizer::guessSpecialIds() {
  if (!prefix.empty())
    bos = prefix.front();
  auto firstOf = [&](std::initializer_list<const char *> names) {
    for (const char *name : names) {
      int32_t id = idOf(name);
      if (id >= 0 && isSpecial(id))
        return id;
    }
    return -1;
  };
  if (bos < 0)
    bos = firstOf({"<s>", "<|begin_of_text|>", "<bos>"});
  eos = firstOf({"</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>",
                 "<|im_end|>", "<|eot_id|>"});
}

int32_t HuggingFaceTokenizer::idOf(std::string_view token) const {
  for (const AddedToken &t : added.all())
    if (t.content == token)
      return t.id;
  return ids.find(token);
}

bool HuggingFaceTokenizer::isSpecial(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= addedIndex.size())
    return false;
  int32_t index = addedIndex[static_cast<size_t>(id)];
  return index >= 0 && added.all()[static_cast<size_t>(index)].special;
}

bool HuggingFaceTokenizer::encodeSegment(std::string_view segment, bool atStart,
                                         bool parseSpecial,
                                         Bpe::Session &session,
                                         std::vector<int32_t> &out,
                                         std::string &error) const {
  std::string normalized;
  std::string_view view = segment;
  if (!normalizer.empty()) {
    normalized = segment;
    if (!normalizer.apply(normalized, atStart, error))
      return false;
    view = normalized;
  }
  std::vector<TokenSpan> spans;
  if (added.hasNormalized())
    added.find(view, true, parseSpecial, spans);
  else if (!view.empty())
    spans.push_back({0, view.size(), -1});
  std::vector<PreTokenizer::Piece> pieces;
  std::deque<std::string> storage;
  for (const TokenSpan &span : spans) {
    if (span.id >= 0) {
      out.push_back(span.id);
      continue;
    }
    pieces.assign(1, {view.substr(span.begin, span.end - span.begin),
                      atStart && span.begin == 0});
    storage.clear();
    if (!preTokenizer.apply(pieces, storage, error))
      return false;
    for (const PreTokenizer::Piece &piece : pieces)
      bpe.encode(piece.text, session, out);
  }
  return true;
}

std::vector<int32_t> HuggingFaceTokenizer::encode(std::string_view input,
                                                  bool parseSpecial,
                                                  std::string *error) const {
  std::string clean, message;
  size_t badOffset = 0;
  if (!validUtf8(input, badOffset)) {
    clean = unicode::sanitize(input);
    input = clean;
  }
  std::vector<int32_t> result;
  Bpe::Session session;
  std::vector<TokenSpan> spans;
  added.find(input, false, parseSpecial, spans);
  for (const TokenSpan &span : spans) {
    if (span.id >= 0) {
      result.push_back(span.id);
      continue;
    }
    if (!encodeSegment(input.substr(span.begin, span.end - span.begin),
                       span.begin == 0, parseSpecial, session, result,
                       message)) {
      if (error)
        *error = message;
      return {};
    }
  }
  return result;
}

/// The spelling that decoders see, null if the id is unknown.
static std::string_view
decoderSpelling(const std::vector<std::string_view> &spelling,
                const std::vector<int32_t> &addedIndex,
                const AddedTokens &added, int32_t id) {
  if (id < 0 || static_cast<size_t>(id) >= spelling.size())
    return {};
  int32_t index = addedIndex[static_cast<size_t>(id)];
  if (index < 0)
    return spelling[static_cast<size_t>(id)];
  // The reference (0.23) decodes the form that was found in the text.
  return added.all()[static_cast<size_t>(index)].normalizedContent;
}

std::string HuggingFaceTokenizer::tokenBytes(int32_t id) const {
  std::string_view token = decoderSpelling(spelling, addedIndex, added, id);
  if (!token.data())
    return "";
  if (!decoder.streamable())
    return decoder.decode({std::string(token)});
  StreamState middle;
  middle.started = middle.stripDone = true;
  std::string bytes;
  decoder.appendStream(std::string(token), middle, bytes);
  return bytes;
}

std::string HuggingFaceTokenizer::decode(std::span<const int32_t> list,
                                         bool skipSpecial) const {
  std::vector<std::string> tokens;
  tokens.reserve(list.size());
  for (int32_t id : list) {
    std::string_view token = decoderSpelling(spelling, addedIndex, added, id);
    if (!token.data() || (skipSpecial && isSpecial(id)))
      continue;
    tokens.emplace_back(token);
  }
  return decoder.decode(std::move(tokens));
}

bool HuggingFaceTokenizer::appendStream(int32_t id, bool skipSpecial,
                                        StreamState &state,
                                        std::string &out) const {
  if (!decoder.streamable())
    return false;
  std::string_view token = decoderSpelling(spelling, addedIndex, added, id);
  if (!token.data() || (skipSpecial && isSpecial(id)))
    return true;
  decoder.appendStream(std::string(token), state, out);
  return true;
}
