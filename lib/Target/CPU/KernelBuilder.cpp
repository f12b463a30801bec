//===- KernelBuilder.cpp - Short names for emitting kernels ---------------===//
#include "KernelBuilder.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

SmallVector<Value> KernelBuilder::loop(Value begin, Value end, int64_t step,
                                       ValueRange init, LoopBody body) {
  auto op = scf::ForOp::create(*this, begin, end, index(step), init);
  OpBuilder::InsertionGuard guard(*this);
  // The builder adds an empty terminator only to loops that carry nothing.
  if (init.empty())
    setInsertionPoint(op.getBody()->getTerminator());
  else
    setInsertionPointToEnd(op.getBody());
  SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
  if (!init.empty())
    scf::YieldOp::create(*this, next);
  return SmallVector<Value>(op.getResults());
}

void KernelBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
}

void KernelBuilder::forTiles(Value begin, Value end, int64_t largest,
                             function_ref<void(Value, int64_t)> body) {
  Value length = max(sub(end, begin), index(0));
  Value first = add(begin, mul(div(length, largest), largest));
  loop(begin, first, largest, [&](Value tile) { body(tile, largest); });
  for (int64_t size = largest / 2; size >= 1; size /= 2) {
    Value next = add(first, size);
    Value fits =
        arith::CmpIOp::create(*this, arith::CmpIPredicate::sle, next, end);
    ifThen(fits, [&] { body(first, size); });
    first = arith::SelectOp::create(*this, fits, next, first);
  }
}

std::pair<Value, Value> KernelBuilder::tileOf(Value item, Value count,
                                              int64_t largest) {
  Value start = mul(div(item, largest), largest), size = index(largest);
  Value first = mul(div(count, largest), largest);
  for (int64_t width = largest / 2; width >= 1; width /= 2) {
    // The tile [first, next), where it fits.
    Value next = add(first, width);
    Value fits =
        arith::CmpIOp::create(*this, arith::CmpIPredicate::sle, next, count);
    Value reached =
        arith::CmpIOp::create(*this, arith::CmpIPredicate::sge, item, first);
    Value here = arith::AndIOp::create(*this, fits, reached);
    start = arith::SelectOp::create(*this, here, first, start);
    size = arith::SelectOp::create(*this, here, index(width), size);
    first = arith::SelectOp::create(*this, fits, next, first);
  }
  return {start, size};
}

ItemRange KernelBuilder::partition(Value items, Value thread, Value threads) {
  auto border = [&](Value t) { return div(mul(items, t), threads); };
  return {border(thread), border(add(thread, 1))};
}

void KernelBuilder::forClaims(Value team, Value thread, Value threads,
                              int64_t items, Value tokens,
                              function_ref<void(ItemRange)> body) {
  Type i64 = getI64Type();
  // Many tokens: a share is not divided, so that what is prepared for all of
  // them is prepared once.
  Value few = less(tokens, index(16));
  Value least = arith::SelectOp::create(*this, few, index(1), index(items));
  auto cast = [&](Value v) -> Value {
    return arith::IndexCastOp::create(*this, i64, v);
  };
  SmallVector<Value> operands = {team, cast(thread), cast(threads),
                                 cast(index(items)), cast(least)};
  auto loop = scf::WhileOp::create(*this, TypeRange{i64}, ValueRange{});
  OpBuilder::InsertionGuard guard(*this);
  createBlock(&loop.getBefore());
  Value claim =
      func::CallOp::create(*this, "qc_claim", TypeRange{i64}, operands)
          .getResult(0);
  Value zero = arith::ConstantOp::create(*this, getI64IntegerAttr(0));
  scf::ConditionOp::create(
      *this,
      arith::CmpIOp::create(*this, arith::CmpIPredicate::sge, claim, zero),
      ValueRange{claim});
  Block *after = createBlock(&loop.getAfter(), {}, {i64}, {getLoc()});
  Value range = after->getArgument(0);
  auto bits = [&](Value v) -> Value {
    return arith::IndexCastOp::create(*this, getIndexType(), v);
  };
  Value mask = arith::ConstantOp::create(*this, getI64IntegerAttr(0xffffffff));
  Value half = arith::ConstantOp::create(*this, getI64IntegerAttr(32));
  ItemRange own = {bits(arith::AndIOp::create(*this, range, mask)),
                   bits(arith::ShRUIOp::create(*this, range, half))};
  body(own);
  scf::YieldOp::create(*this);
}

void KernelBuilder::forVectors(int64_t n,
                               function_ref<void(int64_t, Value)> body) {
  int64_t lanes = target.lanes;
  int64_t full = n / lanes * lanes;
  if (full == lanes)
    body(lanes, index(0));
  else if (full)
    loop(index(0), index(full), lanes, [&](Value i) { body(lanes, i); });
  for (int64_t at = full, width = lanes; at < n; at += width) {
    while (width > n - at)
      width /= 2;
    body(width, index(at));
  }
}

/// Combines the halves of `v`, their halves and so on.
static Value emitTree(KernelBuilder &b, Value v,
                      function_ref<Value(Value, Value)> combine) {
  for (int64_t n = cast<VectorType>(v.getType()).getNumElements(); n > 1;) {
    n /= 2;
    auto half = [&](int64_t first) -> Value {
      return vector::ExtractStridedSliceOp::create(
          b, v, ArrayRef<int64_t>{first}, ArrayRef<int64_t>{n},
          ArrayRef<int64_t>{1});
    };
    v = combine(half(0), half(n));
  }
  return vector::ExtractOp::create(b, v, 0);
}

Value KernelBuilder::treeSum(Value v) {
  return emitTree(*this, v, [&](Value a, Value b) { return fadd(a, b); });
}

Value KernelBuilder::reduce(vector::CombiningKind kind, Value v) {
  // LLVM would go from lane to lane.
  if (kind == vector::CombiningKind::MAXNUMF)
    return emitTree(*this, v, [&](Value a, Value b) { return fmax(a, b); });
  return vector::ReductionOp::create(*this, kind, v);
}

/// The sum of reduceVectors() in reproducible mode.
static Value emitTreeSum(KernelBuilder &b, int64_t n,
                         function_ref<Value(int64_t, Value)> body) {
  int64_t full = n / treeLanes * treeLanes;
  Value sums = b.splat(treeLanes, 0.0);
  if (full)
    sums = b.loop(b.index(0), b.index(full), treeLanes, sums,
                  [&](Value i, ValueRange carried) -> SmallVector<Value> {
                    return {b.fadd(carried[0], body(treeLanes, i))};
                  })[0];
  if (full != n) {
    // No sum is -0, so adding 0 changes none.
    Value rest = b.splat(treeLanes, 0.0);
    for (int64_t at = full, width = treeLanes; at < n; at += width) {
      while (width > n - at)
        width /= 2;
      rest = vector::InsertStridedSliceOp::create(
          b, body(width, b.index(at)), rest, ArrayRef<int64_t>{at - full},
          ArrayRef<int64_t>{1});
    }
    sums = b.fadd(sums, rest);
  }
  return b.treeSum(sums);
}

Value KernelBuilder::reduceVectors(int64_t n, vector::CombiningKind kind,
                                   double identity,
                                   function_ref<Value(int64_t, Value)> body) {
  if (target.reproducible && kind == vector::CombiningKind::ADD)
    return emitTreeSum(*this, n, body);
  auto combine = [&](Value a, Value b) {
    return kind == vector::CombiningKind::ADD ? fadd(a, b) : fmax(a, b);
  };
  int64_t lanes = target.lanes;
  int64_t full = n / lanes * lanes;
  Value total = f32(identity);
  if (full) {
    Value acc =
        loop(index(0), index(full), lanes, ValueRange{splat(lanes, identity)},
             [&](Value i, ValueRange carried) {
               return SmallVector<Value>{combine(carried[0], body(lanes, i))};
             })
            .front();
    total = combine(total, reduce(kind, acc));
  }
  for (int64_t at = full, width = lanes; at < n; at += width) {
    while (width > n - at)
      width /= 2;
    total = combine(total, reduce(kind, body(width, index(at))));
  }
  return total;
}

int64_t mlir::qc::cpu::vectorWidth(int64_t n, int64_t limit) {
  int64_t width = 1;
  while (width * 2 <= limit && n % (width * 2) == 0)
    width *= 2;
  return width;
}

func::FuncOp mlir::qc::cpu::getOrCreateKernel(
    ModuleOp module, StringRef name, TypeRange arguments,
    const TargetFeatures &target,
    function_ref<void(KernelBuilder &, ValueRange)> body) {
  if (auto existing = module.lookupSymbol<func::FuncOp>(name))
    return existing;
  Location loc = NameLoc::get(StringAttr::get(module.getContext(), name));
  KernelBuilder b(loc, module.getContext(), target);
  b.setInsertionPointToStart(module.getBody());
  auto function =
      func::FuncOp::create(b, name, b.getFunctionType(arguments, TypeRange{}));
  function.setPrivate();
  b.setInsertionPointToStart(function.addEntryBlock());
  body(b, function.getArguments());
  func::ReturnOp::create(b);
  return function;
}
