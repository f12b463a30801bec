//===- PlaceLayers.cpp - One half of a model on two devices ---------------===//
//
// The hidden state between two layers is all that crosses. A half is what its
// return needs once that value is the result (CPU) or an argument (GPU); the
// rest goes away, and the layers that are left must be the half's own.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/Builders.h"
#include "qc/Dialect/LM/Transforms/Passes.h"

namespace mlir::lm {
#define GEN_PASS_DEF_PLACELAYERSPASS
#include "qc/Dialect/LM/Transforms/Passes.h.inc"
} // namespace mlir::lm

using namespace mlir;
using namespace mlir::lm;

/// The calls of layers, by their number; they take the caches of all layers.
static FailureOr<SmallVector<func::CallOp>> findLayers(func::FuncOp entry) {
  auto cache = entry.getNumArguments() == 3 && !entry.isExternal()
                   ? dyn_cast<KVCacheType>(entry.getArgument(2).getType())
                   : KVCacheType();
  if (!cache || cache.getShape().size() != 3)
    return entry.emitError()
           << "@" << entry.getName() << " is " << entry.getFunctionType()
           << ", expected ids, a position and the KV cache of all layers";
  SmallVector<func::CallOp> calls(
      static_cast<size_t>(cache.getShape().front()));
  for (Operation *user : entry.getArgument(2).getUsers()) {
    auto layer = dyn_cast<CacheLayerOp>(user);
    auto call = layer && layer->hasOneUse()
                    ? dyn_cast<func::CallOp>(*layer->user_begin())
                    : func::CallOp();
    if (!call || call->getBlock() != &entry.front())
      return entry.emitError() << "@" << entry.getName()
                               << ": expected each layer's cache in one call, "
                                  "found none for "
                               << *user;
    func::CallOp &known = calls[static_cast<size_t>(layer.getLayer())];
    if (known)
      return entry.emitError()
             << "@" << entry.getName() << " has two calls of layer "
             << layer.getLayer();
    known = call;
  }
  for (auto [i, call] : llvm::enumerate(calls))
    if (!call)
      return entry.emitError() << "@" << entry.getName()
                               << " has no call that takes the cache of layer "
                               << i << " (lm.cache_layer)";
  return calls;
}

/// Erases what the return does not need. Calls of layers write their cache
/// only.
static void prune(func::FuncOp entry) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(entry.front())))
    if (!op.hasTrait<OpTrait::IsTerminator>() && op.use_empty())
      op.erase();
}

namespace {
struct PlaceLayersPass
    : public mlir::lm::impl::PlaceLayersPassBase<PlaceLayersPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (side != "cpu" && side != "gpu") {
      emitError(module.getLoc())
          << "side must be cpu or gpu, found '" << side << "'";
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> entries;
    for (StringRef name : {"prefill", "decode", "score"})
      if (auto entry = module.lookupSymbol<func::FuncOp>(name))
        entries.push_back(entry);
    if (entries.empty()) {
      emitError(module.getLoc(),
                "no entry point found, expected @prefill, @decode or @score");
      return signalPassFailure();
    }
    for (func::FuncOp entry : entries)
      if (failed(place(entry)))
        return signalPassFailure();
    Builder b(&getContext());
    module->setAttr(
        "lm.placement",
        b.getDictionaryAttr(
            {b.getNamedAttr("gpu_layers", b.getI64IntegerAttr(gpuLayers)),
             b.getNamedAttr("side", b.getStringAttr(side))}));
  }

private:
  bool onGPU() const { return side == "gpu"; }
  LogicalResult place(func::FuncOp entry);
  /// Gives the cache of `entry` its own `layers` layers, `first` and later.
  LogicalResult renumber(func::FuncOp entry, int64_t first, int64_t layers);
};
} // namespace

LogicalResult PlaceLayersPass::renumber(func::FuncOp entry, int64_t first,
                                        int64_t layers) {
  BlockArgument cache = entry.getArgument(2);
  auto all = cast<KVCacheType>(cache.getType());
  SmallVector<int64_t> shape(all.getShape());
  shape.front() = layers;
  cache.setType(KVCacheType::get(&getContext(), shape, all.getElementType()));
  for (Operation *user : cache.getUsers()) {
    auto layer = cast<CacheLayerOp>(user);
    auto index = static_cast<int64_t>(layer.getLayer()) - first;
    if (index < 0 || index >= layers)
      return entry.emitError()
             << "@" << entry.getName() << " cannot be cut before layer "
             << (onGPU() ? first : layers)
             << ": more than one hidden state of layer " << layer.getLayer()
             << " is read behind it";
    layer.setLayer(static_cast<uint64_t>(index));
  }
  return success();
}

LogicalResult PlaceLayersPass::place(func::FuncOp entry) {
  FailureOr<SmallVector<func::CallOp>> calls = findLayers(entry);
  if (failed(calls))
    return failure();
  auto layers = static_cast<int64_t>(calls->size());
  if (gpuLayers < 1 || gpuLayers >= layers)
    return entry.emitError() << "gpu-layers is " << gpuLayers.getValue()
                             << ", expected 1 to " << layers - 1 << " of the "
                             << layers << " layers of @" << entry.getName();
  int64_t first = layers - gpuLayers;
  func::CallOp last = (*calls)[static_cast<size_t>(first - 1)];
  auto type = last.getNumResults() == 1
                  ? dyn_cast<RankedTensorType>(last.getResult(0).getType())
                  : RankedTensorType();
  if (!type || type.getRank() != 2 || !type.isDynamicDim(0) ||
      type.isDynamicDim(1) || !type.getElementType().isF32())
    return last.emitOpError() << "of layer " << first - 1
                              << " must return the hidden state of all tokens, "
                                 "tensor<?xHxf32>, and nothing else";
  Value hidden = last.getResult(0);
  Operation *terminator = entry.front().getTerminator();
  if (onGPU()) {
    if (failed(entry.insertArgument(3, type, {}, entry.getLoc())))
      return failure();
    hidden.replaceAllUsesWith(entry.getArgument(3));
  } else {
    terminator->setOperands(hidden);
  }
  prune(entry);
  int64_t own = onGPU() ? int64_t(gpuLayers) : first;
  if (failed(renumber(entry, onGPU() ? first : 0, own)))
    return failure();
  entry.setType(FunctionType::get(&getContext(),
                                  entry.front().getArgumentTypes(),
                                  terminator->getOperandTypes()));
  numLayers = static_cast<unsigned>(own);
  return success();
}
