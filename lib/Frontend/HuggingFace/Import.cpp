//===- Import.cpp - From a model folder to IR -----------------------------===//
#include "qc/Frontend/Import.h"

#include "Decoder.h"
#include "Weights.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Verifier.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Frontend/TokenizerFiles.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlir::qc;
using ::qc::makeError;
using ::qc::ModelConfig;
using ::qc::TokenizerInfo;

static DictionaryAttr configAttr(Builder &b, const ModelConfig &config,
                                 StringRef source) {
  SmallVector<NamedAttribute> fields;
  auto number = [&](StringRef name, int64_t value) {
    fields.push_back(b.getNamedAttr(name, b.getI64IntegerAttr(value)));
  };
  auto text = [&](StringRef name, StringRef value) {
    fields.push_back(b.getNamedAttr(name, b.getStringAttr(value)));
  };
  text("name", llvm::sys::path::filename(source));
  text("architecture", config.architecture);
  text("source", source);
  number("vocab_size", config.vocab);
  number("hidden_size", config.hidden);
  number("intermediate_size", config.intermediate);
  number("num_layers", config.layers);
  number("num_heads", config.heads);
  number("num_kv_heads", config.kvHeads);
  number("head_dim", config.headDim);
  number("max_positions", config.maxPositions);
  if (config.bosId)
    number("bos_id", *config.bosId);
  if (!config.eosIds.empty())
    fields.push_back(
        b.getNamedAttr("eos_ids", b.getI64ArrayAttr(config.eosIds)));
  return b.getDictionaryAttr(fields);
}

static DictionaryAttr tokenizerAttr(Builder &b, const TokenizerInfo &info) {
  SmallVector<NamedAttribute> fields;
  auto text = [&](StringRef name, StringRef value) {
    if (!value.empty())
      fields.push_back(b.getNamedAttr(name, b.getStringAttr(value)));
  };
  text("kind", info.kind);
  text("file", info.file);
  text("bos_token", info.bosToken);
  text("eos_token", info.eosToken);
  text("chat_template", info.chatTemplate);
  fields.push_back(b.getNamedAttr("add_bos", b.getBoolAttr(info.addBos)));
  fields.push_back(b.getNamedAttr("eos_ids", b.getI64ArrayAttr(info.eosIds)));
  if (info.bosId)
    fields.push_back(
        b.getNamedAttr("bos_id", b.getI64IntegerAttr(*info.bosId)));
  return b.getDictionaryAttr(fields);
}

llvm::Expected<OwningOpRef<ModuleOp>>
mlir::qc::importModel(MLIRContext &context, StringRef folder,
                      const ImportOptions &options) {
  if (!llvm::sys::fs::exists(folder))
    return makeError("cannot read '", folder, "': no such folder");
  if (!llvm::sys::fs::is_directory(folder))
    return makeError("cannot read '", folder, "': not a folder");
  // The IR outlives the working directory.
  SmallString<128> source;
  if (std::error_code code = llvm::sys::fs::real_path(folder, source))
    return makeError("cannot read '", folder, "': ", code.message());
  auto config = ::qc::readModelConfig(source);
  if (!config)
    return config.takeError();
  auto checkpoint = ::qc::CheckpointDir::open(source);
  if (!checkpoint)
    return checkpoint.takeError();

  context.loadDialect<QCDialect, lm::LMDialect, arith::ArithDialect,
                      func::FuncDialect, tensor::TensorDialect>();
  OpBuilder b(&context);
  Location loc = b.getUnknownLoc();
  OwningOpRef<ModuleOp> module =
      ModuleOp::create(b, loc, llvm::sys::path::filename(source));
  if (options.tokenizer) {
    std::vector<std::string> warnings;
    auto tokenizer = ::qc::readTokenizer(source, *config, warnings);
    if (!tokenizer)
      return tokenizer.takeError();
    for (const std::string &warning : warnings)
      emitWarning(loc) << warning;
    if (*tokenizer)
      (*module)->setAttr("lm.tokenizer", tokenizerAttr(b, **tokenizer));
  }
  b.setInsertionPointToEnd(module->getBody());
  WeightTable weights;
  if (llvm::Error error =
          weights.declare(b, **checkpoint, *config, options.checkValues))
    return error;
  (*module)->setAttr("lm.config", configAttr(b, *config, source));
  buildDecoder(*module, *config, weights);
  // Every fact was checked above; what the verifier finds is our mistake.
  if (failed(verify(*module)))
    return makeError(source, ": the imported module is invalid");
  return module;
}
