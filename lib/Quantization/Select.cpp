//===- Select.cpp - Which weights a method quantizes ----------------------===//
#include "Select.h"

#include "qc/Dialect/LM/IR/LMDialect.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Regex.h"

using namespace mlir;
using namespace mlir::qc;

namespace {

/// What the values decoded from a weight are used for.
struct Uses {
  SmallVector<GetWeightOp> references;
  bool linear = false; ///< weight of lm.linear
  bool other = false;  ///< of lm.embedding or lm.logits
  bool unknown = false;
};

/// A regular expression that is either absent or valid.
class NameFilter {
public:
  static FailureOr<NameFilter> create(ModuleOp module, StringRef option,
                                      StringRef pattern) {
    NameFilter filter;
    if (pattern.empty())
      return filter;
    filter.regex.emplace(pattern);
    std::string error;
    if (!filter.regex->isValid(error))
      return emitError(module.getLoc())
             << "option " << option << ": '" << pattern
             << "' is not a regular expression: " << error;
    return filter;
  }

  explicit operator bool() const { return regex.has_value(); }
  bool matches(StringRef name) const { return regex && regex->match(name); }

private:
  std::optional<llvm::Regex> regex;
};

} // namespace

static void addUse(OpOperand &use, Uses &uses) {
  Operation *user = use.getOwner();
  if (auto linear = dyn_cast<lm::LinearOp>(user);
      linear && &linear.getWeightMutable() == &use)
    uses.linear = true;
  else if (isa<lm::EmbeddingOp>(user) ||
           (isa<lm::LogitsOp>(user) &&
            use.get() == cast<lm::LogitsOp>(user).getWeight()))
    uses.other = true;
  else
    uses.unknown = true;
}

static llvm::StringMap<Uses> collectUses(ModuleOp module) {
  llvm::StringMap<Uses> all;
  module.walk([&](GetWeightOp get) {
    Uses &uses = all[get.getWeight()];
    uses.references.push_back(get);
    for (Operation *user : get->getUsers()) {
      auto dequantize = dyn_cast<DequantizeOp>(user);
      if (!dequantize) {
        uses.unknown = true;
        continue;
      }
      for (OpOperand &use : dequantize->getUses())
        addUse(use, uses);
    }
  });
  return all;
}

FailureOr<SmallVector<SelectedWeight>>
mlir::qc::selectWeights(ModuleOp module, const DriverOptions &options) {
  if (options.targets != "linear" && options.targets != "all")
    return emitError(module.getLoc())
           << "option targets: unknown value '" << options.targets
           << "', expected linear or all";
  auto include = NameFilter::create(module, "include", options.include);
  if (failed(include))
    return failure();
  auto exclude = NameFilter::create(module, "exclude", options.exclude);
  if (failed(exclude))
    return failure();

  llvm::StringMap<Uses> uses = collectUses(module);
  SmallVector<SelectedWeight> selected;
  unsigned named = 0;
  for (auto weight : module.getOps<WeightOp>()) {
    StringRef name = weight.getSymName();
    if ((*include && !include->matches(name)) || exclude->matches(name))
      continue;
    ++named;
    WeightType type = weight.getWeightType();
    if (!type.isMatrix() || type.isPacked() ||
        !isa<FloatFormatAttr>(Attribute(type.getFormat())))
      continue;
    Uses &found = uses[name];
    bool wanted = options.targets == "all" ? found.linear || found.other
                                           : found.linear && !found.other;
    if (!wanted || found.unknown)
      continue;
    selected.push_back({weight, std::move(found.references)});
  }
  if (selected.empty())
    emitWarning(module.getLoc())
        << "nothing to quantize: of the "
        << (*include ? "weights that match 'include' (" : "module's weights (")
        << named << "), none is a float matrix of "
        << (options.targets == "all" ? "a linear layer, embedding or head"
                                     : "linear layers only (option targets)");
  return selected;
}
