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
#include "SharedTables.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/Matchers.h"

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
using mlir::qc::gpu::tableGroups;
using mlir::qc::gpu::tableRounds;
using mlir::qc::gpu::TableShares;
using mlir::qc::gpu::tableThreadRows;
using mlir::qc::gpu::tableUnits;
using mlir::qc::gpu::warpThreads;

/// Steps of straight code.
static constexpr int64_t mostUnrolled = 2;
/// Of all weights, fetched to the cache ahead of their use.
static constexpr int64_t aheadBytes = 8 << 20;

namespace {

/// The product of a workgroup: its weights and which of its `groups` this is.
struct Product {
  size_t first, count;
  Value out, own;
  int64_t units, groups;
};

/// What a thread needs of a block of the activations.
struct Activations {
  Value scale, init, zero; ///< `zero`: subtracted from sums, if there is one
  SmallVector<Value> words;
};

class TableEmitter : MatmulArguments {
public:
  TableEmitter(GPUBuilder &b, const KernelContext &ctx,
               const MatmulSignature &sig, ValueRange args);

  /// What does not depend on other kernels.
  void start();
  void emit();

private:
  /// body(product) of this workgroup, with its results.
  SmallVector<Value>
  forProduct(function_ref<SmallVector<Value>(const Product &)> body,
             size_t next = 0, int64_t begin = 0);
  void emitProduct(const Product &product, SmallVector<Value> words);
  /// Sums of the thread's rows; `words` become the first of `next` then.
  SmallVector<Value> emitUnit(size_t weight, Value unit, Value next,
                              SmallVector<Value> &words);
  SmallVector<Value> emitStep(DecodeEmitter &e, ValueRange rowParams,
                              Value step, ValueRange words, ValueRange sums,
                              bool mayBeEmpty);
  void finish(const Product &product, size_t i, Value sum, Value waiting,
              Value slot, Value row, Value added);

  Value firstUnit(const Product &product, int64_t next = 0);
  Value block(Value step);
  DecodeEmitter decoder(size_t weight, Value unit);
  /// Byte offset of the unit's row block.
  Value rowBlock(size_t weight, Value unit);
  SmallVector<Value> loadCodes(size_t weight, Value unit, Value step);
  Activations loadActivations(Value step);
  void prefetch(size_t weight, Value begin, int64_t bytes);
  /// The warp's sum of one row from those of the thread's rows.
  Value warpSum(ValueRange sums);

  GPUBuilder &b;
  const KernelContext &ctx;
  const MatmulSignature &sig;
  SmallVector<WeightType> weights;
  FormatAttrInterface format; ///< of all weights
  SharedTables tables;
  ActivationBlocks inputBlocks;
  TableShares shares;
  Value lane, blockPart, chunkPart;
  SmallVector<Value> firstWords; ///< codes of the first step
  SmallVector<Value> activations;
  SmallVector<Activations> kept; ///< of all steps
  Value scratch;
};

} // namespace

TableEmitter::TableEmitter(GPUBuilder &b, const KernelContext &ctx,
                           const MatmulSignature &sig, ValueRange args)
    : MatmulArguments(sig, args), b(b), ctx(ctx), sig(sig),
      weights(sig.weights()), format(sig.weight.getFormat()),
      tables(b, sig.weight), inputBlocks(ActivationBlocks::get(sig.weight)),
      shares(sig) {
  lane = b.rem(b.thread(), shares.lanes);
  Value part = b.div(b.thread(), shares.lanes);
  chunkPart = b.rem(part, shares.chunkWays);
  blockPart = b.div(part, shares.chunkWays);
}

//===----------------------------------------------------------------------===//
// Workgroups and units
//===----------------------------------------------------------------------===//

SmallVector<Value>
TableEmitter::forProduct(function_ref<SmallVector<Value>(const Product &)> body,
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

Value TableEmitter::firstUnit(const Product &product, int64_t next) {
  Value own = b.add(product.own, next);
  if (product.units == product.groups)
    return own;
  return b.div(b.mul(own, product.units), product.groups);
}

Value TableEmitter::rowBlock(size_t weight, Value unit) {
  ::qc::PackedLayout layout = weights[weight].getLayout();
  Value index = b.div(unit, rowsPerGroup / sig.tableRows);
  return b.add(b.mul(index, layout.rowBlockBytes()), layout.headerBytes);
}

DecodeEmitter TableEmitter::decoder(size_t weight, Value unit) {
  DecodeEmitter e{
      b,       b.getLoc(), blobs[weight], tableThreadRows, rowsPerGroup,
      Value(), ctx.target};
  Value inBlock = b.rem(unit, rowsPerGroup / sig.tableRows);
  e.firstRow =
      b.add(b.mul(inBlock, sig.tableRows), b.mul(lane, tableThreadRows));
  return e;
}

// Which are contiguous; the last piece may have some of the next workgroup's.
void TableEmitter::prefetch(size_t weight, Value begin, int64_t bytes) {
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

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// The thread's block in a step; beyond the last one: the last.
Value TableEmitter::block(Value step) {
  Value own = b.add(blockPart, b.mul(step, shares.blockWays));
  return shares.isRagged() ? b.min(own, b.index(shares.blocks - 1)) : own;
}

SmallVector<Value> TableEmitter::loadCodes(size_t weight, Value unit,
                                           Value step) {
  ::qc::PackedLayout layout = weights[weight].getLayout();
  DecodeEmitter e = decoder(weight, unit);
  Value index = block(step);
  int64_t perBlock = shares.blocks / layout.numBlocks();
  Value at = b.add(b.add(rowBlock(weight, unit), layout.rowHeaderBytes),
                   b.mul(b.div(index, perBlock), layout.blockBytes()));
  at = b.add(at,
             b.mul(b.rem(index, perBlock), shares.chunks * layout.chunkBytes));
  at = b.add(at, b.mul(chunkPart, layout.chunkBytes));
  at = b.add(at, b.mul(e.firstRow, tables.tables.codeBytes));
  at = b.div(at, 4);
  SmallVector<Value> words;
  int64_t arrayBytes = rowsPerGroup * tables.tables.codeBytes;
  for (int64_t c = 0; c < shares.stepChunks; ++c)
    for (int64_t from = 0; from < layout.chunkBytes; from += arrayBytes) {
      Value word =
          b.add(at, (c * shares.chunkWays * layout.chunkBytes + from) / 4);
      if (tables.tables.codeBytes == 1) {
        words.push_back(b.load(blobs[weight], word));
        continue;
      }
      Value all = b.loadWide(blobs[weight], word, tables.tables.codeBytes);
      for (int64_t i = 0; i < tables.tables.codeBytes; ++i)
        words.push_back(b.element(all, i));
    }
  return words;
}

Activations TableEmitter::loadActivations(Value step) {
  Activations result;
  Value index = block(step);
  result.scale = b.load(activations[1], index);
  Value sum = b.load(activations[2], index);
  // Threads that share a block subtract the zero point once.
  if (shares.chunkWays > 1)
    sum = b.select(b.compare(arith::CmpIPredicate::eq, chunkPart, b.index(0)),
                   sum, b.i32(0));
  DecodeEmitter e = decoder(0, b.index(0));
  Value zero = format.emitZero(e, {});
  result.init = b.i32(0);
  if (std::optional<int64_t> integer = mlir::qc::gpu::matchInteger(zero))
    result.init = b.mul(sum, b.i32(-*integer));
  else
    result.zero = b.fmul(b.element(zero, 0),
                         arith::SIToFPOp::create(b, b.getF32Type(), sum));
  Value first = b.add(b.mul(index, inputBlocks.paddedBlockK / 4),
                      b.mul(chunkPart, shares.chunkWords));
  int64_t wide = std::min<int64_t>(shares.chunkWords, 4);
  for (int64_t c = 0; c < shares.stepChunks; ++c)
    for (int64_t i = 0; i < shares.chunkWords; i += wide) {
      Value at = b.add(first, c * shares.chunkWays * shares.chunkWords + i);
      if (wide == 1) {
        result.words.push_back(b.load(activations[0], at));
        continue;
      }
      Value words = b.loadWide(activations[0], at, wide);
      for (int64_t j = 0; j < wide; ++j)
        result.words.push_back(b.element(words, j));
    }
  return result;
}

SmallVector<Value> TableEmitter::emitStep(DecodeEmitter &e,
                                          ValueRange rowParams, Value step,
                                          ValueRange words, ValueRange sums,
                                          bool mayBeEmpty) {
  auto body = [&] {
    IntegerAttr number;
    Activations own = !kept.empty() && matchPattern(step, m_Constant(&number))
                          ? kept[number.getInt()]
                          : loadActivations(step);
    SmallVector<Value> ints(tableThreadRows, own.init);
    e.loaded.assign(words.begin(), words.end());
    for (int64_t c = 0; c < shares.stepChunks; ++c)
      for (auto [j, codes] :
           llvm::enumerate(format.emitCodes(e, b.index(0), rowParams))) {
        Value x = own.words[c * shares.chunkWords +
                            static_cast<int64_t>(j) % shares.chunkWords];
        for (auto [row, sum] : llvm::enumerate(ints))
          sum = emitDot(b, ctx, sum,
                        b.element(codes, static_cast<int64_t>(row)), x);
      }
    Value scale = format.emitIntegerScale(e, rowParams, {});
    SmallVector<Value> next;
    for (auto [row, sum] : llvm::enumerate(ints)) {
      Value value = arith::SIToFPOp::create(b, b.getF32Type(), sum);
      if (own.zero)
        value = b.fsub(value, own.zero);
      Value factor =
          b.fmul(b.element(scale, static_cast<int64_t>(row)), own.scale);
      next.push_back(b.fma(value, factor, sums[row]));
    }
    return next;
  };
  if (!mayBeEmpty)
    return body();
  Value hasBlock =
      b.less(b.add(blockPart, b.mul(step, shares.blockWays)), shares.blocks);
  auto same = [&] { return SmallVector<Value>(sums); };
  return b.choose(hasBlock, body, same);
}

SmallVector<Value> TableEmitter::emitUnit(size_t weight, Value unit, Value next,
                                          SmallVector<Value> &words) {
  DecodeEmitter e = decoder(weight, unit);
  e.copies = tables.copies();
  SmallVector<Value> rowParams =
      format.emitRowParams(e, b.index(0), rowBlock(weight, unit));
  SmallVector<Value> sums(tableThreadRows, b.f32(0.0));
  int64_t last = shares.steps - 1;
  auto emit = [&](Value step, bool isLast, ValueRange own, ValueRange before) {
    return emitStep(e, rowParams, step, own, before,
                    isLast && shares.isRagged());
  };
  if (last <= mostUnrolled) {
    for (int64_t step = 0; step < last; ++step) {
      SmallVector<Value> ahead = loadCodes(weight, unit, b.index(step + 1));
      sums = emit(b.index(step), false, words, sums);
      words = ahead;
    }
  } else {
    SmallVector<Value> carried(words);
    carried.append(sums);
    size_t count = words.size();
    carried = b.loop(b.index(0), b.index(last), 1, carried,
                     [&](Value step, ValueRange before) {
                       SmallVector<Value> ahead =
                           loadCodes(weight, unit, b.add(step, 1));
                       ahead.append(emit(step, false, before.take_front(count),
                                         before.drop_front(count)));
                       return ahead;
                     });
    words.assign(carried.begin(), carried.begin() + count);
    sums.assign(carried.begin() + count, carried.end());
  }
  SmallVector<Value> ahead;
  if (next)
    ahead = loadCodes(weight, next, b.index(0));
  sums = emit(b.index(last), true, words, sums);
  words = ahead;
  if (Value scale = format.emitRowScale(e, rowParams))
    for (auto [row, sum] : llvm::enumerate(sums))
      sum = b.fmul(sum, b.element(scale, static_cast<int64_t>(row)));
  return sums;
}

// Of row lane * 4 + part % 4, in all lanes that have it.
Value TableEmitter::warpSum(ValueRange sums) {
  Value sum = emitExchange(b, sums, shares.lanes);
  for (int64_t lanes = tableThreadRows * shares.lanes; lanes < warpThreads;
       lanes *= 2)
    sum = b.fadd(sum, b.shuffleXor(sum, lanes));
  return sum;
}

void TableEmitter::finish(const Product &product, size_t i, Value sum,
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

void TableEmitter::emitProduct(const Product &product,
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
      words = loadCodes(weight, begin, b.index(0));
      b.barrier();
      tables.fill(entries);
      b.barrier();
    }
    if (!isLast)
      entries = tables.load(blobs[weight + 1]);
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
      Value sum = warpSum(emitUnit(weight, unit, next, words));
      // Who finishes the unit before still reads the other half, and meets all
      // others before that is written again.
      Value half = b.mul(b.rem(round, 2), warps * rows);
      Value inUnit = b.add(b.mul(lane, tableThreadRows),
                           b.rem(b.div(inWarp, shares.lanes), tableThreadRows));
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

void TableEmitter::start() {
  firstWords = forProduct([&](const Product &product) {
    Value begin = firstUnit(product);
    SmallVector<Value> entries = tables.load(blobs[product.first]);
    SmallVector<Value> words = loadCodes(product.first, begin, b.index(0));
    for (size_t i = 0; i < product.count; ++i) {
      ::qc::PackedLayout layout = weights[product.first + i].getLayout();
      int64_t rounds = tableRounds(sig, weights[product.first]);
      int64_t own =
          rounds * layout.rowBlockBytes() * sig.tableRows / rowsPerGroup;
      prefetch(product.first + i, begin,
               std::min(own, aheadBytes / tableGroups(sig) /
                                 static_cast<int64_t>(product.count)));
    }
    tables.fill(entries);
    return words;
  });
  if (sig.normEps)
    emitPrefetchVector(b, gamma[0], sig.weight.getK() * 4);
}

void TableEmitter::emit() {
  if (firstWords.empty())
    start();
  scratch = b.shared(2 * b.threads / warpThreads * sig.tableRows);
  if (sig.quantizes) {
    activations = emitQuantizedInput(b, inputBlocks, input[0],
                                     sig.normEps ? Value(gamma[0]) : Value(),
                                     sig.normEps.value_or(0), 16);
  } else {
    activations.assign(input.begin(), input.end());
    b.barrier();
  }
  if (shares.isKept())
    for (int64_t step = 0; step < shares.steps; ++step)
      kept.push_back(loadActivations(b.index(step)));
  forProduct([&](const Product &product) {
    emitProduct(product, firstWords);
    return SmallVector<Value>();
  });
}

Kernel mlir::qc::gpu::tableMatmulKernel(KernelContext &ctx,
                                        const MatmulSignature &sig) {
  std::optional<TableEmitter> emitter;
  auto get = [&](GPUBuilder &b, ValueRange args) -> TableEmitter & {
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
