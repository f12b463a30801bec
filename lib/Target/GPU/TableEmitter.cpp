//===- TableEmitter.cpp - Products of a unit with tables ------------------===//
#include "TableEmitter.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::TableEmitter;

/// Steps of straight code.
static constexpr int64_t mostUnrolled = 2;

TableEmitter::TableEmitter(GPUBuilder &b, const KernelContext &ctx,
                           const MatmulSignature &sig, ValueRange blobs)
    : tables(b, sig.weight), shares(sig), b(b), ctx(ctx),
      weights(sig.weights()), unitRows(sig.tableRows), blobs(blobs),
      format(sig.weight.getFormat()),
      inputBlocks(ActivationBlocks::get(sig.weight)) {
  lane = b.rem(b.thread(), shares.lanes);
  Value part = b.div(b.thread(), shares.lanes);
  chunkPart = b.rem(part, shares.chunkWays);
  blockPart = b.div(part, shares.chunkWays);
}

void TableEmitter::setActivations(ValueRange values) {
  activations.assign(values.begin(), values.end());
  if (shares.isKept())
    for (int64_t step = 0; step < shares.steps; ++step)
      kept.push_back(loadActivations(b.index(step)));
}

Value TableEmitter::ownRow() {
  Value part = b.div(b.rem(b.thread(), warpThreads), shares.lanes);
  return b.add(b.mul(lane, tableThreadRows), b.rem(part, tableThreadRows));
}

Value TableEmitter::rowBlock(size_t weight, Value unit) {
  ::qc::PackedLayout layout = weights[weight].getLayout();
  Value index = b.div(unit, rowsPerGroup / unitRows);
  return b.add(b.mul(index, layout.rowBlockBytes()), layout.headerBytes);
}

DecodeEmitter TableEmitter::decoder(size_t weight, Value unit) {
  DecodeEmitter e{
      b,       b.getLoc(), blobs[weight], tableThreadRows, rowsPerGroup,
      Value(), ctx.target};
  Value inBlock = b.rem(unit, rowsPerGroup / unitRows);
  e.firstRow = b.add(b.mul(inBlock, unitRows), b.mul(lane, tableThreadRows));
  return e;
}

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

TableEmitter::Activations TableEmitter::loadActivations(Value step) {
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
  if (std::optional<int64_t> integer = matchInteger(zero))
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

Value TableEmitter::emit(size_t weight, Value unit, Value next,
                         SmallVector<Value> &words) {
  DecodeEmitter e = decoder(weight, unit);
  e.copies = tables.copies();
  SmallVector<Value> rowParams =
      format.emitRowParams(e, b.index(0), rowBlock(weight, unit));
  SmallVector<Value> sums(tableThreadRows, b.f32(0.0));
  int64_t last = shares.steps - 1;
  auto emitNext = [&](Value step, bool isLast, ValueRange own,
                      ValueRange before) {
    return emitStep(e, rowParams, step, own, before,
                    isLast && shares.isRagged());
  };
  if (last <= mostUnrolled) {
    for (int64_t step = 0; step < last; ++step) {
      SmallVector<Value> ahead = loadCodes(weight, unit, b.index(step + 1));
      sums = emitNext(b.index(step), false, words, sums);
      words = ahead;
    }
  } else {
    SmallVector<Value> carried(words);
    carried.append(sums);
    size_t count = words.size();
    carried =
        b.loop(b.index(0), b.index(last), 1, carried,
               [&](Value step, ValueRange before) {
                 SmallVector<Value> ahead =
                     loadCodes(weight, unit, b.add(step, 1));
                 ahead.append(emitNext(step, false, before.take_front(count),
                                       before.drop_front(count)));
                 return ahead;
               });
    words.assign(carried.begin(), carried.begin() + count);
    sums.assign(carried.begin() + count, carried.end());
  }
  SmallVector<Value> ahead;
  if (next)
    ahead = loadCodes(weight, next, b.index(0));
  sums = emitNext(b.index(last), true, words, sums);
  words = ahead;
  if (Value scale = format.emitRowScale(e, rowParams))
    for (auto [row, sum] : llvm::enumerate(sums))
      sum = b.fmul(sum, b.element(scale, static_cast<int64_t>(row)));
  Value sum = emitExchange(b, sums, shares.lanes);
  for (int64_t lanes = tableThreadRows * shares.lanes; lanes < warpThreads;
       lanes *= 2)
    sum = b.fadd(sum, b.shuffleXor(sum, lanes));
  return sum;
}
