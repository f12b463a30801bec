//===- TableMatmulKernel.cpp - Codes looked up in shared memory -----------===//
//
// Products of one token with weights whose codes are indices of tables
// (LookupTables of a format). Random reads of a table meet in its banks, so
// every entry is in shared memory as often as threads are served at once: 16
// times of 8 bytes, 32 times of 4 bytes, 64 KB for two codebooks of 256
// entries. Then the wavefronts of look-ups are what such a product takes, and
// all else is out of their way:
//
//   - The tables are filled, and the first codes are loaded, before the kernel
//     waits for the one before it.
//   - A workgroup a multiprocessor goes through `units` of 32 or 16 rows that
//     follow each other, so that all have about as many, and its threads keep
//     their part of the activations in registers if it is short.
//   - Codes are loaded a step (a block of the activations) ahead.
//
// Threads own four rows and split K as in MatmulKernels.cpp. The two products
// of a gate follow each other, since the tables of one weight fit: two such
// workgroups fit a multiprocessor, so that the next kernel's tables are filled
// while this one runs.
//
//===----------------------------------------------------------------------===//
#include "TableEmitter.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::MatmulArguments;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::prefetchBytes;
using mlir::qc::gpu::rowsPerGroup;
using mlir::qc::gpu::SharedTables;
using mlir::qc::gpu::TableEmitter;
using mlir::qc::gpu::tableGroups;
using mlir::qc::gpu::tableRounds;
using mlir::qc::gpu::tableUnits;
using mlir::qc::gpu::warpThreads;

/// Of all weights, fetched to the cache ahead of their use.
static constexpr int64_t aheadBytes = 8 << 20;

namespace {

/// The product of a workgroup: its weights and which of its `groups` this is.
struct Product {
  size_t first, count;
  Value out, own;
  int64_t units, groups;
};

class TableMatmul : MatmulArguments {
public:
  TableMatmul(GPUBuilder &b, const KernelContext &ctx,
              const MatmulSignature &sig, ValueRange args)
      : MatmulArguments(sig, args), b(b), ctx(ctx), sig(sig),
        weights(sig.weights()), e(b, ctx, sig, blobs) {}

  /// What does not depend on other kernels.
  void start();
  void emit();

private:
  /// body(product) of this workgroup, with its results.
  SmallVector<Value>
  forProduct(function_ref<SmallVector<Value>(const Product &)> body,
             size_t next = 0, int64_t begin = 0);
  void emitProduct(const Product &product, SmallVector<Value> words);
  void finish(const Product &product, size_t i, Value sum, Value waiting,
              Value slot, Value row, Value added);
  Value firstUnit(const Product &product, int64_t next = 0);
  void prefetch(size_t weight, Value begin, int64_t bytes);

  GPUBuilder &b;
  const KernelContext &ctx;
  const MatmulSignature &sig;
  SmallVector<WeightType> weights;
  TableEmitter e;
  SmallVector<Value> firstWords; ///< codes of the first step
  Value scratch;
};

} // namespace

SmallVector<Value>
TableMatmul::forProduct(function_ref<SmallVector<Value>(const Product &)> body,
                        size_t next, int64_t begin) {
  size_t fused = sig.second ? 2 : 1;
  size_t first = next ? fused + next - 1 : 0;
  Value own = begin ? b.sub(b.groupX(), b.index(begin)) : b.groupX();
  int64_t groups = tableGroups(sig, weights[first]);
  Product product = {
      first, next ? 1 : fused, outs[next], own, tableUnits(sig, weights[first]),
      groups};
  if (next + 1 == outs.size())
    return body(product);
  auto mine = [&] { return body(product); };
  auto others = [&] { return forProduct(body, next + 1, begin + groups); };
  return b.choose(b.less(own, groups), mine, others);
}

Value TableMatmul::firstUnit(const Product &product, int64_t next) {
  Value own = b.add(product.own, next);
  if (product.units == product.groups)
    return own;
  return b.div(b.mul(own, product.units), product.groups);
}

// Which are contiguous; the last piece may have some of the next workgroup's.
void TableMatmul::prefetch(size_t weight, Value begin, int64_t bytes) {
  if (!ctx.programmatic)
    return;
  ::qc::PackedLayout layout = weights[weight].getLayout();
  int64_t unitBytes = layout.rowBlockBytes() * sig.tableRows / rowsPerGroup;
  int64_t pieces =
      std::min(llvm::divideCeilSigned(bytes, prefetchBytes), b.threads);
  Value at = b.add(b.mul(begin, unitBytes / 16),
                   b.mul(b.thread(), prefetchBytes / 16));
  Value isInside = b.less(
      at, (layout.totalBytes() - layout.headerBytes - prefetchBytes) / 16 + 1);
  b.ifThen(b.land(b.less(b.thread(), pieces), isInside), [&] {
    emitPrefetch(b, blobs[weight], b.add(b.mul(at, 4), layout.headerBytes / 4));
  });
}

void TableMatmul::finish(const Product &product, size_t i, Value sum,
                         Value waiting, Value slot, Value row, Value added) {
  if (i + 1 < product.count) {
    b.store(sum, waiting, slot);
    return;
  }
  SmallVector<Value> sums;
  if (waiting)
    sums.push_back(b.load(waiting, slot));
  sums.push_back(sum);
  storeResult(b, sig, *this, product.first, sums, product.out, row, b.index(0),
              added);
}

void TableMatmul::emitProduct(const Product &product,
                              SmallVector<Value> words) {
  int64_t n = weights[product.first].getN();
  int64_t rows = sig.tableRows, warps = b.threads / warpThreads;
  int64_t rounds = tableRounds(sig, weights[product.first]);
  Value inWarp = b.rem(b.thread(), warpThreads);
  Value warp = b.div(b.thread(), warpThreads);
  Value begin = firstUnit(product), end = firstUnit(product, 1);
  Value waiting = product.count > 1 ? b.shared(rounds * rows) : Value();
  SmallVector<Value> entries;
  for (size_t i = 0; i < product.count; ++i) {
    size_t weight = product.first + i;
    bool isLast = i + 1 == product.count;
    if (i > 0) {
      // Whoever is late still looks up in the tables before.
      words = e.loadCodes(weight, begin, b.index(0));
      b.barrier();
      e.tables.fill(entries);
      b.barrier();
    }
    if (!isLast)
      entries = e.tables.load(blobs[weight + 1]);
    int64_t unitBytes =
        weights[weight].getLayout().rowBlockBytes() * rows / rowsPerGroup;
    int64_t ahead = std::max<int64_t>(
        1, aheadBytes / tableGroups(sig) / static_cast<int64_t>(product.count) /
               unitBytes);
    auto body = [&](Value unit, Value next, Value round) {
      Value row = b.add(b.mul(unit, rows), b.rem(b.thread(), rows));
      // Early, so that nobody waits for it in the end.
      Value added;
      if (sig.residual && isLast)
        added =
            b.load(residual[0], n % rows ? b.min(row, b.index(n - 1)) : row);
      if (isLast && !next)
        emitLetNextStart(b, ctx);
      Value sum = e.emit(weight, unit, next, words);
      // Who finishes the unit before still reads the other half, and meets all
      // others before that is written again.
      Value half = b.mul(b.rem(round, 2), warps * rows);
      Value inUnit = e.ownRow();
      auto store = [&] {
        b.store(sum, scratch, b.add(b.add(half, b.mul(warp, rows)), inUnit));
      };
      if (rows == warpThreads)
        store();
      else
        b.ifThen(b.less(inWarp, rows), store);
      b.barrier();
      Value isOwner = b.less(b.thread(), rows);
      if (n % rows != 0)
        isOwner = b.land(isOwner, b.less(row, n));
      b.ifThen(isOwner, [&] {
        Value at = b.add(half, b.rem(b.thread(), rows));
        Value total = b.load(scratch, at);
        for (int64_t w = 1; w < warps; ++w)
          total = b.fadd(total, b.load(scratch, b.add(at, w * rows)));
        Value slot = b.add(b.mul(round, rows), b.rem(b.thread(), rows));
        finish(product, i, total, waiting, slot, row, added);
      });
    };
    if (rounds == 1) {
      body(begin, Value(), b.index(0));
      continue;
    }
    Value lastUnit = b.add(end, -1);
    b.loop(begin, end, 1, words,
           [&](Value unit, ValueRange carried) -> SmallVector<Value> {
             words.assign(carried.begin(), carried.end());
             if (isLast && ctx.programmatic)
               b.ifThen(b.compare(arith::CmpIPredicate::eq, unit, lastUnit),
                        [&] { emitLetNextStart(b, ctx); });
             Value further = b.add(unit, ahead);
             if (ahead < rounds)
               b.ifThen(b.less(further, end),
                        [&] { prefetch(weight, further, unitBytes); });
             body(unit, b.min(b.add(unit, 1), lastUnit), b.sub(unit, begin));
             return words;
           });
  }
}

void TableMatmul::start() {
  firstWords = forProduct([&](const Product &product) {
    Value begin = firstUnit(product);
    SmallVector<Value> entries = e.tables.load(blobs[product.first]);
    SmallVector<Value> words = e.loadCodes(product.first, begin, b.index(0));
    for (size_t i = 0; i < product.count; ++i) {
      ::qc::PackedLayout layout = weights[product.first + i].getLayout();
      int64_t rounds = tableRounds(sig, weights[product.first]);
      int64_t own =
          rounds * layout.rowBlockBytes() * sig.tableRows / rowsPerGroup;
      prefetch(product.first + i, begin,
               std::min(own, aheadBytes / tableGroups(sig) /
                                 static_cast<int64_t>(product.count)));
    }
    e.tables.fill(entries);
    return words;
  });
  if (sig.normEps)
    emitPrefetchVector(b, gamma[0], sig.weight.getK() * 4);
}

void TableMatmul::emit() {
  if (firstWords.empty())
    start();
  scratch = b.shared(2 * b.threads / warpThreads * sig.tableRows);
  if (sig.quantizes) {
    e.setActivations(emitQuantizedInput(
        b, ActivationBlocks::get(sig.weight), input[0],
        sig.normEps ? Value(gamma[0]) : Value(), sig.normEps.value_or(0), 16));
  } else {
    b.barrier();
    e.setActivations(input);
  }
  forProduct([&](const Product &product) {
    emitProduct(product, firstWords);
    return SmallVector<Value>();
  });
}

Kernel mlir::qc::gpu::tableMatmulKernel(KernelContext &ctx,
                                        const MatmulSignature &sig) {
  std::optional<TableMatmul> emitter;
  auto get = [&](GPUBuilder &b, ValueRange args) -> TableMatmul & {
    if (!emitter)
      emitter.emplace(b, ctx, sig, args);
    return *emitter;
  };
  Kernel kernel = getOrCreateKernel(
      ctx, llvm::formatv("{0}_tables{1}", matmulName(sig), sig.tableRows).str(),
      matmulBuffers(ctx, sig),
      [&](GPUBuilder &b, ValueRange args) { get(b, args).emit(); }, sig.threads,
      [&](GPUBuilder &b, ValueRange args) { get(b, args).start(); },
      /*letsNextStart=*/false);
  Builder b(kernel.getContext());
  kernel->setAttr(sharedAttr, b.getI64IntegerAttr(SharedTables::bytes(
                                  *sig.weight.getFormat().getLookupTables())));
  // Registers of a thread must not keep the next kernel from filling tables.
  kernel->setAttr(
      NVVM::NVVMDialect::getMinctasmAttrName(),
      b.getI32IntegerAttr(static_cast<int32_t>(1024 / sig.threads)));
  return kernel;
}
