//===- Metadata.cpp - The artefact's description of itself ----------------===//
#include "Metadata.h"

#include "qc/Dialect/LM/IR/LMDialect.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include <map>

using namespace mlir;
using namespace mlir::qc;
namespace json = llvm::json;

static json::Value toJSON(Attribute attr) {
  return llvm::TypeSwitch<Attribute, json::Value>(attr)
      .Case([](BoolAttr a) { return json::Value(a.getValue()); })
      .Case([](IntegerAttr a) { return json::Value(a.getInt()); })
      .Case([](FloatAttr a) { return json::Value(a.getValueAsDouble()); })
      .Case([](StringAttr a) {
        StringRef text = a.getValue();
        // Whatever a checkpoint says becomes valid JSON.
        return json::Value(json::isUTF8(text) ? text.str()
                                              : json::fixUTF8(text));
      })
      .Case([](ArrayAttr a) {
        json::Array array;
        for (Attribute element : a)
          array.push_back(toJSON(element));
        return json::Value(std::move(array));
      })
      .Case([](DictionaryAttr a) {
        json::Object object;
        for (NamedAttribute field : a)
          object[field.getName().getValue()] = toJSON(field.getValue());
        return json::Value(std::move(object));
      })
      .Default([](Attribute) { return json::Value(nullptr); });
}

namespace {
struct Totals {
  int64_t count = 0, parameters = 0, bytes = 0;
  double bits = 0; ///< of the logical components
};
} // namespace

llvm::Expected<std::string> mlir::qc::buildMetadata(ArrayRef<ModuleOp> modules,
                                                    StringRef recipe,
                                                    StringRef cpu) {
  std::map<std::string, Totals> formats;
  Totals all;
  int64_t tableBytes = 0, rowBytes = 0;
  llvm::StringSet<> counted;
  for (ModuleOp module : modules) {
    llvm::StringSet<> lookedUp, multiplied;
    // Weights reach their users directly or through arguments of a layer; the
    // embedding is looked up where it is referenced.
    module.walk([&](EmbeddingOp op) {
      if (auto get = op.getWeight().getDefiningOp<GetWeightOp>())
        lookedUp.insert(get.getWeight());
    });
    module.walk([&](GetWeightOp get) {
      for (Operation *user : get->getUsers())
        if (!isa<EmbeddingOp>(user))
          multiplied.insert(get.getWeight());
    });
    for (auto weight : module.getOps<WeightOp>()) {
      WeightType type = weight.getWeightType();
      int64_t bytes = weight.getComponent(0).getLength();
      // Both halves may have it.
      bool isNew = counted.insert(weight.getSymName()).second;
      double bits = type.isMatrix()
                        ? type.getFormat().getHostFormat()->bitsPerWeight(
                              type.getN(), type.getK())
                        : 32.0;
      for (Totals *totals :
           {&formats[formatSpelling(type.getFormat())], &all}) {
        totals->count += isNew;
        if (isNew)
          totals->parameters += type.getNumElements();
        totals->bytes += bytes;
        if (isNew)
          totals->bits += bits * static_cast<double>(type.getNumElements());
      }
      if (lookedUp.contains(weight.getSymName()) &&
          !multiplied.contains(weight.getSymName())) {
        tableBytes += bytes;
        rowBytes += bytes / type.getN();
      }
    }
  }
  ModuleOp module = modules.front();
  json::Array weights;
  std::string summary;
  for (auto &[format, totals] : formats) {
    double bits = totals.bits / static_cast<double>(totals.parameters);
    weights.push_back(json::Object{{"format", format},
                                   {"count", totals.count},
                                   {"parameters", totals.parameters},
                                   {"bytes", totals.bytes},
                                   {"bits_per_weight", bits}});
    if (format != "float<f32>" || formats.size() == 1)
      summary += (summary.empty() ? "" : ", ") + format;
  }
  auto config = module->getAttrOfType<DictionaryAttr>("lm.config");
  if (!config)
    return llvm::createStringError(
        "the module has no attribute 'lm.config': was it made by qc-import?");
  auto field = [&](StringRef name) {
    return config.contains(name) ? toJSON(config.get(name))
                                 : json::Value(nullptr);
  };
  Type cache;
  module.walk([&](lm::AttentionOp op) {
    cache = op.getCache().getType().getElementType();
  });
  std::string cacheName;
  if (cache)
    llvm::raw_string_ostream(cacheName) << cache;
  json::Object result{
      {"model", field("name")},
      {"architecture", field("architecture")},
      {"config", toJSON(config)},
      {"format", summary},
      {"quantization", recipe},
      {"bits_per_weight",
       all.parameters ? all.bits / static_cast<double>(all.parameters) : 0.0},
      {"parameters", all.parameters},
      {"weights_bytes", all.bytes},
      {"bytes_per_token", all.bytes - tableBytes + rowBytes},
      {"kv_cache", cacheName},
      {"target_cpu", cpu},
      {"qc_version", QC_VERSION},
      {"weights", std::move(weights)}};
  if (auto pipeline = module->getAttrOfType<StringAttr>("qc.pipeline"))
    result["pipeline"] = toJSON(pipeline);
  if (module->hasAttr("qc.reproducible"))
    result["reproducible"] = true;
  if (auto backend = module->getAttrOfType<StringAttr>("qc.prefill_backend"))
    result["prefill_backend"] = backend.getValue();
  if (auto tuning = module->getAttrOfType<DictionaryAttr>("qc.tuning"))
    result["tuning"] = toJSON(tuning);
  if (auto tokenizer = module->getAttrOfType<DictionaryAttr>("lm.tokenizer"))
    result["tokenizer"] = toJSON(tokenizer);
  std::string text;
  llvm::raw_string_ostream(text) << json::Value(std::move(result));
  return text;
}
