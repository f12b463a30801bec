//===- CheckNoDenseWeights.cpp - No full-size float copy of a weight ------===//
#include "mlir/IR/Operation.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Dialect/QC/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::qc {
#define GEN_PASS_DEF_CHECKNODENSEWEIGHTSPASS
#include "qc/Dialect/QC/Transforms/Passes.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

namespace {
struct CheckNoDenseWeightsPass
    : public mlir::qc::impl::CheckNoDenseWeightsPassBase<
          CheckNoDenseWeightsPass> {
  using Base::Base;

  void runOnOperation() override {
    for (auto weight : getOperation().getOps<WeightOp>()) {
      WeightType type = weight.getWeightType();
      if (type.isMatrix())
        matrices.try_emplace({type.getN(), type.getK()}, weight.getSymName());
    }
    // Weights also reach functions as arguments, declared elsewhere.
    getOperation().walk([&](Block *block) {
      for (BlockArgument argument : block->getArguments()) {
        auto type = llvm::dyn_cast<WeightType>(argument.getType());
        if (type && type.isMatrix())
          matrices.try_emplace({type.getN(), type.getK()}, StringRef());
      }
    });
    getOperation().walk([&](Block *block) {
      for (BlockArgument argument : block->getArguments())
        if (block->getParentOp() != getOperation())
          checkValue(argument, block->getParentOp(),
                     "argument " + std::to_string(argument.getArgNumber()));
    });
    getOperation().walk([&](Operation *op) { checkOperation(op); });
    if (!valid)
      signalPassFailure();
    matrices.clear();
    valid = true;
  }

private:
  void checkOperation(Operation *op) {
    if (auto dequantize = llvm::dyn_cast<DequantizeOp>(op))
      return checkDequantize(dequantize);
    Value dense =
        llvm::TypeSwitch<Operation *, Value>(op)
            .Case([](lm::LinearOp linear) { return linear.getWeight(); })
            .Case([](lm::LogitsOp logits) { return logits.getWeight(); })
            .Case([](lm::EmbeddingOp lookup) { return lookup.getTable(); })
            .Default(Value());
    // A dequantized one has been reported where it is made.
    if (dense && !dense.getDefiningOp<DequantizeOp>()) {
      emitError(op->getLoc())
          << "'" << op->getName() << "' reads a dense weight of type "
          << dense.getType();
      valid = false;
    }
    // All other results of lm and qc are activations.
    if (llvm::isa_and_present<QCDialect, lm::LMDialect>(op->getDialect()))
      return;
    for (OpResult result : op->getResults())
      checkValue(result, op,
                 "result " + std::to_string(result.getResultNumber()));
  }

  void checkDequantize(DequantizeOp op) {
    WeightType type = op.getWeight().getType();
    if (!type.isMatrix())
      return;
    valid = false;
    InFlightDiagnostic diagnostic = emitError(op.getLoc());
    diagnostic << "'qc.dequantize' ";
    if (auto get = op.getWeight().getDefiningOp<GetWeightOp>())
      diagnostic << "makes a dense copy of @" << get.getWeight() << ", "
                 << type.getN() << "x" << type.getK();
    else
      diagnostic << "makes a dense copy of a " << type.getN() << "x"
                 << type.getK() << " weight";
  }

  void checkValue(Value value, Operation *op, const std::string &what) {
    auto type = llvm::dyn_cast<ShapedType>(value.getType());
    if (!type || !type.hasStaticShape() || type.getRank() != 2 ||
        !llvm::isa<FloatType>(type.getElementType()))
      return;
    int64_t n = type.getDimSize(0), k = type.getDimSize(1);
    if (n == 1)
      return;
    auto it = matrices.find({n, k});
    if (it == matrices.end())
      it = matrices.find({k, n});
    if (it == matrices.end())
      return;
    valid = false;
    InFlightDiagnostic diagnostic = emitError(op->getLoc());
    diagnostic << what << " of '" << op->getName() << "' is " << type
               << ", as large as ";
    if (it->second.empty())
      diagnostic << "a weight of the module";
    else
      diagnostic << "weight @" << it->second;
  }

  /// (N, K) to the name of one weight of that shape, empty if it has none.
  llvm::MapVector<std::pair<int64_t, int64_t>, StringRef> matrices;
  bool valid = true;
};
} // namespace
