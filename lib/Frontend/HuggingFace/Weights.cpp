//===- Weights.cpp - Tensors of a checkpoint as qc.weight -----------------===//
#include "Weights.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace mlir::qc;
using ::qc::CheckpointDir;
using ::qc::makeError;
using ::qc::ModelConfig;
using ::qc::quote;

std::string mlir::qc::layerTensor(int64_t layer, StringRef name) {
  return ("model.layers." + Twine(layer) + "." + name).str();
}

std::vector<ExpectedTensor>
mlir::qc::expectedTensors(const ModelConfig &config) {
  std::vector<ExpectedTensor> tensors;
  auto add = [&](std::string name, SmallVector<int64_t, 2> shape) {
    tensors.push_back({std::move(name), std::move(shape)});
  };
  int64_t hidden = config.hidden, intermediate = config.intermediate;
  int64_t queries = config.heads * config.headDim;
  int64_t keys = config.kvHeads * config.headDim;
  add(embeddingName.str(), {config.vocab, hidden});
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    auto linear = [&](const Twine &module, int64_t n, int64_t k, bool bias) {
      add(layerTensor(layer, (module + ".weight").str()), {n, k});
      if (bias)
        add(layerTensor(layer, (module + ".bias").str()), {n});
    };
    auto norm = [&](const Twine &module, int64_t n) {
      add(layerTensor(layer, (module + ".weight").str()), {n});
    };
    norm("input_layernorm", hidden);
    linear("self_attn.q_proj", queries, hidden, config.qkvBias);
    linear("self_attn.k_proj", keys, hidden, config.qkvBias);
    linear("self_attn.v_proj", keys, hidden, config.qkvBias);
    if (config.qkNorm) {
      norm("self_attn.q_norm", config.headDim);
      norm("self_attn.k_norm", config.headDim);
    }
    linear("self_attn.o_proj", hidden, queries, config.outputBias);
    norm("post_attention_layernorm", hidden);
    linear("mlp.gate_proj", intermediate, hidden, config.mlpBias);
    linear("mlp.up_proj", intermediate, hidden, config.mlpBias);
    linear("mlp.down_proj", hidden, intermediate, config.mlpBias);
  }
  add(normName.str(), {hidden});
  if (!config.tied)
    add(headName.str(), {config.vocab, hidden});
  return tensors;
}

static bool sameBytes(const CheckpointDir::Entry &a,
                      const CheckpointDir::Entry &b) {
  return a.tensor->spec.type == b.tensor->spec.type &&
         a.tensor->spec.shape == b.tensor->spec.shape &&
         std::memcmp(a.tensor->data, b.tensor->data,
                     static_cast<size_t>(a.tensor->bytes)) == 0;
}

/// A checkpoint that says "tied" may store a head all the same. If it is not
/// the embedding, somebody trained it: use it.
static void untieIfStored(Location loc, const CheckpointDir &checkpoint,
                          ModelConfig &config) {
  if (!config.tied)
    return;
  CheckpointDir::Entry head = checkpoint.find(headName),
                       embedding = checkpoint.find(embeddingName);
  if (!head.tensor || !embedding.tensor || sameBytes(head, embedding))
    return;
  emitWarning(loc) << head.file->path()
                   << ": tie_word_embeddings is true, but '" << headName
                   << "' differs from '" << embeddingName << "': it is used";
  config.tied = false;
}

static void warnAboutUnused(Location loc, const CheckpointDir &checkpoint,
                            ArrayRef<ExpectedTensor> expected) {
  llvm::StringSet<> used;
  for (const ExpectedTensor &tensor : expected)
    used.insert(tensor.name);
  std::string names;
  int64_t count = 0;
  for (const CheckpointDir::Entry &entry : checkpoint.tensors()) {
    StringRef name = entry.tensor->spec.name;
    // Old checkpoints store the frequencies that config.json implies. A head
    // equal to the embedding is not missed either.
    if (used.contains(name) || name.ends_with("rotary_emb.inv_freq") ||
        name == headName)
      continue;
    if (++count <= 3)
      names += (names.empty() ? "" : ", ") + quote(name);
  }
  if (count == 0)
    return;
  emitWarning(loc) << checkpoint.path() << ": " << count
                   << (count == 1 ? " tensor is" : " tensors are")
                   << " not used: " << names << (count > 3 ? ", ..." : "");
}

static llvm::Error checkMissing(const CheckpointDir &checkpoint,
                                ArrayRef<ExpectedTensor> expected) {
  const ExpectedTensor *first = nullptr;
  int64_t count = 0;
  for (const ExpectedTensor &tensor : expected)
    if (!checkpoint.find(tensor.name).tensor) {
      ++count;
      if (!first)
        first = &tensor;
    }
  if (!first)
    return llvm::Error::success();
  std::string more =
      count > 1 ? " (and " + std::to_string(count - 1) + " more)" : "";
  return makeError(checkpoint.path(), ": tensor ", quote(first->name),
                   " is missing", more);
}

/// The float format of a stored type; null if it has none.
static FormatAttrInterface formatOf(MLIRContext *context, ::qc::DType type) {
  Builder b(context);
  switch (type) {
  case ::qc::DType::F32:
    return FloatFormatAttr::get(context, b.getF32Type());
  case ::qc::DType::F16:
    return FloatFormatAttr::get(context, b.getF16Type());
  case ::qc::DType::BF16:
    return FloatFormatAttr::get(context, b.getBF16Type());
  default:
    return {};
  }
}

llvm::Error WeightTable::declare(OpBuilder &builder,
                                 const CheckpointDir &checkpoint,
                                 ModelConfig &config, bool checkValues) {
  MLIRContext *context = builder.getContext();
  untieIfStored(builder.getUnknownLoc(), checkpoint, config);
  std::vector<ExpectedTensor> expected = expectedTensors(config);
  if (llvm::Error error = checkMissing(checkpoint, expected))
    return error;
  llvm::DenseMap<const ::qc::SafetensorsFile *, std::string> realPaths;
  for (const auto &file : checkpoint.files()) {
    SmallString<128> path;
    if (std::error_code code = llvm::sys::fs::real_path(file->path(), path))
      return makeError("cannot read '", file->path(), "': ", code.message());
    realPaths[file.get()] = std::string(path);
  }
  for (const ExpectedTensor &wanted : expected) {
    auto [tensor, file] = checkpoint.find(wanted.name);
    std::string where = (file->path() + ": tensor " + quote(wanted.name)).str();
    if (ArrayRef<int64_t>(tensor->spec.shape) != ArrayRef(wanted.shape)) {
      ::qc::TensorSpec spec = tensor->spec;
      std::string found = describe(spec);
      spec.shape.assign(wanted.shape.begin(), wanted.shape.end());
      return makeError(where, " is ", found, ", expected ", describe(spec),
                       " by config.json");
    }
    FormatAttrInterface format = formatOf(context, tensor->spec.type);
    if (!format)
      return makeError(where, " is ", describe(tensor->spec),
                       ", expected F32, F16 or BF16");
    if (checkValues) {
      if (llvm::Error error = checkFinite(*file, *tensor))
        return error;
      file->release(*tensor);
    }
    auto component = ExternalAttr::get(context, realPaths[file], tensor->offset,
                                       tensor->bytes);
    weights[wanted.name] = WeightOp::create(
        builder, NameLoc::get(builder.getStringAttr(wanted.name)), wanted.name,
        WeightType::get(context, wanted.shape, format, /*packedRows=*/0),
        builder.getArrayAttr({component}));
  }
  warnAboutUnused(builder.getUnknownLoc(), checkpoint, expected);
  return llvm::Error::success();
}
