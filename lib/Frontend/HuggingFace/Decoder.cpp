//===- Decoder.cpp - The graph of a decoder as IR -------------------------===//
//
// The pre-norm decoder that all imported families share, for hidden size h,
// intermediate size m, H query heads and G key/value heads of size d:
//
//   x [?, h]
//   n = rms_norm(x)
//   q, k, v = linear(n)            [?, H d], [?, G d], [?, G d]
//   q, k = rms_norm per head       (qkNorm)
//   q, k = rotary(q, k)
//   x += linear(attention(q, k, v))
//   n = rms_norm(x)
//   x += linear(act(linear(n)) * linear(n))
//
//===----------------------------------------------------------------------===//
#include "Decoder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include <cmath>

using namespace mlir;
using namespace mlir::qc;

namespace {

class DecoderBuilder {
public:
  DecoderBuilder(ModuleOp module, const ::qc::ModelConfig &config,
                 const WeightTable &weights)
      : module(module), b(module.getContext()), config(config),
        weights(weights), loc(b.getUnknownLoc()) {}

  void build();

private:
  enum class Entry { Prefill, Decode, Score };

  func::FuncOp startFunction(StringRef name, TypeRange inputs, Type result);
  void buildLayer(int64_t layer);
  void buildEntry(StringRef name, Entry kind);

  // Pieces of a graph, at the insertion point. `name` is that of a tensor.
  Value dense(StringRef name);
  Value rmsNorm(Value x, StringRef name);
  /// Weight and bias of a linear layer, "model.layers.0.mlp.up_proj".
  Value linear(Value x, const std::string &name);
  Value attention(Value x, Value rope, Value cache, Value position,
                  int64_t layer);
  Value mlp(Value x, int64_t layer);

  RankedTensorType rows(int64_t columns, int64_t count = ShapedType::kDynamic) {
    return RankedTensorType::get({count, columns}, b.getF32Type());
  }
  lm::KVCacheType cacheType(bool oneLayer) {
    SmallVector<int64_t> shape = {config.layers, config.kvHeads,
                                  config.headDim};
    if (oneLayer)
      shape.erase(shape.begin());
    return lm::KVCacheType::get(b.getContext(), shape, b.getF32Type());
  }
  lm::RopeAttr ropeAttr();
  static std::string layerName(int64_t layer) {
    return "layer_" + std::to_string(layer);
  }

  ModuleOp module;
  OpBuilder b;
  const ::qc::ModelConfig &config;
  const WeightTable &weights;
  Location loc;
};

} // namespace

lm::RopeAttr DecoderBuilder::ropeAttr() {
  const ::qc::RopeConfig &rope = config.rope;
  lm::RopeScaling scaling = lm::RopeScaling::None;
  if (rope.scaling == ::qc::RopeScaling::Linear)
    scaling = lm::RopeScaling::Linear;
  if (rope.scaling == ::qc::RopeScaling::Llama3)
    scaling = lm::RopeScaling::Llama3;
  return lm::RopeAttr::get(b.getContext(), config.headDim, lm::Real{rope.theta},
                           scaling, lm::Real{rope.factor}, lm::Real{rope.low},
                           lm::Real{rope.high}, rope.original);
}

func::FuncOp DecoderBuilder::startFunction(StringRef name, TypeRange inputs,
                                           Type result) {
  b.setInsertionPointToEnd(module.getBody());
  auto function =
      func::FuncOp::create(b, loc, name, b.getFunctionType(inputs, {result}));
  b.setInsertionPointToStart(function.addEntryBlock());
  return function;
}

Value DecoderBuilder::dense(StringRef name) {
  WeightOp weight = weights.find(name);
  WeightType type = weight.getWeightType();
  Location named = weight.getLoc();
  Value stored = GetWeightOp::create(
      b, named, type, FlatSymbolRefAttr::get(b.getContext(), name));
  auto tensor = RankedTensorType::get(type.getShape(), b.getF32Type());
  return DequantizeOp::create(b, named, tensor, stored);
}

Value DecoderBuilder::rmsNorm(Value x, StringRef name) {
  return lm::RMSNormOp::create(b, loc, x, dense(name),
                               b.getF64FloatAttr(config.rmsEps));
}

Value DecoderBuilder::linear(Value x, const std::string &name) {
  Value weight = dense(name + ".weight"), bias;
  if (weights.find(name + ".bias"))
    bias = dense(name + ".bias");
  int64_t outputs = cast<RankedTensorType>(weight.getType()).getDimSize(0);
  return lm::LinearOp::create(b, NameLoc::get(b.getStringAttr(name)),
                              rows(outputs), x, weight, bias);
}

Value DecoderBuilder::attention(Value x, Value rope, Value cache,
                                Value position, int64_t layer) {
  std::string prefix = layerTensor(layer, "self_attn.");
  Value q = linear(x, prefix + "q_proj");
  Value k = linear(x, prefix + "k_proj");
  Value v = linear(x, prefix + "v_proj");
  if (config.qkNorm) {
    q = rmsNorm(q, prefix + "q_norm.weight");
    k = rmsNorm(k, prefix + "k_norm.weight");
  }
  q = lm::RotaryOp::create(b, loc, q, rope, config.headDim);
  k = lm::RotaryOp::create(b, loc, k, rope, config.headDim);
  double scale = 1 / std::sqrt(static_cast<double>(config.headDim));
  int64_t window = config.windows[static_cast<size_t>(layer)];
  Value mixed = lm::AttentionOp::create(
      b, loc, q.getType(), q, k, v, cache, position, b.getF64FloatAttr(scale),
      window ? b.getI64IntegerAttr(window) : IntegerAttr());
  return linear(mixed, prefix + "o_proj");
}

Value DecoderBuilder::mlp(Value x, int64_t layer) {
  std::string prefix = layerTensor(layer, "mlp.");
  Value gate = linear(x, prefix + "gate_proj");
  Value up = linear(x, prefix + "up_proj");
  auto kind = GateKind::SiLU;
  if (config.activation == ::qc::Activation::GELU)
    kind = GateKind::GELU;
  if (config.activation == ::qc::Activation::GELUTanh)
    kind = GateKind::GELUTanh;
  if (config.activation == ::qc::Activation::ReLU)
    kind = GateKind::ReLU;
  Value gated = lm::GatedActivationOp::create(
      b, loc, gate, up, GateKindAttr::get(b.getContext(), kind));
  return linear(gated, prefix + "down_proj");
}

void DecoderBuilder::buildLayer(int64_t layer) {
  RankedTensorType hidden = rows(config.hidden);
  func::FuncOp function = startFunction(
      layerName(layer),
      {hidden, rows(config.headDim), cacheType(true), b.getIndexType()},
      hidden);
  function.setPrivate();
  Value x = function.getArgument(0), rope = function.getArgument(1),
        cache = function.getArgument(2), position = function.getArgument(3);
  Value n = rmsNorm(x, layerTensor(layer, "input_layernorm.weight"));
  Value attended = attention(n, rope, cache, position, layer);
  x = arith::AddFOp::create(b, loc, x, attended);
  n = rmsNorm(x, layerTensor(layer, "post_attention_layernorm.weight"));
  Value projected = mlp(n, layer);
  x = arith::AddFOp::create(b, loc, x, projected);
  func::ReturnOp::create(b, loc, x);
}

void DecoderBuilder::buildEntry(StringRef name, Entry kind) {
  Type i32 = b.getI32Type();
  auto someIds = RankedTensorType::get({ShapedType::kDynamic}, i32);
  auto oneId = RankedTensorType::get({1}, i32);
  int64_t resultRows = kind == Entry::Score ? ShapedType::kDynamic : 1;
  func::FuncOp function =
      startFunction(name,
                    {kind == Entry::Decode ? oneId : someIds, b.getIndexType(),
                     cacheType(false)},
                    rows(config.vocab, resultRows));
  Value ids = function.getArgument(0), position = function.getArgument(1),
        cache = function.getArgument(2);
  // Layers take any number of tokens.
  if (kind == Entry::Decode)
    ids = tensor::CastOp::create(b, loc, someIds, ids);
  Value embedding = dense(embeddingName);
  Value x =
      lm::EmbeddingOp::create(b, loc, rows(config.hidden), ids, embedding);
  Value rope = lm::RotaryTableOp::create(b, loc, rows(config.headDim), ids,
                                         position, ropeAttr());
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    Value part =
        lm::CacheLayerOp::create(b, loc, cacheType(true), cache, layer);
    x = func::CallOp::create(b, loc, layerName(layer), TypeRange{x.getType()},
                             ValueRange{x, rope, part, position})
            .getResult(0);
  }
  if (kind != Entry::Score)
    x = lm::LastTokenOp::create(b, loc, rows(config.hidden, 1), x);
  Value n = rmsNorm(x, normName);
  Value head = config.tied ? embedding : dense(headName);
  Value logits =
      lm::LogitsOp::create(b, NameLoc::get(b.getStringAttr("lm_head")),
                           rows(config.vocab, resultRows), n, head);
  func::ReturnOp::create(b, loc, logits);
}

void DecoderBuilder::build() {
  for (int64_t layer = 0; layer < config.layers; ++layer)
    buildLayer(layer);
  buildEntry("prefill", Entry::Prefill);
  buildEntry("decode", Entry::Decode);
  buildEntry("score", Entry::Score);
}

void mlir::qc::buildDecoder(ModuleOp module, const ::qc::ModelConfig &config,
                            const WeightTable &weights) {
  DecoderBuilder(module, config, weights).build();
}
