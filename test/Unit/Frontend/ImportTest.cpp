//===- ImportTest.cpp - Model folders as IR -------------------------------===//
#include "TestFiles.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Frontend/Import.h"
#include <map>
#include <nlohmann/json.hpp>

using namespace mlir;
using namespace ::qc::test;
using Json = nlohmann::ordered_json;

namespace {

/// A model folder of two layers, made here: hidden 8, 2 heads of 4, 1 key/value
/// head, intermediate 6, vocabulary 10, f32.
struct TinyModel {
  Json config = Json::parse(R"({"architectures": ["LlamaForCausalLM"],
    "vocab_size": 10, "hidden_size": 8, "intermediate_size": 6,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 32, "rms_norm_eps": 1e-5})");
  struct Tensor {
    std::string type;
    std::vector<int64_t> shape;
    std::string data;
  };
  std::map<std::string, Tensor> tensors;

  TinyModel() {
    add("model.embed_tokens.weight", {10, 8});
    add("lm_head.weight", {10, 8}, 'h');
    add("model.norm.weight", {8});
    for (std::string layer : {"model.layers.0.", "model.layers.1."}) {
      add(layer + "input_layernorm.weight", {8});
      add(layer + "post_attention_layernorm.weight", {8});
      add(layer + "self_attn.q_proj.weight", {8, 8});
      add(layer + "self_attn.k_proj.weight", {4, 8});
      add(layer + "self_attn.v_proj.weight", {4, 8});
      add(layer + "self_attn.o_proj.weight", {8, 8});
      add(layer + "mlp.gate_proj.weight", {6, 8});
      add(layer + "mlp.up_proj.weight", {6, 8});
      add(layer + "mlp.down_proj.weight", {8, 6});
    }
  }
  void add(const std::string &name, std::vector<int64_t> shape, char fill = 'a',
           const std::string &type = "F32") {
    size_t count = 1;
    for (int64_t size : shape)
      count *= static_cast<size_t>(size);
    size_t width = type == "F64" ? 8 : type == "F32" ? 4 : type == "U8" ? 1 : 2;
    tensors[name] = {type, shape, std::string(count * width, fill)};
  }
  /// Writes the folder; place of each tensor's data in the file.
  std::map<std::string, size_t> write(const TempDir &dir) const {
    Json header;
    std::string data;
    std::map<std::string, size_t> places;
    for (const auto &[name, tensor] : tensors) {
      places[name] = data.size();
      header[name] = {
          {"dtype", tensor.type},
          {"shape", tensor.shape},
          {"data_offsets", {data.size(), data.size() + tensor.data.size()}}};
      data += tensor.data;
    }
    dir.write("model.safetensors", safetensors(header.dump(), data));
    dir.write("config.json", config.dump());
    for (auto &[name, place] : places)
      place += 8 + header.dump().size();
    return places;
  }
};

class Import : public testing::Test {
protected:
  Import() {
    context.getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
      messages.push_back(diagnostic.str());
      return success();
    });
  }
  OwningOpRef<ModuleOp> import(const std::string &folder) {
    auto module = mlir::qc::importModel(context, folder, options);
    if (module)
      return std::move(*module);
    ADD_FAILURE() << llvm::toString(module.takeError());
    return {};
  }
  OwningOpRef<ModuleOp> import(const TinyModel &model) {
    model.write(dir);
    return import(dir.path);
  }
  std::string error(const TinyModel &model) {
    model.write(dir);
    return errorOf(mlir::qc::importModel(context, dir.path, options));
  }
  template <typename Op>
  static int64_t count(ModuleOp module) {
    int64_t n = 0;
    module.walk([&](Op) { ++n; });
    return n;
  }

  MLIRContext context;
  mlir::qc::ImportOptions options;
  std::vector<std::string> messages;
  TempDir dir;
  TinyModel model;
};

} // namespace

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << *module;
  return text;
}

TEST_F(Import, WeightsReferToTheirBytes) {
  std::map<std::string, size_t> places = model.write(dir);
  OwningOpRef<ModuleOp> module = import(dir.path);
  ASSERT_TRUE(module);
  std::string file =
      std::filesystem::canonical(dir.file("model.safetensors")).string();
  for (auto weight : module->getOps<mlir::qc::WeightOp>()) {
    std::string name = weight.getSymName().str();
    ASSERT_TRUE(places.count(name)) << name;
    mlir::qc::ExternalAttr component = weight.getComponent(0);
    EXPECT_EQ(component.getFile(), file);
    EXPECT_EQ(component.getOffset(), static_cast<int64_t>(places[name]));
    EXPECT_EQ(component.getLength(),
              static_cast<int64_t>(model.tensors[name].data.size()));
    EXPECT_EQ(weight.getWeightType().getShape(),
              ArrayRef<int64_t>(model.tensors[name].shape));
    places.erase(name);
  }
  EXPECT_TRUE(places.empty());
  EXPECT_TRUE(messages.empty());
  EXPECT_FALSE((*module)->hasAttr("lm.tokenizer"));
}

TEST_F(Import, Structure) {
  OwningOpRef<ModuleOp> module = import(model);
  ASSERT_TRUE(module);
  std::vector<std::string> names;
  for (auto function : module->getOps<func::FuncOp>())
    names.push_back(function.getName().str());
  EXPECT_EQ(names, (std::vector<std::string>{"layer_0", "layer_1", "prefill",
                                             "decode", "score"}));
  EXPECT_EQ(count<lm::LinearOp>(*module), 2 * 7);
  EXPECT_EQ(count<lm::RMSNormOp>(*module), 2 * 2 + 3);
  EXPECT_EQ(count<lm::RotaryOp>(*module), 2 * 2);
  EXPECT_EQ(count<lm::AttentionOp>(*module), 2);
  EXPECT_EQ(count<lm::GatedActivationOp>(*module), 2);
  EXPECT_EQ(count<func::CallOp>(*module), 2 * 3);
  EXPECT_EQ(count<lm::LastTokenOp>(*module), 2); // not in @score
  EXPECT_EQ(count<lm::LogitsOp>(*module), 3);
  auto config = (*module)->getAttrOfType<DictionaryAttr>("lm.config");
  ASSERT_TRUE(config);
  EXPECT_EQ(config.getAs<IntegerAttr>("vocab_size").getInt(), 10);
  EXPECT_EQ(config.getAs<IntegerAttr>("num_layers").getInt(), 2);
  EXPECT_EQ(config.getAs<StringAttr>("architecture"), "LlamaForCausalLM");
  auto score = module->lookupSymbol<func::FuncOp>("score");
  EXPECT_EQ(score.getResultTypes()[0],
            RankedTensorType::get({ShapedType::kDynamic, 10},
                                  Float32Type::get(&context)));
}

TEST_F(Import, PrintsAndParses) {
  OwningOpRef<ModuleOp> module = import(model);
  ASSERT_TRUE(module);
  std::string text = print(*module);
  OwningOpRef<ModuleOp> parsed = parseSourceString<ModuleOp>(text, &context);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(print(*parsed), text);
}

TEST_F(Import, HalfAndBrainFloat) {
  model.add("lm_head.weight", {10, 8}, 'h', "F16");
  model.add("model.norm.weight", {8}, 'n', "BF16");
  OwningOpRef<ModuleOp> module = import(model);
  ASSERT_TRUE(module);
  std::string text = print(*module);
  EXPECT_NE(text.find("@lm_head.weight : !qc.weight<10x8, #qc.float<f16>>"),
            std::string::npos);
  EXPECT_NE(text.find("@model.norm.weight : !qc.weight<8, #qc.float<bf16>>"),
            std::string::npos);
}

TEST_F(Import, Tied) {
  model.config["tie_word_embeddings"] = true;
  model.tensors.erase("lm_head.weight");
  OwningOpRef<ModuleOp> module = import(model);
  ASSERT_TRUE(module);
  EXPECT_FALSE(module->lookupSymbol("lm_head.weight"));
  module->walk([](lm::LogitsOp op) {
    auto weight = op.getWeight().getDefiningOp<mlir::qc::DequantizeOp>();
    auto get = weight.getWeight().getDefiningOp<mlir::qc::GetWeightOp>();
    EXPECT_EQ(get.getWeight(), "model.embed_tokens.weight");
  });
}

TEST_F(Import, TiedWithEqualHead) {
  model.config["tie_word_embeddings"] = true;
  model.add("lm_head.weight", {10, 8}, 'a');
  OwningOpRef<ModuleOp> module = import(model);
  ASSERT_TRUE(module);
  EXPECT_FALSE(module->lookupSymbol("lm_head.weight"));
  EXPECT_TRUE(messages.empty());
}

TEST_F(Import, TiedWithHeadOfItsOwn) {
  model.config["tie_word_embeddings"] = true;
  OwningOpRef<ModuleOp> module = import(model);
  ASSERT_TRUE(module);
  EXPECT_TRUE(module->lookupSymbol("lm_head.weight"));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_NE(messages[0].find("'lm_head.weight' differs from"),
            std::string::npos);
}

TEST_F(Import, UnusedTensorsAreSaid) {
  for (const char *name :
       {"x1", "x2", "x3", "x4", "model.layers.0.self_attn.rotary_emb.inv_freq"})
    model.add(name, {2});
  ASSERT_TRUE(import(model));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_NE(messages[0].find("4 tensors are not used: 'x1', 'x2', 'x3', ..."),
            std::string::npos)
      << messages[0];
}

TEST_F(Import, MissingTensor) {
  model.tensors.erase("model.layers.1.mlp.up_proj.weight");
  expectError(error(model),
              ": tensor 'model.layers.1.mlp.up_proj.weight' is missing");
  model.tensors.erase("model.layers.0.self_attn.q_proj.weight");
  expectError(error(model), ": tensor 'model.layers.0.self_attn.q_proj.weight' "
                            "is missing (and 1 more)");
}

TEST_F(Import, MissingBias) {
  model.config["attention_bias"] = true;
  expectError(error(model),
              "tensor 'model.layers.0.self_attn.q_proj.bias' is missing");
}

TEST_F(Import, MissingHead) {
  model.tensors.erase("lm_head.weight");
  expectError(error(model), "tensor 'lm_head.weight' is missing");
}

TEST_F(Import, ShapeAgainstConfig) {
  model.config["intermediate_size"] = 7;
  expectError(error(model),
              "model.safetensors: tensor 'model.layers.0.mlp.gate_proj.weight' "
              "is F32 [6, 8], expected F32 [7, 8] by config.json");
}

TEST_F(Import, TransposedWeight) {
  model.add("model.layers.1.mlp.down_proj.weight", {6, 8});
  expectError(error(model), "is F32 [6, 8], expected F32 [8, 6]");
}

TEST_F(Import, RankOfWeight) {
  model.add("model.norm.weight", {8, 1});
  expectError(error(model), "is F32 [8, 1], expected F32 [8]");
}

TEST_F(Import, DoubleAndIntegerWeights) {
  model.add("model.norm.weight", {8}, 'n', "F64");
  expectError(error(model), "tensor 'model.norm.weight' is F64 [8], expected "
                            "F32, F16 or BF16");
  model.add("model.norm.weight", {8}, 'n', "U8");
  expectError(error(model), "is U8 [8], expected F32, F16 or BF16");
}

TEST_F(Import, NaNWeight) {
  std::string &data =
      model.tensors["model.layers.1.self_attn.k_proj.weight"].data;
  std::memcpy(data.data() + 4 * 19, "\0\0\xc0\x7f", 4);
  expectError(error(model), "tensor 'model.layers.1.self_attn.k_proj.weight' "
                            "is NaN at [2, 3], expected finite numbers");
  options.checkValues = false;
  EXPECT_EQ(error(model), "");
}

TEST_F(Import, NoFolder) {
  expectError(errorOf(mlir::qc::importModel(context, dir.file("none"))),
              "none': no such folder");
  expectError(errorOf(mlir::qc::importModel(context, dir.write("f", ""))),
              "not a folder");
}

TEST_F(Import, BadTokenizerCanBeLeftOut) {
  dir.write("tokenizer.json", "{}");
  expectError(error(model), "tokenizer.json: ");
  options.tokenizer = false;
  EXPECT_EQ(error(model), "");
}

TEST_F(Import, Stories) {
  OwningOpRef<ModuleOp> module =
      import(std::string(QC_SOURCE_DIR "/examples/stories260K"));
  ASSERT_TRUE(module);
  int64_t parameters = 0;
  for (auto weight : module->getOps<mlir::qc::WeightOp>())
    parameters += weight.getWeightType().getNumElements();
  EXPECT_EQ(parameters, 260032); // as published
  auto tokenizer = (*module)->getAttrOfType<DictionaryAttr>("lm.tokenizer");
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer.getAs<StringAttr>("kind"), "tokenizer.json");
  EXPECT_TRUE(tokenizer.getAs<BoolAttr>("add_bos").getValue());
  EXPECT_EQ(tokenizer.getAs<IntegerAttr>("bos_id").getInt(), 1);
  EXPECT_TRUE(messages.empty());
}

TEST_F(Import, GoldenFamilies) {
  SKIP_WITHOUT_SHARED_DATA("golden");
  struct Family {
    const char *name;
    int64_t parameters; // as golden.json says
    int64_t biases, headNorms, window, headDim;
  };
  for (Family family : {Family{"llama", 151872, 0, 0, 0, 16},
                        {"llama-tied-mha", 127296, 0, 0, 0, 16},
                        {"llama3-rope", 151872, 0, 0, 0, 16},
                        {"mistral", 151872, 0, 0, 8, 16},
                        {"qwen2", 119360, 3, 0, 0, 16},
                        {"qwen3", 176576, 0, 2, 0, 32}}) {
    SCOPED_TRACE(family.name);
    OwningOpRef<ModuleOp> module =
        import(sharedData() + "/golden/" + family.name);
    ASSERT_TRUE(module);
    int64_t parameters = 0, biases = 0;
    for (auto weight : module->getOps<mlir::qc::WeightOp>())
      parameters += weight.getWeightType().getNumElements();
    EXPECT_EQ(parameters, family.parameters);
    module->walk([&](lm::LinearOp op) { biases += bool(op.getBias()); });
    EXPECT_EQ(biases, 2 * family.biases);
    EXPECT_EQ(count<lm::RMSNormOp>(*module), 2 * (2 + family.headNorms) + 3);
    module->walk([&](lm::AttentionOp op) {
      EXPECT_EQ(op.getWindow().value_or(0),
                static_cast<uint64_t>(family.window));
      EXPECT_EQ(op.getCache().getType().getHeadDim(), family.headDim);
    });
    bool llama3 = StringRef(family.name) == "llama3-rope";
    module->walk([&](lm::RotaryTableOp op) {
      EXPECT_EQ(op.getRope().getScaling(),
                llama3 ? lm::RopeScaling::Llama3 : lm::RopeScaling::None);
      EXPECT_EQ(op.getRope().getOriginal(), llama3 ? 64 : 0);
    });
    EXPECT_TRUE(messages.empty());
  }
}
