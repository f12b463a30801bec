//===- FuseDequantMatmul.cpp - Dequantize into its readers ----------------===//
//
// No full-size float copy of a weight survives this pass, or it is named. All
// operations that move here are pure, so a matmul may sink to the operation
// that becomes its epilogue; only what it reads may have to be hoisted.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Dialect/QC/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::qc {
#define GEN_PASS_DEF_FUSEDEQUANTMATMULPASS
#include "qc/Dialect/QC/Transforms/Passes.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

/// The stored matrix whose dense copy `value` is, or null.
static Value storedMatrix(Value value) {
  auto dequantize = value.getDefiningOp<DequantizeOp>();
  if (!dequantize || !dequantize.getWeight().getType().isMatrix())
    return {};
  return dequantize.getWeight();
}

/// How a person would find `weight` in the module.
static std::string describe(Value weight) {
  if (auto get = weight.getDefiningOp<GetWeightOp>())
    return ("@" + get.getWeight()).str();
  auto argument = llvm::dyn_cast<BlockArgument>(weight);
  if (!argument)
    return ("the result of '" +
            weight.getDefiningOp()->getName().getStringRef() + "'")
        .str();
  std::string text = "argument " + std::to_string(argument.getArgNumber());
  if (auto function = llvm::dyn_cast_or_null<FunctionOpInterface>(
          argument.getOwner()->getParentOp()))
    text += (" of @" + function.getName()).str();
  return text;
}

//===----------------------------------------------------------------------===//
// Single operations
//===----------------------------------------------------------------------===//

static MatmulOp createMatmul(OpBuilder &b, Location loc, TypeRange results,
                             Value input, ValueRange weights,
                             ValueRange biases = {}, Value residual = {},
                             GateKindAttr gate = {},
                             ArithmeticAttr arithmetic = {}) {
  return MatmulOp::create(b, loc, results, input, weights, biases, residual,
                          gate, arithmetic);
}

/// y = x W^T + b of a dequantized W; false if W is not.
static bool fuseLinear(Operation *op, Value input, Value dense, Value bias) {
  Value weight = storedMatrix(dense);
  if (!weight)
    return false;
  OpBuilder b(op);
  auto matmul = createMatmul(b, op->getLoc(), op->getResultTypes(), input,
                             weight, bias ? ValueRange(bias) : ValueRange());
  op->replaceAllUsesWith(matmul);
  op->erase();
  return true;
}

static bool fuseEmbedding(lm::EmbeddingOp op) {
  Value weight = storedMatrix(op.getTable());
  if (!weight)
    return false;
  OpBuilder b(op);
  auto embedding =
      EmbeddingOp::create(b, op.getLoc(), op.getType(), op.getIds(), weight);
  op.replaceAllUsesWith(embedding.getResult());
  op.erase();
  return true;
}

//===----------------------------------------------------------------------===//
// Combinations
//===----------------------------------------------------------------------===//

/// `value` as the only result of a plain matmul with one weight, whose only
/// reader is `user`, in the same block.
static MatmulOp matmulReadOnlyBy(Value value, Operation *user) {
  auto matmul = value.getDefiningOp<MatmulOp>();
  if (!matmul || matmul.getWeights().size() != 1 || matmul.getGate() ||
      matmul.getResidual() || !value.hasOneUse() ||
      matmul->getBlock() != user->getBlock())
    return {};
  return matmul;
}

static FormatAttrInterface formatOf(Value weight) {
  return llvm::cast<WeightType>(weight.getType()).getFormat();
}

/// Kernels of several weights read the activations in one layout.
static bool canShare(MatmulOp a, MatmulOp b) {
  return a.getInput() == b.getInput() &&
         formatOf(a.getWeights().front()) == formatOf(b.getWeights().front()) &&
         a.getBiases().empty() == b.getBiases().empty() &&
         a.getArithmeticAttr() == b.getArithmeticAttr();
}

static SmallVector<Value> concat(ValueRange a, ValueRange b) {
  SmallVector<Value> all(a);
  all.append(b.begin(), b.end());
  return all;
}

static bool fuseGate(lm::GatedActivationOp op) {
  MatmulOp gate = matmulReadOnlyBy(op.getGate(), op);
  MatmulOp up = matmulReadOnlyBy(op.getUp(), op);
  if (!gate || !up || !canShare(gate, up))
    return false;
  OpBuilder b(op);
  auto fused = createMatmul(
      b, b.getFusedLoc({gate.getLoc(), up.getLoc(), op.getLoc()}), op.getType(),
      gate.getInput(), concat(gate.getWeights(), up.getWeights()),
      concat(gate.getBiases(), up.getBiases()), {}, op.getActivationAttr(),
      gate.getArithmeticAttr());
  op.replaceAllUsesWith(fused.getResult(0));
  op.erase();
  gate.erase();
  up.erase();
  return true;
}

static bool fuseResidual(arith::AddFOp op) {
  MatmulOp matmul = matmulReadOnlyBy(op.getLhs(), op);
  Value residual = op.getRhs();
  if (!matmul) {
    matmul = matmulReadOnlyBy(op.getRhs(), op);
    residual = op.getLhs();
  }
  if (!matmul)
    return false;
  OpBuilder b(op);
  auto fused = createMatmul(b, b.getFusedLoc({matmul.getLoc(), op.getLoc()}),
                            op.getType(), matmul.getInput(),
                            matmul.getWeights(), matmul.getBiases(), residual,
                            {}, matmul.getArithmeticAttr());
  op.replaceAllUsesWith(fused.getResult(0));
  op.erase();
  matmul.erase();
  return true;
}

/// True if `value` is or can be made available before `point`, which stands
/// before a reader of it in the same block. Only references to stored values
/// move: a computed bias might depend on `point`.
static bool canHoist(Value value, Operation *point) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != point->getBlock() || op->isBeforeInBlock(point))
    return true;
  if (!llvm::isa<GetWeightOp, DequantizeOp>(op) &&
      !matchPattern(op, m_Constant()))
    return false;
  return llvm::all_of(op->getOperands(),
                      [&](Value v) { return canHoist(v, point); });
}

static void hoist(Value value, Operation *point) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != point->getBlock() || op->isBeforeInBlock(point))
    return;
  for (Value operand : op->getOperands())
    hoist(operand, point);
  op->moveBefore(point);
}

static MatmulOp mergeInto(MatmulOp first, MatmulOp second) {
  for (Value value : concat(second.getWeights(), second.getBiases()))
    hoist(value, first);
  OpBuilder b(first);
  SmallVector<Type> types(first.getResultTypes());
  llvm::append_range(types, second.getResultTypes());
  auto merged = createMatmul(
      b, b.getFusedLoc({first.getLoc(), second.getLoc()}), types,
      first.getInput(), concat(first.getWeights(), second.getWeights()),
      concat(first.getBiases(), second.getBiases()), {}, {},
      first.getArithmeticAttr());
  unsigned count = first.getNumResults();
  first.replaceAllUsesWith(merged.getResults().take_front(count));
  second.replaceAllUsesWith(merged.getResults().drop_front(count));
  first.erase();
  second.erase();
  return merged;
}

/// Merges matmuls of a block that read the same input; returns how many went.
static unsigned shareInputs(Block &block) {
  llvm::MapVector<Value, SmallVector<MatmulOp>> byInput;
  unsigned merged = 0;
  for (auto op : llvm::make_early_inc_range(block.getOps<MatmulOp>())) {
    if (op.getGate() || op.getResidual())
      continue;
    // All weights of a leader have one format; so must those that join it.
    if (!llvm::all_of(op.getWeights(), [&](Value w) {
          return formatOf(w) == formatOf(op.getWeights().front());
        }))
      continue;
    SmallVector<MatmulOp> &leaders = byInput[op.getInput()];
    auto leader = llvm::find_if(leaders, [&](MatmulOp candidate) {
      return canShare(candidate, op) &&
             llvm::all_of(concat(op.getWeights(), op.getBiases()),
                          [&](Value v) { return canHoist(v, candidate); });
    });
    if (leader == leaders.end()) {
      leaders.push_back(op);
      continue;
    }
    *leader = mergeInto(*leader, op);
    ++merged;
  }
  return merged;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct FuseDequantMatmulPass
    : public mlir::qc::impl::FuseDequantMatmulPassBase<FuseDequantMatmulPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (activations != "f32" && activations != "int8" &&
        activations != "bf16") {
      emitError(module.getLoc()) << "unknown activations '" << activations
                                 << "', expected f32, bf16 or int8";
      return signalPassFailure();
    }
    fuseReaders();
    fuseGates();
    if (shareInput)
      module.walk([&](Block *block) { numShared += shareInputs(*block); });
    if (epilogues)
      module.walk([&](arith::AddFOp op) {
        if (llvm::isa<RankedTensorType>(op.getType()))
          numEpilogues += fuseResidual(op);
      });
    if (activations == "int8")
      selectInt8();
    if (activations == "bf16")
      selectBF16();
    eraseDead();
    isDense = false;
    reportDense();
    if (strict && isDense)
      signalPassFailure();
  }

private:
  void fuseReaders() {
    getOperation().walk([&](Operation *op) {
      numFused += llvm::TypeSwitch<Operation *, bool>(op)
                      .Case([](lm::LinearOp linear) {
                        return fuseLinear(linear, linear.getInput(),
                                          linear.getWeight(), linear.getBias());
                      })
                      .Case([](lm::LogitsOp logits) {
                        return fuseLinear(logits, logits.getHidden(),
                                          logits.getWeight(), {});
                      })
                      .Case([](lm::EmbeddingOp embedding) {
                        return fuseEmbedding(embedding);
                      })
                      .Default(false);
    });
  }

  void fuseGates() {
    if (!shareInput || !epilogues)
      return;
    getOperation().walk([&](lm::GatedActivationOp op) {
      if (!fuseGate(op))
        return;
      ++numShared;
      ++numEpilogues;
    });
  }

  void selectInt8() {
    auto int8 = ArithmeticAttr::get(&getContext(), Arithmetic::Int8);
    getOperation().walk([&](MatmulOp op) {
      bool affine = llvm::all_of(op.getWeights(), [](Value weight) {
        return formatOf(weight).getIntegerBits() > 0;
      });
      if (affine && !op.getArithmeticAttr())
        op.setArithmeticAttr(int8);
    });
  }

  void selectBF16() {
    auto bf16 = ArithmeticAttr::get(&getContext(), Arithmetic::BF16);
    bool any = false;
    getOperation().walk([&](MatmulOp op) {
      bool stored = llvm::all_of(op.getWeights(), [](Value weight) {
        auto floats = dyn_cast<FloatFormatAttr>(Attribute(formatOf(weight)));
        return floats && floats.getType().isBF16();
      });
      if (stored && !op.getArithmeticAttr())
        op.setArithmeticAttr(bf16);
      any |= stored;
    });
    if (any)
      return;
    emitError(getOperation().getLoc())
        << "activations in bf16 need weights stored in bf16, there are none";
    signalPassFailure();
  }

  void eraseDead() {
    getOperation().walk([](DequantizeOp op) {
      if (op->use_empty())
        op.erase();
    });
    getOperation().walk([](GetWeightOp op) {
      if (op->use_empty())
        op.erase();
    });
  }

  InFlightDiagnostic report(Operation *op) {
    ++numDense;
    isDense = true;
    return strict ? emitError(op->getLoc()) : emitWarning(op->getLoc());
  }

  void reportDense() {
    getOperation().walk([&](Operation *op) {
      llvm::TypeSwitch<Operation *>(op)
          .Case([&](DequantizeOp dequantize) { reportDequantize(dequantize); })
          .Case([&](lm::LinearOp linear) { reportDenseReader(linear); })
          .Case([&](lm::LogitsOp logits) { reportDenseReader(logits); })
          .Case(
              [&](lm::EmbeddingOp embedding) { reportDenseReader(embedding); });
    });
  }

  void reportDequantize(DequantizeOp op) {
    WeightType type = op.getWeight().getType();
    if (!type.isMatrix())
      return;
    Operation *user = *op->user_begin();
    bool isActivation = llvm::isa<lm::LinearOp, lm::LogitsOp, MatmulOp>(user);
    InFlightDiagnostic diagnostic = report(op);
    diagnostic << describe(op.getWeight()) << " stays a dense " << type.getN()
               << "x" << type.getK() << " matrix: '" << user->getName() << "' "
               << (isActivation ? "reads it as activations"
                                : "is not a linear layer, logits or an "
                                  "embedding of it");
    diagnostic.attachNote(user->getLoc()) << "read here";
  }

  void reportDenseReader(Operation *op) {
    report(op) << "'" << op->getName()
               << "' is not fused: its weight is not the result of "
                  "qc.dequantize";
  }

  bool isDense = false; ///< some matrix stays dense
};
} // namespace
