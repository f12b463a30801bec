//===- ModelConfig.cpp - What config.json says of a model -----------------===//
//
// Defaults are those of the configuration classes of transformers
// (models/<family>/configuration_<family>.py), except that the sizes of the
// model must be there.
//
//===----------------------------------------------------------------------===//
#include "qc/Frontend/ModelConfig.h"

#include "qc/Frontend/ConfigReader.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace qc;
using llvm::Error;
using llvm::StringRef;

// Far above every published model, far below what overflows when multiplied.
constexpr int64_t maxWidth = 1 << 20, maxLayers = 1024, maxHeads = 4096,
                  maxHeadDim = 4096, maxVocab = 1 << 24, maxPositions = 1 << 30;

static const Architecture *findArchitecture(ConfigReader &reader) {
  std::string name, key = "architectures";
  if (const Json *list = reader.find("architectures")) {
    if (!list->is_array() || list->size() != 1 || !list->front().is_string()) {
      reader.fail("architectures is ", describe(*list),
                  ", expected an array of one name");
      return nullptr;
    }
    name = list->front().get<std::string>();
  } else {
    name = reader.string("model_type", "");
    key = "model_type";
  }
  std::string known;
  for (const Architecture *architecture : allArchitectures()) {
    if (name ==
        (key == "model_type" ? architecture->modelType : architecture->name))
      return architecture;
    known += (known.empty() ? "" : ", ") + std::string(architecture->name);
  }
  if (name.empty())
    reader.fail("architectures is missing, expected one of ", known);
  else
    reader.fail(key == "model_type" ? "model_type " : "architecture ",
                quote(name), " is not supported, expected one of ", known);
  return nullptr;
}

static void checkNotQuantized(ConfigReader &reader) {
  const Json *quantization = reader.find("quantization_config");
  if (!quantization)
    return;
  std::string method = "an unnamed method";
  if (quantization->is_object()) {
    ConfigReader inner(*quantization, "");
    method = quote(inner.string("quant_method", "?"));
  }
  reader.fail("importing a checkpoint quantized with ", method,
              " is not supported, expected f32, f16 or bf16 weights");
}

/// Scaling from `rope_scaling` or `rope_parameters`.
static void readScaling(ConfigReader &reader, const Json &json,
                        RopeConfig &rope) {
  if (!json.is_object()) {
    reader.fail("rope scaling is ", describe(json), ", expected an object");
    return;
  }
  ConfigReader inner(json, "rope scaling");
  std::string type = inner.string("rope_type", inner.string("type", "default"));
  if (inner.mentions("rope_theta"))
    rope.theta = inner.positive("rope_theta");
  if (inner.find("partial_rotary_factor") &&
      inner.positive("partial_rotary_factor") != 1)
    inner.fail("partial_rotary_factor other than 1 is not supported");
  if (type == "linear") {
    rope.scaling = RopeScaling::Linear;
    rope.factor = inner.positive("factor");
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::Llama3;
    rope.factor = inner.positive("factor");
    rope.low = inner.positive("low_freq_factor");
    rope.high = inner.positive("high_freq_factor");
    rope.original =
        inner.integer("original_max_position_embeddings", 1, maxPositions);
    if (!inner.failed() && rope.high <= rope.low)
      inner.fail("high_freq_factor is ", rope.high,
                 ", expected more than low_freq_factor ", rope.low);
  } else if (type != "default") {
    reader.fail("rope scaling ", quote(type),
                " is not supported, expected default, linear or llama3");
  }
  if (Error error = inner.takeError())
    reader.fail(llvm::toString(std::move(error)));
}

static void readRope(ConfigReader &reader, RopeConfig &rope) {
  rope.theta = reader.positive("rope_theta", 10000);
  if (reader.find("partial_rotary_factor") &&
      reader.positive("partial_rotary_factor") != 1)
    reader.fail("partial_rotary_factor other than 1 is not supported");
  if (const Json *parameters = reader.find("rope_parameters"))
    readScaling(reader, *parameters, rope);
  else if (const Json *scaling = reader.find("rope_scaling"))
    readScaling(reader, *scaling, rope);
}

static Activation readActivation(ConfigReader &reader) {
  std::string name = reader.string("hidden_act", "silu");
  if (name == "silu" || name == "swish")
    return Activation::SiLU;
  if (name == "gelu")
    return Activation::GELU;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh")
    return Activation::GELUTanh;
  if (name == "relu")
    return Activation::ReLU;
  reader.fail("hidden_act ", quote(name),
              " is not supported, expected silu, gelu, gelu_pytorch_tanh or "
              "relu");
  return Activation::SiLU;
}

/// An integer, a list of integers, or nothing.
static std::vector<int64_t> readIds(ConfigReader &reader, const char *field,
                                    int64_t vocab) {
  std::vector<int64_t> ids;
  const Json *value = reader.find(field);
  if (!value)
    return ids;
  Json list = value->is_array() ? *value : Json::array({*value});
  for (const Json &id : list) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() >= static_cast<uint64_t>(vocab)) {
      reader.fail(field, " is ", describe(id), ", expected an id from 0 to ",
                  vocab - 1);
      return ids;
    }
    if (!llvm::is_contained(ids, id.get<int64_t>()))
      ids.push_back(id.get<int64_t>());
  }
  return ids;
}

static void readShape(ConfigReader &reader, const Architecture &architecture,
                      ModelConfig &config) {
  config.hidden = reader.integer("hidden_size", 1, maxWidth);
  config.intermediate = reader.integer("intermediate_size", 1, maxWidth);
  config.layers = reader.integer("num_hidden_layers", 1, maxLayers);
  config.vocab = reader.integer("vocab_size", 1, maxVocab);
  config.maxPositions =
      reader.integer("max_position_embeddings", 1, maxPositions);
  config.heads = reader.integer("num_attention_heads", 1, maxHeads);
  config.kvHeads =
      reader.integer("num_key_value_heads", 1, maxHeads, config.heads);
  if (config.kvHeads > config.heads || config.heads % config.kvHeads != 0)
    reader.fail("num_key_value_heads is ", config.kvHeads,
                ", expected a divisor of num_attention_heads ", config.heads);
  int64_t headDim = architecture.headDim;
  if (headDim == 0) {
    headDim = std::max<int64_t>(config.hidden / config.heads, 1);
    if (!reader.find("head_dim") && config.hidden % config.heads != 0)
      reader.fail("hidden_size is ", config.hidden,
                  ", expected a multiple of num_attention_heads ",
                  config.heads);
  }
  config.headDim = reader.integer("head_dim", 1, maxHeadDim, headDim);
  if (config.headDim % 2 != 0)
    reader.fail("head_dim is ", config.headDim,
                ", expected an even number for rotary embedding");
}

llvm::Expected<ModelConfig> qc::parseModelConfig(const Json &json,
                                                 StringRef where) {
  if (!json.is_object())
    return makeError(where, ": is ", describe(json), ", expected an object");
  ConfigReader reader(json, where);
  const Architecture *architecture = findArchitecture(reader);
  if (Error error = reader.takeError())
    return error;
  ModelConfig config;
  config.architecture = architecture->name;
  checkNotQuantized(reader);
  readShape(reader, *architecture, config);
  config.rmsEps = reader.positive("rms_norm_eps", 1e-6);
  if (config.rmsEps > 1)
    reader.fail("rms_norm_eps is ", config.rmsEps, ", expected at most 1");
  readRope(reader, config.rope);
  config.activation = readActivation(reader);
  config.tied = reader.boolean("tie_word_embeddings", false);
  std::vector<int64_t> bos = readIds(reader, "bos_token_id", config.vocab);
  if (!bos.empty())
    config.bosId = bos.front();
  config.eosIds = readIds(reader, "eos_token_id", config.vocab);
  // Without an error so far: the number of layers is sane.
  if (Error error = reader.takeError())
    return error;
  config.windows.assign(static_cast<size_t>(config.layers), 0);
  architecture->configure(reader, config);
  // A window of all positions is none.
  for (int64_t &window : config.windows)
    if (window >= config.maxPositions)
      window = 0;
  if (Error error = reader.takeError())
    return error;
  return config;
}

llvm::Expected<ModelConfig> qc::readModelConfig(StringRef folder) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, "config.json");
  auto json = readJsonFile(path);
  if (!json)
    return json.takeError();
  auto config = parseModelConfig(*json, path);
  if (!config)
    return config;
  path = folder;
  llvm::sys::path::append(path, "generation_config.json");
  if (!llvm::sys::fs::exists(path))
    return config;
  auto generation = readJsonFile(path);
  if (!generation)
    return generation.takeError();
  if (!generation->is_object())
    return makeError(path, ": is ", describe(*generation),
                     ", expected an object");
  ConfigReader reader(*generation, path);
  std::vector<int64_t> eos = readIds(reader, "eos_token_id", config->vocab);
  if (Error error = reader.takeError())
    return error;
  if (!eos.empty())
    config->eosIds = eos;
  return config;
}
