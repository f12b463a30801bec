//===- PlanMemory.cpp - Buffers in one arena ------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "qc/Target/CPU/Passes.h"

namespace mlir::qc::cpu {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "qc/Target/CPU/Passes.h.inc"
} // namespace mlir::qc::cpu

using namespace mlir;

namespace {

struct Buffer {
  memref::AllocOp alloc;
  int64_t bytes;
  unsigned first, last; ///< operations of the block that use it
  int64_t offset = 0;
};

int64_t alignTo64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// Last operation of `block` that uses `value` or a view of it, itself or in a
/// region.
unsigned lastUse(Value value, Block &block,
                 const DenseMap<Operation *, unsigned> &order) {
  unsigned last = 0;
  for (Operation *user : value.getUsers()) {
    last = std::max(last, order.lookup(block.findAncestorOpInBlock(*user)));
    if (isa<memref::CastOp>(user))
      last = std::max(last, lastUse(user->getResult(0), block, order));
  }
  return last;
}

struct PlanMemoryPass : qc::cpu::impl::PlanMemoryPassBase<PlanMemoryPass> {
  using PlanMemoryPassBase::PlanMemoryPassBase;

  LogicalResult collect(func::FuncOp function, SmallVector<Buffer> &buffers);
  /// Places the buffers of one function; returns the size of its frame.
  FailureOr<int64_t> place(func::FuncOp function);
  void runOnOperation() override;
};

} // namespace

LogicalResult PlanMemoryPass::collect(func::FuncOp function,
                                      SmallVector<Buffer> &buffers) {
  DenseMap<Operation *, unsigned> order;
  for (auto [i, op] : llvm::enumerate(function.front()))
    order[&op] = static_cast<unsigned>(i);
  WalkResult result = function.walk([&](memref::AllocOp alloc) {
    MemRefType type = alloc.getType();
    if (alloc->getBlock() != &function.front() ||
        type.getNumDynamicDims() > 1 || !type.getLayout().isIdentity()) {
      alloc.emitOpError("cannot be placed: expected a buffer of at most one "
                        "dynamic size in the function's body");
      return WalkResult::interrupt();
    }
    int64_t rows = maxTokens;
    if (auto tile = alloc->getAttrOfType<IntegerAttr>("qc.row_tile"))
      rows = static_cast<int64_t>(llvm::alignTo(rows, tile.getInt()));
    int64_t elements = 1;
    for (int64_t size : type.getShape())
      elements *= ShapedType::isDynamic(size) ? rows : size;
    int64_t bytes = elements * type.getElementTypeBitWidth() / 8;
    buffers.push_back(
        {alloc, alignTo64(bytes), order[alloc],
         std::max(order[alloc], lastUse(alloc, function.front(), order))});
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

FailureOr<int64_t> PlanMemoryPass::place(func::FuncOp function) {
  SmallVector<Buffer> buffers;
  if (failed(collect(function, buffers)))
    return failure();
  int64_t frame = 0;
  for (unsigned i = 0; i < buffers.size(); ++i) {
    // First fit below what lives at the same time.
    SmallVector<std::pair<int64_t, int64_t>> taken;
    for (unsigned j = 0; j < i; ++j)
      if (buffers[j].last >= buffers[i].first &&
          buffers[i].last >= buffers[j].first)
        taken.push_back(
            {buffers[j].offset, buffers[j].offset + buffers[j].bytes});
    llvm::sort(taken);
    int64_t at = 0;
    for (auto [begin, end] : taken) {
      if (at + buffers[i].bytes <= begin)
        break;
      at = std::max(at, end);
    }
    buffers[i].offset = at;
    frame = std::max(frame, at + buffers[i].bytes);
  }
  if (buffers.empty())
    return frame;

  Value arena, base;
  for (BlockArgument argument : function.getArguments()) {
    if (function.getArgAttr(argument.getArgNumber(), "qc.arena"))
      arena = argument;
    if (function.getArgAttr(argument.getArgNumber(), "qc.frame"))
      base = argument;
  }
  if (!arena || !base)
    return function.emitError("has buffers but no arena argument"), failure();
  for (Buffer &buffer : buffers) {
    OpBuilder b(buffer.alloc);
    Location loc = buffer.alloc.getLoc();
    Value offset = arith::ConstantIndexOp::create(b, loc, buffer.offset);
    offset = arith::AddIOp::create(b, loc, base, offset);
    Value view = memref::ViewOp::create(b, loc, buffer.alloc.getType(), arena,
                                        offset, buffer.alloc.getDynamicSizes());
    buffer.alloc.replaceAllUsesWith(view);
    buffer.alloc.erase();
    ++numBuffers;
  }
  return frame;
}

/// Passes `frame` bytes more than `function` got to callees that have a frame.
static void moveCalleeFrames(ModuleOp module, func::FuncOp function,
                             int64_t frame) {
  function.walk([&](func::CallOp call) {
    auto callee = module.lookupSymbol<func::FuncOp>(call.getCallee());
    if (!callee || frame == 0)
      return;
    for (unsigned i = 0; i < callee.getNumArguments(); ++i) {
      if (!callee.getArgAttr(i, "qc.frame"))
        continue;
      OpBuilder b(call);
      Value size = arith::ConstantIndexOp::create(b, call.getLoc(), frame);
      call.setOperand(
          i, arith::AddIOp::create(b, call.getLoc(), call.getOperand(i), size));
    }
  });
}

void PlanMemoryPass::runOnOperation() {
  ModuleOp module = getOperation();
  DenseMap<StringRef, int64_t> frames;
  SmallVector<func::FuncOp> functions;
  for (auto function : module.getOps<func::FuncOp>())
    if (!function.isExternal())
      functions.push_back(function);
  for (func::FuncOp function : functions) {
    FailureOr<int64_t> frame = place(function);
    if (failed(frame))
      return signalPassFailure();
    frames[function.getName()] = *frame;
    moveCalleeFrames(module, function, *frame);
  }
  // It has done its work, and nobody below knows it.
  for (func::FuncOp function : functions)
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      function.removeArgAttr(i, "qc.frame");
  // The deepest chain of frames; functions do not recurse.
  DenseMap<StringRef, int64_t> total;
  std::function<int64_t(func::FuncOp)> depth = [&](func::FuncOp function) {
    auto known = total.find(function.getName());
    if (known != total.end())
      return known->second;
    int64_t deepest = 0;
    function.walk([&](func::CallOp call) {
      auto callee = module.lookupSymbol<func::FuncOp>(call.getCallee());
      if (callee && !callee.isExternal())
        deepest = std::max(deepest, depth(callee));
    });
    return total[function.getName()] = frames[function.getName()] + deepest;
  };
  int64_t arena = 64;
  for (func::FuncOp function : functions)
    arena = std::max(arena, depth(function));
  module->setAttr("qc.arena_bytes",
                  IntegerAttr::get(IntegerType::get(&getContext(), 64), arena));
}
