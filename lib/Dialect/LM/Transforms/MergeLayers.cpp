//===- MergeLayers.cpp - One function for all layers of a kind ------------===//
//
// Every private function that is only called gets its weights as arguments;
// then functions of equal text are one. Callees are treated before their
// callers, because a call passes the callee's weights.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/Builders.h"
#include "mlir/IR/OperationSupport.h"
#include "qc/Dialect/LM/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::lm {
#define GEN_PASS_DEF_MERGELAYERSPASS
#include "qc/Dialect/LM/Transforms/Passes.h.inc"
} // namespace mlir::lm

using namespace mlir;
using namespace mlir::lm;
using mlir::qc::GetWeightOp;

/// A module's calls of `function` if nothing else refers to it.
static FailureOr<SmallVector<func::CallOp>>
callsOf(func::FuncOp function, const SymbolUserMap &users) {
  SmallVector<func::CallOp> calls;
  for (Operation *user : users.getUsers(function)) {
    auto call = llvm::dyn_cast<func::CallOp>(user);
    if (!call)
      return failure();
    calls.push_back(call);
  }
  return calls;
}

/// Replaces the function's qc.get_weight by arguments, in the order in which
/// operations read them; returns their symbols. A weight that is read twice is
/// one argument.
static FailureOr<SmallVector<StringAttr>>
weightsToArguments(func::FuncOp function) {
  llvm::MapVector<StringAttr, Type> weights;
  function.walk([&](Operation *op) {
    for (Value operand : op->getOperands())
      if (auto get = operand.getDefiningOp<GetWeightOp>())
        weights.try_emplace(get.getWeightAttr().getAttr(), get.getType());
  });
  unsigned first = function.getNumArguments();
  for (auto &[symbol, type] : weights)
    if (failed(function.insertArgument(function.getNumArguments(), type, {},
                                       function.getLoc())))
      return failure();
  SmallVector<StringAttr> symbols;
  llvm::DenseMap<StringAttr, Value> arguments;
  for (auto [i, entry] : llvm::enumerate(weights)) {
    symbols.push_back(entry.first);
    arguments[entry.first] = function.getArgument(first + i);
  }
  function.walk([&](GetWeightOp get) {
    if (Value argument = arguments.lookup(get.getWeightAttr().getAttr()))
      get.replaceAllUsesWith(argument);
    get.erase();
  });
  return symbols;
}

static void passWeights(func::CallOp call, ArrayRef<StringAttr> symbols,
                        TypeRange types) {
  OpBuilder b(call);
  SmallVector<Value> weights;
  for (auto [symbol, type] : llvm::zip_equal(symbols, types))
    weights.push_back(
        GetWeightOp::create(b, call.getLoc(), type, symbol.getValue()));
  call.getOperandsMutable().append(weights);
}

/// Equal but for name and locations.
static bool areEqual(func::FuncOp a, func::FuncOp b) {
  auto attributes = [](func::FuncOp function) {
    NamedAttrList list(function->getAttrs());
    list.erase(SymbolTable::getSymbolAttrName());
    return list.getDictionary(function.getContext());
  };
  return attributes(a) == attributes(b) &&
         OperationEquivalence::isRegionEquivalentTo(
             &a.getBody(), &b.getBody(), OperationEquivalence::IgnoreLocations);
}

/// "layer_12" -> "layer".
static StringRef stemOf(StringRef name) {
  StringRef stem = name.rtrim("0123456789");
  if (stem.size() != name.size() && stem.consume_back("_") && !stem.empty())
    return stem;
  return name;
}

namespace {
struct MergeLayersPass
    : public mlir::lm::impl::MergeLayersPassBase<MergeLayersPass> {
  using Base::Base;

  void runOnOperation() override {
    llvm::DenseSet<Operation *> visited;
    llvm::SetVector<Operation *> order;
    SymbolTable symbols(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function.isPublic())
        addCallees(function, symbols, visited, order);
    SmallVector<func::FuncOp> kinds;
    for (Operation *op : order)
      if (failed(merge(llvm::cast<func::FuncOp>(op), symbols, kinds)))
        return signalPassFailure();
    if (failed(rename(kinds, symbols)))
      return signalPassFailure();
  }

private:
  /// Private functions with a body in the order of their first call, callees
  /// before callers.
  void addCallees(func::FuncOp function, SymbolTable &symbols,
                  llvm::DenseSet<Operation *> &visited,
                  llvm::SetVector<Operation *> &order) {
    if (!visited.insert(function).second)
      return;
    function.walk([&](func::CallOp call) {
      auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
      if (!callee || !callee.isPrivate() || callee.isExternal())
        return;
      addCallees(callee, symbols, visited, order);
      order.insert(callee);
    });
  }

  /// Makes the weights of `function` arguments and lets an equal one of `kinds`
  /// take its calls, or adds it to `kinds`.
  LogicalResult merge(func::FuncOp function, SymbolTable &symbols,
                      SmallVectorImpl<func::FuncOp> &kinds) {
    SymbolTableCollection tables;
    FailureOr<SmallVector<func::CallOp>> calls =
        callsOf(function, SymbolUserMap(tables, getOperation()));
    // A function that something else refers to keeps its signature.
    if (failed(calls))
      return success();
    unsigned first = function.getNumArguments();
    FailureOr<SmallVector<StringAttr>> weights = weightsToArguments(function);
    if (failed(weights))
      return failure();
    for (func::CallOp call : *calls)
      passWeights(call, *weights,
                  function.getArgumentTypes().drop_front(first));
    auto kind = llvm::find_if(
        kinds, [&](func::FuncOp other) { return areEqual(function, other); });
    if (kind == kinds.end()) {
      ++numKept;
      kinds.push_back(function);
      return success();
    }
    for (func::CallOp call : *calls)
      call.setCallee(kind->getSymName());
    symbols.erase(function);
    ++numMerged;
    return success();
  }

  /// In two steps, because a new name may be the old one of another kind.
  LogicalResult rename(ArrayRef<func::FuncOp> kinds, SymbolTable &symbols) {
    SmallVector<std::string> stems;
    for (func::FuncOp kind : kinds) {
      stems.push_back(stemOf(kind.getSymName()).str());
      if (failed(symbols.rename(kind, freeName("lm.kind", symbols))))
        return failure();
    }
    for (auto [kind, stem] : llvm::zip_equal(kinds, stems))
      if (failed(symbols.rename(kind, freeName(stem, symbols))))
        return failure();
    return success();
  }

  static std::string freeName(StringRef stem, SymbolTable &symbols) {
    std::string name = stem.str();
    for (unsigned i = 1; symbols.lookup(name); ++i)
      name = (stem + "_" + llvm::Twine(i)).str();
    return name;
  }
};
} // namespace
