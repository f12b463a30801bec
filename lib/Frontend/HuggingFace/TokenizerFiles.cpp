//===- TokenizerFiles.cpp - The tokenizer of a model folder ---------------===//
#include "qc/Frontend/TokenizerFiles.h"

#include "qc/Frontend/ConfigReader.h"
#include "qc/Runtime/Chat/ChatTemplate.h"
#include "qc/Runtime/Tokenizer/Tokenizer.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace qc;
using llvm::Error;
using llvm::StringRef;
namespace fs = llvm::sys::fs;

/// Longest chat template and tokenizer file.
constexpr uint64_t maxTemplate = 1 << 20, maxTokenizer = uint64_t(256) << 20;

static std::string pathIn(StringRef folder, StringRef name) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

static llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
readFile(StringRef path, uint64_t limit) {
  fs::file_status status;
  std::error_code code = fs::status(path, status);
  if (!code && status.type() != fs::file_type::regular_file)
    return makeError("cannot read '", path, "': not a regular file");
  if (!code && status.getSize() > limit)
    return makeError(path, ": ", status.getSize(), " bytes, expected at most ",
                     limit);
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return makeError("cannot read '", path, "': ", buffer.getError().message());
  return std::move(*buffer);
}

/// An object; empty if there is no such file.
static llvm::Expected<Json> readObject(const std::string &path) {
  if (!fs::exists(path))
    return Json::object();
  auto json = readJsonFile(path);
  if (json && !json->is_object())
    return makeError(path, ": is ", describe(*json), ", expected an object");
  return json;
}

/// "bos_token": a string, or an object with the string as "content".
static std::string readToken(ConfigReader &reader, const char *field) {
  const Json *value = reader.find(field);
  if (!value)
    return "";
  if (value->is_object() && value->contains("content"))
    value = &(*value)["content"];
  if (value->is_string())
    return value->get<std::string>();
  reader.fail(field, " is ", describe(*value), ", expected a string");
  return "";
}

/// "chat_template": a string, or a list of {name, template} with a "default".
static std::string readTemplate(ConfigReader &reader) {
  const Json *value = reader.find("chat_template");
  if (!value)
    return "";
  if (value->is_string())
    return value->get<std::string>();
  if (value->is_array())
    for (const Json &entry : *value)
      if (entry.is_object() && entry.value("name", Json()) == "default" &&
          entry.contains("template") && entry["template"].is_string())
        return entry["template"].get<std::string>();
  reader.fail("chat_template is ", describe(*value),
              ", expected a string or a list with a template named default");
  return "";
}

/// Text can be had without the template: a warning.
static void checkTemplate(const TokenizerInfo &info, StringRef file,
                          std::vector<std::string> &warnings) {
  std::string error;
  if (!info.chatTemplate.empty() &&
      !rt::ChatTemplate::create(info.chatTemplate, error))
    warnings.push_back(
        (file + ": " + error + "; conversations will fail").str());
}

/// Fills the strings and `addBos`, as far as the files say.
static Error readConfig(StringRef folder, TokenizerInfo &info,
                        std::optional<bool> &addBos,
                        std::vector<std::string> &warnings) {
  std::string path = pathIn(folder, "tokenizer_config.json");
  auto json = readObject(path);
  if (!json)
    return json.takeError();
  ConfigReader reader(*json, path);
  info.bosToken = readToken(reader, "bos_token");
  info.eosToken = readToken(reader, "eos_token");
  info.chatTemplate = readTemplate(reader);
  if (reader.find("add_bos_token"))
    addBos = reader.boolean("add_bos_token", false);
  if (Error error = reader.takeError())
    return error;
  if (json->empty()) {
    path = pathIn(folder, "special_tokens_map.json");
    auto map = readObject(path);
    if (!map)
      return map.takeError();
    ConfigReader tokens(*map, path);
    info.bosToken = readToken(tokens, "bos_token");
    info.eosToken = readToken(tokens, "eos_token");
    if (Error error = tokens.takeError())
      return error;
  }
  std::string configPath = std::move(path);
  path = pathIn(folder, "chat_template.jinja");
  if (!fs::exists(path)) {
    checkTemplate(info, configPath, warnings);
    return Error::success();
  }
  auto file = readFile(path, maxTemplate);
  if (!file)
    return file.takeError();
  if (!llvm::json::isUTF8((*file)->getBuffer()))
    return makeError(path, ": not UTF-8");
  info.chatTemplate = (*file)->getBuffer().str();
  checkTemplate(info, path, warnings);
  return Error::success();
}

/// Ids of the special tokens: what the tokenizer's own files name comes before
/// what config.json numbers.
static void resolveIds(const rt::Tokenizer &tokenizer,
                       const ModelConfig &config, std::optional<bool> addBos,
                       TokenizerInfo &info,
                       std::vector<std::string> &warnings) {
  int32_t bos = info.bosToken.empty() ? -1 : tokenizer.idOf(info.bosToken);
  if (bos >= 0)
    info.bosId = bos;
  else if (config.bosId)
    info.bosId = config.bosId;
  else if (tokenizer.bosId() >= 0)
    info.bosId = tokenizer.bosId();
  // tokenizer.json states what it adds; LlamaTokenizer, which reads
  // tokenizer.model, adds the begin token unless told otherwise.
  info.addBos =
      addBos.value_or(info.kind == "sentencepiece" || tokenizer.addsBos());
  if (info.addBos && !info.bosId) {
    info.addBos = false;
    warnings.push_back(info.file + ": no begin-of-text token is known, none "
                                   "will be added");
  }
  info.eosIds = config.eosIds;
  int32_t eos = info.eosToken.empty() ? -1 : tokenizer.idOf(info.eosToken);
  if (eos < 0 && info.eosIds.empty())
    eos = tokenizer.eosId();
  if (eos >= 0 && !llvm::is_contained(info.eosIds, eos))
    info.eosIds.push_back(eos);
  if (tokenizer.vocabSize() > config.vocab)
    warnings.push_back(info.file + ": " +
                       std::to_string(tokenizer.vocabSize()) +
                       " tokens, but vocab_size of the model is " +
                       std::to_string(config.vocab));
}

llvm::Expected<std::optional<TokenizerInfo>>
qc::readTokenizer(StringRef folder, const ModelConfig &config,
                  std::vector<std::string> &warnings) {
  TokenizerInfo info;
  auto kind = rt::TokenizerKind::HuggingFaceJson;
  info.kind = "tokenizer.json";
  info.file = pathIn(folder, "tokenizer.json");
  if (!fs::exists(info.file)) {
    kind = rt::TokenizerKind::SentencePiece;
    info.kind = "sentencepiece";
    info.file = pathIn(folder, "tokenizer.model");
  }
  if (!fs::exists(info.file))
    return std::nullopt;
  std::optional<bool> addBos;
  if (Error error = readConfig(folder, info, addBos, warnings))
    return error;
  auto bytes = readFile(info.file, maxTokenizer);
  if (!bytes)
    return bytes.takeError();
  std::string message;
  std::unique_ptr<rt::Tokenizer> tokenizer = rt::Tokenizer::create(
      kind, std::string_view((*bytes)->getBuffer()), message);
  if (!tokenizer) {
    // The runtime's messages begin with the name of the file.
    StringRef what(message);
    if (what.consume_front(llvm::sys::path::filename(info.file)))
      what.consume_front(": ");
    return makeError(info.file, ": ", what);
  }
  resolveIds(*tokenizer, config, addBos, info, warnings);
  return info;
}
