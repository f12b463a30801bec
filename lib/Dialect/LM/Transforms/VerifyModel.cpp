//===- VerifyModel.cpp - Is the module a complete model? ------------------===//
#include "qc/Dialect/LM/Transforms/Passes.h"

namespace mlir::lm {
#define GEN_PASS_DEF_VERIFYMODELPASS
#include "qc/Dialect/LM/Transforms/Passes.h.inc"
} // namespace mlir::lm

using namespace mlir;
using namespace mlir::lm;

namespace {
struct VerifyModelPass
    : public mlir::lm::impl::VerifyModelPassBase<VerifyModelPass> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(checkConfig()) || failed(checkEntry("prefill", true, true)) ||
        failed(checkEntry("decode", false, true)) ||
        failed(checkEntry("score", true, false)) || failed(checkCaches()))
      signalPassFailure();
  }

private:
  LogicalResult checkConfig();
  /// C2 to C4 of one entry point.
  LogicalResult checkEntry(StringRef name, bool dynamicIds, bool oneRow);
  LogicalResult checkCaches();

  DictionaryAttr config;
};
} // namespace

LogicalResult VerifyModelPass::checkConfig() {
  ModuleOp module = getOperation();
  config = module->getAttrOfType<DictionaryAttr>("lm.config");
  if (!config)
    return emitError(module.getLoc(),
                     "the module has no dictionary attribute 'lm.config'");
  for (StringRef field : {"name", "architecture"})
    if (!config.getAs<StringAttr>(field))
      return emitError(module.getLoc())
             << "'lm.config' has no string '" << field << "'";
  for (StringRef field :
       {"vocab_size", "hidden_size", "num_layers", "max_positions"}) {
    auto value = config.getAs<IntegerAttr>(field);
    if (!value || value.getValue().isNegative() || value.getValue().isZero())
      return emitError(module.getLoc())
             << "'lm.config' has no positive integer '" << field << "'";
  }
  return success();
}

LogicalResult VerifyModelPass::checkEntry(StringRef name, bool dynamicIds,
                                          bool oneRow) {
  ModuleOp module = getOperation();
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function || function.isPrivate() || function.isExternal())
    return emitError(module.getLoc())
           << "entry point @" << name
           << " is missing, expected a public function with a body";
  Builder b(&getContext());
  int64_t dynamic = ShapedType::kDynamic;
  auto ids = RankedTensorType::get({dynamicIds ? dynamic : 1}, b.getI32Type());
  auto logits = RankedTensorType::get(
      {oneRow ? 1 : dynamic, config.getAs<IntegerAttr>("vocab_size").getInt()},
      b.getF32Type());
  ArrayRef<Type> arguments = function.getArgumentTypes();
  if (arguments.size() != 3 || arguments[0] != ids || !arguments[1].isIndex() ||
      !llvm::isa<KVCacheType>(arguments[2]))
    return emitError(function.getLoc())
           << "@" << name << " is " << function.getFunctionType()
           << ", expected arguments " << ids << ", index and a KV cache";
  if (function.getResultTypes() != ArrayRef<Type>(logits))
    return emitError(function.getLoc())
           << "@" << name << " is " << function.getFunctionType()
           << ", expected the result " << logits;
  return success();
}

LogicalResult VerifyModelPass::checkCaches() {
  auto cacheOf = [&](StringRef name) {
    auto function = getOperation().lookupSymbol<func::FuncOp>(name);
    return llvm::cast<KVCacheType>(function.getArgumentTypes()[2]);
  };
  KVCacheType cache = cacheOf("prefill");
  int64_t layers = config.getAs<IntegerAttr>("num_layers").getInt();
  if (cache.getShape().size() != 3 || cache.getShape().front() != layers)
    return emitError(getOperation().getLoc())
           << "the cache of @prefill is " << cache << ", expected " << layers
           << " layers";
  for (StringRef name : {"decode", "score"})
    if (cacheOf(name) != cache)
      return emitError(getOperation().getLoc())
             << "the cache of @" << name << " is " << cacheOf(name)
             << ", but that of @prefill is " << cache;
  return success();
}
