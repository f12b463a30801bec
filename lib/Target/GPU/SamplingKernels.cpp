//===- SamplingKernels.cpp - From logits to the next token ----------------===//
//
// A tree of sorts: each workgroup orders up to 1024 candidates by a bitonic
// network (Batcher 1968) in shared memory and keeps the best 64, until one
// workgroup is left. All comparisons are of integers, so the order is the same
// on every device: larger logits first, of equal ones the lower id.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"
#include "qc/Runtime/DeviceABI.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;

static constexpr int64_t kept = QC_TOP_CANDIDATES;
static constexpr int64_t sorted = mlir::qc::gpu::sortedCandidates;
static constexpr int64_t logSorted = 10;
static_assert(sorted == 1 << logSorted);

/// A signed integer that is ordered as the float of `bits`: -0 equals 0, NaNs
/// are above all others, so that none goes unseen.
static Value emitKey(GPUBuilder &b, Value bits) {
  using arith::CmpIPredicate;
  Value magnitude = b.land(bits, b.i32(0x7fffffff));
  Value isZero = b.compare(CmpIPredicate::eq, magnitude, b.i32(0));
  Value isNaN = b.compare(CmpIPredicate::sgt, magnitude, b.i32(0x7f800000));
  Value isNegative = b.compare(CmpIPredicate::slt, bits, b.i32(0));
  // A larger magnitude of a negative number is less.
  Value key = b.select(isNegative,
                       arith::XOrIOp::create(b, bits, b.i32(0x7fffffff)), bits);
  key = b.select(isZero, b.i32(0), key);
  return b.select(isNaN, b.i32(0x7fffffff), key);
}

/// The bits of the float that emitKey() made `key` of.
static Value emitBits(GPUBuilder &b, Value key) {
  Value isNegative = b.compare(arith::CmpIPredicate::slt, key, b.i32(0));
  return b.select(isNegative, arith::XOrIOp::create(b, key, b.i32(0x7fffffff)),
                  key);
}

/// Orders keys and ids [sorted], best first.
static void emitSort(GPUBuilder &b, Value keys, Value ids) {
  using arith::CmpIPredicate;
  auto shiftLeft = [&](Value a, Value by) -> Value {
    return arith::ShLIOp::create(b, a, by);
  };
  auto shiftRight = [&](Value a, Value by) -> Value {
    return arith::ShRUIOp::create(b, a, by);
  };
  Value one = b.i32(1);
  // Runs of 2^stage candidates become sorted, every second one backwards.
  b.loop(b.index(1), b.index(logSorted + 1), 1, [&](Value stageIndex) {
    Value stage = b.toI32(stageIndex);
    b.loop(b.index(0), stageIndex, 1, [&](Value step) {
      Value logStride = b.sub(b.sub(stage, b.toI32(step)), one);
      Value stride = shiftLeft(one, logStride);
      b.loop(b.thread(), b.index(sorted / 2), b.threads, [&](Value pairIndex) {
        Value pair = b.toI32(pairIndex);
        Value low = b.land(pair, b.sub(stride, one));
        Value first = b.lor(
            shiftLeft(shiftRight(pair, logStride), b.add(logStride, one)), low);
        Value i = b.toIndex(first), j = b.toIndex(b.add(first, stride));
        Value keyI = b.load(keys, i), keyJ = b.load(keys, j);
        Value idI = b.load(ids, i), idJ = b.load(ids, j);
        Value better = b.compare(CmpIPredicate::sgt, keyJ, keyI);
        Value equal = b.compare(CmpIPredicate::eq, keyJ, keyI);
        Value lower = b.compare(CmpIPredicate::slt, idJ, idI);
        Value isBehind = b.lor(better, b.land(equal, lower));
        Value backwards = b.compare(
            CmpIPredicate::ne, b.land(shiftRight(first, stage), one), b.i32(0));
        Value swap = arith::XOrIOp::create(b, isBehind, backwards);
        b.ifThen(swap, [&] {
          b.store(keyJ, keys, i);
          b.store(keyI, keys, j);
          b.store(idJ, ids, i);
          b.store(idI, ids, j);
        });
      });
      b.barrier();
    });
  });
}

/// Sorts `n` candidates, `sorted` a workgroup; load(i) is the bits and the id
/// of candidate i.
static void emitTop(GPUBuilder &b, int64_t n, Value out,
                    function_ref<std::pair<Value, Value>(Value index)> load) {
  Value keys = b.shared(sorted, b.getI32Type());
  Value ids = b.shared(sorted, b.getI32Type());
  Value first = b.mul(b.groupX(), sorted);
  b.loop(b.thread(), b.index(sorted), b.threads, [&](Value i) {
    Value at = b.add(first, i);
    Value exists = b.less(at, n);
    auto [bits, id] = load(b.select(exists, at, b.index(0)));
    // Behind everything, -inf included; so is what a sort of fewer left over.
    id = b.select(exists, id, b.i32(INT32_MAX));
    Value isNone = b.compare(arith::CmpIPredicate::eq, id, b.i32(INT32_MAX));
    b.store(b.select(isNone, b.i32(INT32_MIN), emitKey(b, bits)), keys, i);
    b.store(id, ids, i);
  });
  b.barrier();
  emitSort(b, keys, ids);
  Value to = b.mul(b.groupX(), 2 * kept);
  b.ifThen(b.less(b.thread(), kept), [&] {
    Value at = b.add(to, b.thread());
    b.store(emitBits(b, b.load(keys, b.thread())), out, at);
    b.store(b.load(ids, b.thread()), out, b.add(at, kept));
  });
}

Kernel mlir::qc::gpu::topKernel(KernelContext &ctx, int64_t n) {
  return getOrCreateKernel(
      ctx, llvm::formatv("top_{0}", n).str(), {ctx.floats(), ctx.words()},
      [&](GPUBuilder &b, ValueRange args) {
        emitTop(b, n, args[1], [&](Value at) {
          return std::pair(b.asWord(b.load(args[0], at)), b.toI32(at));
        });
      });
}

Kernel mlir::qc::gpu::mergeTopKernel(KernelContext &ctx, int64_t groups) {
  Type words = ctx.words();
  return getOrCreateKernel(
      ctx, llvm::formatv("merge_top_{0}", groups).str(), {words, words},
      [&](GPUBuilder &b, ValueRange args) {
        emitTop(b, groups * kept, args[1], [&](Value at) {
          Value word = b.add(b.mul(b.div(at, kept), 2 * kept), b.rem(at, kept));
          return std::pair(b.load(args[0], word),
                           b.load(args[0], b.add(word, kept)));
        });
      });
}

Kernel mlir::qc::gpu::advanceKernel(KernelContext &ctx) {
  Type words = ctx.words();
  return getOrCreateKernel(
      ctx, "advance", {words, words}, [&](GPUBuilder &b, ValueRange args) {
        using arith::CmpIPredicate;
        Value top = args[0], state = args[1];
        auto field = [&](size_t offset) {
          return b.index(static_cast<int64_t>(offset / 4));
        };
        b.ifThen(b.compare(CmpIPredicate::eq, b.thread(), b.index(0)), [&] {
          Value exponent = b.land(b.load(top, b.index(0)), b.i32(0x7f800000));
          Value isNumber =
              b.compare(CmpIPredicate::ne, exponent, b.i32(0x7f800000));
          Value id = b.load(top, b.index(kept));
          Value token = b.select(isNumber, id, b.i32(-1));
          Value at = field(offsetof(QCDeviceState, position));
          Value position = b.load(state, at);
          Value recent =
              b.toIndex(b.land(position, b.i32(QC_RECENT_TOKENS - 1)));
          b.store(token, state, field(offsetof(QCDeviceState, token)));
          b.store(token, state,
                  b.add(field(offsetof(QCDeviceState, recent)), recent));
          // Steps that are under way look up some row, whatever it is.
          b.store(b.select(isNumber, id, b.i32(0)), state,
                  b.index(QC_STATE_IDS));
          b.store(b.add(position, b.i32(1)), state, at);
        });
      });
}
