//===- SelectKVCache.cpp - Element type of the KV cache -------------------===//
#include "mlir/IR/AttrTypeSubElements.h"
#include "qc/Dialect/LM/Transforms/Passes.h"

namespace mlir::lm {
#define GEN_PASS_DEF_SELECTKVCACHEPASS
#include "qc/Dialect/LM/Transforms/Passes.h.inc"
} // namespace mlir::lm

using namespace mlir;
using namespace mlir::lm;

namespace {
struct SelectKVCachePass
    : public mlir::lm::impl::SelectKVCachePassBase<SelectKVCachePass> {
  using Base::Base;

  void runOnOperation() override {
    if (type != "f32" && type != "f16" && type != "i8") {
      emitError(getOperation().getLoc())
          << "unknown KV cache type '" << type << "', expected f32, f16 or i8";
      return signalPassFailure();
    }
    Type element = type == "f16"  ? Type(Float16Type::get(&getContext()))
                   : type == "i8" ? Type(IntegerType::get(&getContext(), 8))
                                  : Type(Float32Type::get(&getContext()));
    AttrTypeReplacer replacer;
    replacer.addReplacement([&](KVCacheType cache) {
      return KVCacheType::get(&getContext(), cache.getShape(), element);
    });
    replacer.recursivelyReplaceElementsIn(getOperation(), /*replaceAttrs=*/true,
                                          /*replaceLocs=*/false,
                                          /*replaceTypes=*/true);
  }
};
} // namespace
