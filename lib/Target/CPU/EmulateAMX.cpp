//===- EmulateAMX.cpp - Tile registers in memory --------------------------===//
//
// What the instructions do, from the Intel SDM volume 2: TILEZERO, TILELOADD,
// TILESTORED, TDPB{SS,SU,US,UU}D and TDPBF16PS. Types hold what TILECFG would:
// a tile has exactly the rows and columns of its type.
//
//===----------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "qc/Target/CPU/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::qc::cpu {
#define GEN_PASS_DEF_EMULATEAMXPASS
#include "qc/Target/CPU/Passes.h.inc"
} // namespace mlir::qc::cpu

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

namespace {

class Emulator {
public:
  explicit Emulator(func::FuncOp function)
      : function(function),
        b(function.getLoc(), function.getContext(), target) {}
  LogicalResult run();

private:
  LogicalResult check();
  /// The memory of an operation's tile, new for each: in straight-line code
  /// that is a value.
  Value create(Value tile);
  Value row(Value tile, Value index) {
    auto type = cast<amx::TileType>(tile.getType());
    return b.loadVector(type.getShape()[1], memory.lookup(tile),
                        {index, b.index(0)});
  }
  void forRows(Value tile, function_ref<void(Value)> body) {
    int64_t rows = cast<amx::TileType>(tile.getType()).getShape()[0];
    b.loop(b.index(0), b.index(rows), 1, body);
  }
  /// Where row `index` of a tile in memory begins.
  SmallVector<Value> rowAt(ValueRange indices, Value stride, Value index);
  void emulate(amx::TileZeroOp op);
  void emulate(amx::TileLoadOp op);
  void emulate(amx::TileStoreOp op);
  void emulate(amx::TileMulIOp op);
  void emulate(amx::TileMulFOp op);

  TargetFeatures target;
  func::FuncOp function;
  KernelBuilder b;
  DenseMap<Value, Value> memory;
};

} // namespace

static bool isBF16Product(Operation *op) {
  auto product = dyn_cast<amx::TileMulFOp>(op);
  return product && product.getLhsTileType().getElementType().isBF16();
}

LogicalResult Emulator::check() {
  auto isTile = [](Type type) { return isa<amx::TileType>(type); };
  WalkResult result = function.walk<WalkOrder::PreOrder>([&](Operation *op) {
    bool carried = false;
    for (Region &region : op->getRegions())
      for (Block &block : region)
        carried |= llvm::any_of(block.getArgumentTypes(), isTile);
    bool known = isa<amx::TileZeroOp, amx::TileLoadOp, amx::TileStoreOp,
                     amx::TileMulIOp>(op) ||
                 isBF16Product(op);
    if (!carried && (known || (llvm::none_of(op->getOperandTypes(), isTile) &&
                               llvm::none_of(op->getResultTypes(), isTile))))
      return WalkResult::advance();
    op->emitOpError("cannot be emulated: expected tiles in amx.tile_zero, "
                    "tile_load, tile_muli, tile_mulf of bf16 and "
                    "tile_store only, not carried between blocks");
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

Value Emulator::create(Value tile) {
  auto type = cast<amx::TileType>(tile.getType());
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&function.front());
  Value buffer = memref::AllocaOp::create(
      b, MemRefType::get(type.getShape(), type.getElementType()),
      b.getI64IntegerAttr(64));
  memory[tile] = buffer;
  return buffer;
}

SmallVector<Value> Emulator::rowAt(ValueRange indices, Value stride,
                                   Value index) {
  SmallVector<Value> at(indices);
  Value &moved = stride ? at.back() : at[at.size() - 2];
  moved = b.add(moved, stride ? b.mul(index, stride) : index);
  return at;
}

void Emulator::emulate(amx::TileZeroOp op) {
  Value buffer = create(op.getRes());
  amx::TileType type = op.getTileType();
  Value zero = arith::ConstantOp::create(
      b, b.getZeroAttr(
             VectorType::get({type.getShape()[1]}, type.getElementType())));
  forRows(op.getRes(), [&](Value index) {
    b.storeVector(zero, buffer, {index, b.index(0)});
  });
}

void Emulator::emulate(amx::TileLoadOp op) {
  Value buffer = create(op.getRes());
  int64_t columns = op.getTileType().getShape()[1];
  forRows(op.getRes(), [&](Value index) {
    Value values = b.loadVector(columns, op.getBase(),
                                rowAt(op.getIndices(), op.getStride(), index));
    b.storeVector(values, buffer, {index, b.index(0)});
  });
}

void Emulator::emulate(amx::TileStoreOp op) {
  forRows(op.getVal(), [&](Value index) {
    b.storeVector(row(op.getVal(), index), op.getBase(),
                  rowAt(op.getIndices(), op.getStride(), index));
  });
}

// c[m][n] += a[m][4k+j] * b[k][4n+j] for k and j, in 32 bits that wrap.
void Emulator::emulate(amx::TileMulIOp op) {
  Value buffer = create(op.getRes());
  Value lhs = memory.lookup(op.getLhs());
  int64_t quads = op.getLhsTileType().getShape()[1] / 4;
  int64_t columns = op.getTileType().getShape()[1];
  VectorType words = b.i32s(columns);
  auto bits = [&](int64_t count) {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(words, static_cast<int32_t>(count)));
  };
  auto product = [&](Value m, Value k, Value quad, int64_t j) -> Value {
    Value x = b.load(lhs, {m, b.add(b.mul(k, 4), j)});
    x = op.getIsZextLhs()
            ? arith::ExtUIOp::create(b, b.getI32Type(), x).getResult()
            : arith::ExtSIOp::create(b, b.getI32Type(), x).getResult();
    // Byte j of each word, moved to the top and back.
    Value top = arith::ShLIOp::create(b, quad, bits(24 - 8 * j));
    Value y = op.getIsZextRhs()
                  ? arith::ShRUIOp::create(b, top, bits(24)).getResult()
                  : arith::ShRSIOp::create(b, top, bits(24)).getResult();
    return b.mul(b.broadcast(columns, x), y);
  };
  forRows(op.getRes(), [&](Value m) {
    SmallVector<Value> sum =
        b.loop(b.index(0), b.index(quads), 1, row(op.getAcc(), m),
               [&](Value k, ValueRange carried) -> SmallVector<Value> {
                 Value quad =
                     vector::BitCastOp::create(b, words, row(op.getRhs(), k));
                 Value total = carried[0];
                 for (int64_t j = 0; j < 4; ++j)
                   total = b.add(total, product(m, k, quad, j));
                 return {total};
               });
    b.storeVector(sum[0], buffer, {m, b.index(0)});
  });
}

// With t[2n+j] the sum of a[m][2k+j] * b[k][2n+j] over k, each by fused
// multiply-adds (a product of two bf16 is exact in f32): c[m][n] += t[2n] +
// t[2n+1]. The instruction takes subnormals as zeros; here they are exact.
void Emulator::emulate(amx::TileMulFOp op) {
  Value buffer = create(op.getRes());
  Value lhs = memory.lookup(op.getLhs());
  int64_t pairs = op.getLhsTileType().getShape()[1] / 2;
  int64_t columns = op.getTileType().getShape()[1];
  auto half = [&](Value row, int64_t j) -> Value {
    // A bf16 is the upper half of an f32.
    Value words = vector::BitCastOp::create(b, b.i32s(columns), row);
    auto constant = [&](int32_t value) {
      return arith::ConstantOp::create(
          b, DenseElementsAttr::get(b.i32s(columns), value));
    };
    words = j ? arith::AndIOp::create(b, words, constant(-65536)).getResult()
              : arith::ShLIOp::create(b, words, constant(16)).getResult();
    return vector::BitCastOp::create(b, b.f32s(columns), words);
  };
  forRows(op.getRes(), [&](Value m) {
    Value none = b.splat(columns, 0.0);
    SmallVector<Value> sums = b.loop(
        b.index(0), b.index(pairs), 1, {none, none},
        [&](Value k, ValueRange carried) -> SmallVector<Value> {
          Value weights = row(op.getRhs(), k);
          SmallVector<Value> next;
          for (int64_t j = 0; j < 2; ++j) {
            Value x = arith::ExtFOp::create(
                b, b.getF32Type(), b.load(lhs, {m, b.add(b.mul(k, 2), j)}));
            next.push_back(b.fadd(
                b.fmul(b.broadcast(columns, x), half(weights, j)), carried[j]));
          }
          return next;
        });
    b.storeVector(b.fadd(row(op.getAcc(), m), b.fadd(sums[0], sums[1])), buffer,
                  {m, b.index(0)});
  });
}

LogicalResult Emulator::run() {
  if (failed(check()))
    return failure();
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<amx::AMXDialect>(op->getDialect()))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    b.setLoc(op->getLoc());
    b.setInsertionPoint(op);
    llvm::TypeSwitch<Operation *>(op)
        .Case<amx::TileZeroOp, amx::TileLoadOp, amx::TileStoreOp,
              amx::TileMulIOp, amx::TileMulFOp>(
            [&](auto concrete) { emulate(concrete); });
  }
  for (Operation *op : llvm::reverse(ops))
    op->erase();
  return success();
}

namespace {
struct EmulateAMXPass : cpu::impl::EmulateAMXPassBase<EmulateAMXPass> {
  using EmulateAMXPassBase::EmulateAMXPassBase;
  void runOnOperation() override {
    if (!getOperation().isExternal() && failed(Emulator(getOperation()).run()))
      signalPassFailure();
  }
};
} // namespace
