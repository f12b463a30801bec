//===- ModelConfigTest.cpp - config.json, right and wrong -----------------===//
#include "TestFiles.h"

#include "qc/Frontend/ModelConfig.h"

using namespace qc;
using namespace qc::test;

/// A small Llama.
static Json base() {
  return Json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 172,
    "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4,
    "max_position_embeddings": 512, "hidden_act": "silu", "rms_norm_eps": 1e-05,
    "bos_token_id": 1, "eos_token_id": 2})");
}

/// base() with the fields of `patch` in place of its own; "-field" removes.
static Json patched(const char *patch) {
  Json json = base();
  Json fields = Json::parse(patch);
  for (const auto &[key, value] : fields.items())
    if (key[0] == '-')
      json.erase(key.substr(1));
    else
      json[key] = value;
  return json;
}

static ModelConfig parse(const char *patch) {
  auto config = parseModelConfig(patched(patch), "config.json");
  if (config)
    return *config;
  ADD_FAILURE() << llvm::toString(config.takeError());
  return {};
}

TEST(ModelConfig, Defaults) {
  ModelConfig c = parse(R"({"-rms_norm_eps": 0, "-num_key_value_heads": 0,
                            "-eos_token_id": 0, "-bos_token_id": 0})");
  EXPECT_EQ(c.architecture, "LlamaForCausalLM");
  EXPECT_EQ(c.headDim, 8);
  EXPECT_EQ(c.kvHeads, 8);
  EXPECT_EQ(c.rmsEps, 1e-6);
  EXPECT_EQ(c.rope.theta, 10000);
  EXPECT_EQ(c.rope.scaling, RopeScaling::None);
  EXPECT_FALSE(c.tied || c.qkvBias || c.outputBias || c.mlpBias || c.qkNorm);
  EXPECT_EQ(c.windows, std::vector<int64_t>(5, 0));
  EXPECT_TRUE(c.eosIds.empty());
  EXPECT_FALSE(c.bosId.has_value());
}

TEST(ModelConfig, ModelTypeInsteadOfArchitectures) {
  EXPECT_EQ(
      parse(R"({"-architectures": 0, "model_type": "qwen3"})").architecture,
      "Qwen3ForCausalLM");
}

TEST(ModelConfig, Llama) {
  ModelConfig c = parse(R"({"attention_bias": true, "mlp_bias": true,
      "tie_word_embeddings": true, "head_dim": 16, "hidden_act": "gelu",
      "eos_token_id": [7, 9, 7]})");
  EXPECT_TRUE(c.qkvBias && c.outputBias && c.mlpBias && c.tied);
  EXPECT_EQ(c.headDim, 16);
  EXPECT_EQ(c.activation, Activation::GELU);
  EXPECT_EQ(c.eosIds, (std::vector<int64_t>{7, 9}));
  EXPECT_EQ(c.bosId, 1);
}

TEST(ModelConfig, RopeOfBothLayouts) {
  for (const char *patch :
       {R"({"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3",
           "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
           "original_max_position_embeddings": 8192}})",
        R"({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5,
           "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
           "original_max_position_embeddings": 8192}})"}) {
    ModelConfig c = parse(patch);
    EXPECT_EQ(c.rope.theta, 5e5);
    EXPECT_EQ(c.rope.scaling, RopeScaling::Llama3);
    EXPECT_EQ(c.rope.factor, 8);
    EXPECT_EQ(c.rope.low, 1);
    EXPECT_EQ(c.rope.high, 4);
    EXPECT_EQ(c.rope.original, 8192);
  }
  ModelConfig linear =
      parse(R"({"rope_scaling": {"type": "linear", "factor": 2.5}})");
  EXPECT_EQ(linear.rope.scaling, RopeScaling::Linear);
  EXPECT_EQ(linear.rope.factor, 2.5);
  EXPECT_EQ(parse(R"({"rope_scaling": null})").rope.scaling, RopeScaling::None);
  EXPECT_EQ(parse(R"({"rope_theta": 1e6, "rope_parameters":
                      {"rope_type": "default"}})")
                .rope.theta,
            1e6);
}

TEST(ModelConfig, MistralWindow) {
  auto windows = [](const char *field) {
    return parse((R"({"architectures": ["MistralForCausalLM"],
                      "max_position_embeddings": 32768)" +
                  std::string(field) + "}")
                     .c_str())
        .windows;
  };
  EXPECT_EQ(windows(""), std::vector<int64_t>(5, 4096));
  EXPECT_EQ(windows(", \"sliding_window\": null"), std::vector<int64_t>(5, 0));
  EXPECT_EQ(windows(", \"sliding_window\": 8"), std::vector<int64_t>(5, 8));
  // As long as the context: no window at all.
  EXPECT_EQ(windows(", \"sliding_window\": 32768"), std::vector<int64_t>(5, 0));
}

TEST(ModelConfig, QwenWindows) {
  auto windows = [](const char *fields) {
    ModelConfig c = parse((R"({"architectures": ["Qwen2ForCausalLM"],
                              "sliding_window": 100, )" +
                           std::string(fields) + "}")
                              .c_str());
    EXPECT_TRUE(c.qkvBias);
    EXPECT_FALSE(c.outputBias);
    return c.windows;
  };
  using W = std::vector<int64_t>;
  EXPECT_EQ(windows(R"("max_window_layers": 2)"), W(5, 0));
  EXPECT_EQ(windows(R"("use_sliding_window": true)"), W(5, 0));
  EXPECT_EQ(windows(R"("use_sliding_window": true, "max_window_layers": 3)"),
            (W{0, 0, 0, 100, 100}));
  const char *types = R"("layer_types": ["sliding_attention","full_attention",
      "full_attention","sliding_attention","full_attention"])";
  EXPECT_EQ(
      windows((std::string(R"("use_sliding_window": true, )") + types).c_str()),
      (W{100, 0, 0, 100, 0}));
  EXPECT_EQ(windows(types), W(5, 0));
  EXPECT_EQ(windows(R"("use_sliding_window": true, "max_window_layers": 0,
                       "sliding_window": null)"),
            W(5, 0));
}

TEST(ModelConfig, Qwen3) {
  ModelConfig c = parse(R"({"architectures": ["Qwen3ForCausalLM"]})");
  EXPECT_TRUE(c.qkNorm);
  EXPECT_FALSE(c.qkvBias);
  EXPECT_EQ(c.headDim, 128);
  EXPECT_EQ(parse(R"({"architectures": ["Qwen3ForCausalLM"], "head_dim": 32})")
                .headDim,
            32);
}

namespace {
struct BadConfig {
  const char *name, *patch, *fragment;
};
} // namespace

class BadModelConfig : public testing::TestWithParam<BadConfig> {};

TEST_P(BadModelConfig, OneLineSaysWhatIsWrong) {
  std::string error =
      errorOf(parseModelConfig(patched(GetParam().patch), "DIR/config.json"));
  expectError(error, GetParam().fragment);
  expectError(error, "DIR/config.json: ");
}

INSTANTIATE_TEST_SUITE_P(
    Fields, BadModelConfig,
    testing::Values(
        BadConfig{"UnknownArchitecture",
                  R"({"architectures": ["FooForCausalLM"]})",
                  "architecture 'FooForCausalLM' is not supported, expected "
                  "one of LlamaForCausalLM, MistralForCausalLM, "
                  "Qwen2ForCausalLM, Qwen3ForCausalLM"},
        BadConfig{"TwoArchitectures",
                  R"({"architectures": ["LlamaForCausalLM", "X"]})",
                  "expected an array of one name"},
        BadConfig{"ArchitectureIsNumber", R"({"architectures": [3]})",
                  "architectures is [3], expected an array of one name"},
        BadConfig{"ArchitectureIsString",
                  R"({"architectures": "LlamaForCausalLM"})",
                  "expected an array of one name"},
        BadConfig{"NoArchitecture",
                  R"({"-architectures": 0, "-model_type": 0})",
                  "architectures is missing, expected one of"},
        BadConfig{"UnknownModelType",
                  R"({"-architectures": 0, "model_type": "bert"})",
                  "model_type 'bert' is not supported"},
        BadConfig{"Quantized",
                  R"({"quantization_config": {"quant_method": "gptq"}})",
                  "importing a checkpoint quantized with 'gptq' is not "
                  "supported, expected f32, f16 or bf16 weights"},
        BadConfig{"QuantizedSomehow", R"({"quantization_config": {}})",
                  "quantized with '?' is not supported"},
        BadConfig{"HiddenMissing", R"({"-hidden_size": 0})",
                  "hidden_size is missing, expected an integer from 1"},
        BadConfig{"HiddenNull", R"({"hidden_size": null})",
                  "hidden_size is null, expected an integer from 1"},
        BadConfig{"HiddenZero", R"({"hidden_size": 0})",
                  "hidden_size is 0, expected an integer from 1 to 1048576"},
        BadConfig{"HiddenNegative", R"({"hidden_size": -64})",
                  "hidden_size is -64, expected an integer from 1"},
        BadConfig{"HiddenFloat", R"({"hidden_size": 64.0})",
                  "hidden_size is 64.0, expected an integer"},
        BadConfig{"HiddenString", R"({"hidden_size": "64"})",
                  "hidden_size is \"64\", expected an integer"},
        BadConfig{"HiddenBool", R"({"hidden_size": true})",
                  "hidden_size is true, expected an integer"},
        BadConfig{"HiddenHuge", R"({"hidden_size": 18446744073709551615})",
                  "hidden_size is 18446744073709551615, expected an integer"},
        BadConfig{"HiddenNotDivisible", R"({"hidden_size": 65})",
                  "hidden_size is 65, expected a multiple of "
                  "num_attention_heads 8"},
        BadConfig{"MoreHeadsThanHidden", R"({"num_attention_heads": 128})",
                  "hidden_size is 64, expected a multiple of "
                  "num_attention_heads 128"},
        BadConfig{"HeadDimOdd", R"({"head_dim": 7})",
                  "head_dim is 7, expected an even number"},
        BadConfig{"HeadDimZero", R"({"head_dim": 0})",
                  "head_dim is 0, expected an integer from 1"},
        BadConfig{"HeadsZero", R"({"num_attention_heads": 0})",
                  "num_attention_heads is 0, expected an integer from 1"},
        BadConfig{"KvHeadsMoreThanHeads", R"({"num_key_value_heads": 16})",
                  "num_key_value_heads is 16, expected a divisor of "
                  "num_attention_heads 8"},
        BadConfig{"KvHeadsNotDivisor", R"({"num_key_value_heads": 3})",
                  "num_key_value_heads is 3, expected a divisor"},
        BadConfig{"LayersBillion", R"({"num_hidden_layers": 1000000000})",
                  "num_hidden_layers is 1000000000, expected an integer from 1 "
                  "to 1024"},
        BadConfig{"LayersMissing", R"({"-num_hidden_layers": 0})",
                  "num_hidden_layers is missing"},
        BadConfig{"VocabZero", R"({"vocab_size": 0})",
                  "vocab_size is 0, expected an integer from 1"},
        BadConfig{"PositionsArray", R"({"max_position_embeddings": [512]})",
                  "max_position_embeddings is [512], expected an integer"},
        BadConfig{"IntermediateNegative", R"({"intermediate_size": -1})",
                  "intermediate_size is -1, expected an integer from 1"},
        BadConfig{"EpsZero", R"({"rms_norm_eps": 0})",
                  "rms_norm_eps is 0, expected a positive number"},
        BadConfig{"EpsNegative", R"({"rms_norm_eps": -1e-5})",
                  "rms_norm_eps is -1e-05, expected a positive number"},
        BadConfig{"EpsString", R"({"rms_norm_eps": "1e-5"})",
                  "rms_norm_eps is \"1e-5\", expected a positive number"},
        BadConfig{"EpsHuge", R"({"rms_norm_eps": 1e5})",
                  "rms_norm_eps is 1.000000e+05, expected at most 1"},
        BadConfig{"ThetaZero", R"({"rope_theta": 0.0})",
                  "rope_theta is 0.0, expected a positive number"},
        BadConfig{"ThetaInParametersNegative",
                  R"({"rope_parameters": {"rope_theta": -1}})",
                  "rope scaling: rope_theta is -1, expected a positive number"},
        BadConfig{"RopeYarn",
                  R"({"rope_scaling": {"rope_type": "yarn", "factor": 4}})",
                  "rope scaling 'yarn' is not supported, expected default, "
                  "linear or llama3"},
        BadConfig{"RopeDynamicV5",
                  R"({"rope_parameters": {"rope_type": "dynamic"}})",
                  "rope scaling 'dynamic' is not supported"},
        BadConfig{"RopeIsString", R"({"rope_scaling": "linear"})",
                  "rope scaling is \"linear\", expected an object"},
        BadConfig{"RopeTypeIsNumber", R"({"rope_scaling": {"type": 3}})",
                  "rope scaling: type is 3, expected a string"},
        BadConfig{"RopeLinearNoFactor", R"({"rope_scaling":
                  {"type": "linear"}})",
                  "rope scaling: factor is missing, expected a positive"},
        BadConfig{"RopeLlama3NoOriginal", R"({"rope_scaling":
                  {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                   "high_freq_factor": 4}})",
                  "rope scaling: original_max_position_embeddings is missing"},
        BadConfig{"RopeLlama3Reversed", R"({"rope_scaling":
                  {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                   "high_freq_factor": 4,
                   "original_max_position_embeddings": 64}})",
                  "rope scaling: high_freq_factor is "},
        BadConfig{"PartialRotary", R"({"partial_rotary_factor": 0.5})",
                  "partial_rotary_factor other than 1 is not supported"},
        BadConfig{"Activation", R"({"hidden_act": "tanh"})",
                  "hidden_act 'tanh' is not supported, expected silu"},
        BadConfig{"BiasIsNumber", R"({"attention_bias": 1})",
                  "attention_bias is 1, expected true or false"},
        BadConfig{"TiedIsString", R"({"tie_word_embeddings": "yes"})",
                  "tie_word_embeddings is \"yes\", expected true or false"},
        BadConfig{"EosPastVocab", R"({"eos_token_id": [2, 512]})",
                  "eos_token_id is 512, expected an id from 0 to 511"},
        BadConfig{"EosNegative", R"({"eos_token_id": -1})",
                  "eos_token_id is -1, expected an id from 0"},
        BadConfig{"BosIsString", R"({"bos_token_id": "<s>"})",
                  "bos_token_id is \"<s>\", expected an id from 0"},
        BadConfig{"MistralWindowZero",
                  R"({"architectures": ["MistralForCausalLM"],
                      "sliding_window": 0})",
                  "sliding_window is 0, expected an integer from 1"},
        BadConfig{"QwenLayerTypesShort",
                  R"({"architectures": ["Qwen2ForCausalLM"],
                      "layer_types": ["full_attention"]})",
                  "layer_types is [\"full_attention\"], expected an array of 5 "
                  "names"},
        BadConfig{"QwenLayerTypeUnknown",
                  R"({"architectures": ["Qwen3ForCausalLM"], "layer_types":
                      ["full_attention", "full_attention", "full_attention",
                       "full_attention", "linear_attention"]})",
                  "layer_types has \"linear_attention\", expected"}),
    [](const testing::TestParamInfo<BadConfig> &info) {
      return std::string(info.param.name);
    });

TEST(ModelConfigFile, MissingNotJsonNaNAndArray) {
  TempDir dir;
  expectError(errorOf(readModelConfig(dir.path)),
              "config.json': No such file or directory");
  dir.write("config.json", "{\"hidden_size\": 64,\n \"rms_norm_eps\": NaN}");
  expectError(errorOf(readModelConfig(dir.path)),
              "config.json: not JSON: parse error at line 2, column 18");
  dir.write("config.json", "[1]");
  expectError(errorOf(readModelConfig(dir.path)),
              "config.json: is [1], expected an object");
  dir.write("config.json", "{\"vocab_size\": 1, \"vocab_size\": 2}");
  expectError(errorOf(readModelConfig(dir.path)), "duplicate key 'vocab_size'");
}

TEST(ModelConfigFile, GenerationConfigOverrulesEos) {
  TempDir dir;
  dir.write("config.json", base().dump());
  dir.write("generation_config.json", "{\"eos_token_id\": [5, 6]}");
  auto config = readModelConfig(dir.path);
  ASSERT_TRUE(bool(config));
  EXPECT_EQ(config->eosIds, (std::vector<int64_t>{5, 6}));
  dir.write("generation_config.json", "{}");
  config = readModelConfig(dir.path);
  ASSERT_TRUE(bool(config));
  EXPECT_EQ(config->eosIds, (std::vector<int64_t>{2}));
  dir.write("generation_config.json", "{\"eos_token_id\": 5000}");
  expectError(errorOf(readModelConfig(dir.path)),
              "generation_config.json: eos_token_id is 5000");
}

static void expectEqual(const ModelConfig &a, const ModelConfig &b) {
  EXPECT_EQ(a.architecture, b.architecture);
  EXPECT_EQ(a.headDim, b.headDim);
  EXPECT_EQ(a.kvHeads, b.kvHeads);
  EXPECT_EQ(a.rmsEps, b.rmsEps);
  EXPECT_EQ(a.rope.theta, b.rope.theta);
  EXPECT_EQ(a.rope.scaling, b.rope.scaling);
  EXPECT_EQ(a.rope.factor, b.rope.factor);
  EXPECT_EQ(a.rope.original, b.rope.original);
  EXPECT_EQ(a.tied, b.tied);
  EXPECT_EQ(a.qkvBias, b.qkvBias);
  EXPECT_EQ(a.qkNorm, b.qkNorm);
  EXPECT_EQ(a.windows, b.windows);
  EXPECT_EQ(a.eosIds, b.eosIds);
}

TEST(ModelConfigFile, GoldenFoldersInBothLayouts) {
  SKIP_WITHOUT_SHARED_DATA("golden");
  for (const char *name : {"llama", "llama-tied-mha", "llama3-rope", "mistral",
                           "qwen2", "qwen3"}) {
    SCOPED_TRACE(name);
    std::string folder = sharedData() + "/golden/" + name;
    auto old = readModelConfig(folder);
    ASSERT_TRUE(bool(old)) << llvm::toString(old.takeError());
    auto json = readJsonFile(folder + "/config.v5.json");
    ASSERT_TRUE(bool(json));
    auto v5 = parseModelConfig(*json, "v5");
    ASSERT_TRUE(bool(v5)) << llvm::toString(v5.takeError());
    expectEqual(*old, *v5);
    EXPECT_EQ(old->hidden, 64);
    EXPECT_EQ(old->layers, 2);
    EXPECT_EQ(old->vocab, 512);
  }
  for (const char *name : {"bert", "gemma", "gpt2", "mixtral", "phi3"})
    expectError(errorOf(readModelConfig(sharedData() + "/golden/" + name)),
                "is not supported, expected one of LlamaForCausalLM");
}
