//===- TableKernels.cpp - Codebooks by tables of partial sums -------------===//
//
// One token times a weight of additive codebooks with byte codes: for each
// vector of inputs and each book the partial dot products with all entries are
// computed once and rounded to 8 bits (one scale a K block); a weight then
// costs a table look-up for `vector` inputs, 64 rows at a time in registers
// (vpermi2b), instead of a fetch and `vector` multiplications. Tables of
// partial sums: AQLM's CPU kernels (Egiazarian et al., arXiv 2401.06118); 8-bit
// tables in registers: T-MAC (Wei et al., arXiv 2407.00088).
//
//   sum_block w x = row scale * table scale * sum (u - 128),  u unsigned 8 bits
//
// Look-ups of even and odd rows are added in 16-bit lanes: `full` adds whole
// lanes, `odd` their upper bytes; the sum of the even rows is
// full - 256 odd (mod 2^16), exact while it is below 2^16.
//
// Threads split K: each builds the tables of its own K blocks and multiplies
// them with all rows; the fused matmul adds the partial outputs up. Tables that
// one core writes and another reads took three times as long.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

std::optional<TableLayout> TableLayout::get(const TargetFeatures &target,
                                            WeightType weight,
                                            Arithmetic arithmetic) {
  std::optional<AdditiveTables> books = weight.getFormat().getAdditiveTables();
  ::qc::PackedLayout layout = weight.getLayout();
  if (!books || arithmetic != Arithmetic::Int8 || !target.vbmi ||
      target.reproducible || target.lanes != 16 || layout.rows != tableRows ||
      books->bits > 8 || books->vector % 4 != 0)
    return std::nullopt;
  TableLayout t;
  t.books = *books;
  t.vectors = layout.chunksPerBlock();
  t.blocks = layout.numBlocks();
  // The sum of a block in 16 bits, its partial sums on the stack.
  if (t.vectors * books->books * 255 > 65535 || t.scratchWords() > 65536)
    return std::nullopt;
  return t;
}

/// First pass over a K block: 32-bit partial sums to `scratch`; returns the
/// largest magnitude.
static Value emitPartialSums(KernelBuilder &b, const TableLayout &t,
                             Value weights, Value entries, Value codes,
                             Value firstK, Value scratch, Value starts) {
  int64_t words = t.books.vector / 4, count = t.entries();
  auto splat8 = [&](int64_t n, int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(
               b.i8s(n), b.getI8IntegerAttr(static_cast<int8_t>(value))));
  };
  auto dot = [&](Value acc, Value unsignedBytes, Value signedBytes) {
    return LLVM::CallIntrinsicOp::create(
               b, b.i32s(16), b.getStringAttr("llvm.x86.avx512.vpdpbusd.512"),
               ValueRange{acc, unsignedBytes, signedBytes})
        .getResult(0);
  };
  auto word = [&](Value v, int64_t j) -> Value {
    Value at = b.add(b.add(firstK, b.mul(v, t.books.vector)), 4 * j);
    Value four = b.loadVector(4, codes, {b.index(0), at});
    Value single = vector::ExtractOp::create(
        b, vector::BitCastOp::create(b, b.i32s(1), four), 0);
    return vector::BitCastOp::create(b, b.i8s(64), b.broadcast(16, single));
  };
  Value zero = arith::ConstantOp::create(
      b, DenseElementsAttr::get(b.i32s(16), b.getI32IntegerAttr(0)));
  // Entries are stored plus 128.
  b.loop(b.index(0), b.index(t.vectors), 1, [&](Value v) {
    Value sum = zero;
    for (int64_t j = 0; j < words; ++j)
      sum = dot(sum, splat8(64, 128), word(v, j));
    Value negative = b.sub(zero, sum);
    b.store(vector::ExtractOp::create(b, negative, 0), starts, v);
  });
  int64_t slices = (count + 15) / 16;
  SmallVector<Value> top = b.loop(
      b.index(0), b.index(t.books.books * slices), 1, zero,
      [&](Value item, ValueRange carried) {
        Value book = b.div(item, slices), slice = b.rem(item, slices);
        Value at = b.add(entries, b.add(b.mul(book, count * t.books.vector),
                                        b.mul(slice, 16 * t.books.vector)));
        // Codebooks of fewer than 16 entries: what follows is never looked up.
        Value raw = b.loadVector(16 * t.books.vector, weights, at);
        Value dwords = vector::BitCastOp::create(b, b.i32s(16 * words), raw);
        SmallVector<Value> columns;
        for (int64_t j = 0; j < words; ++j) {
          SmallVector<int64_t> every(16);
          for (auto [i, index] : llvm::enumerate(every))
            index = static_cast<int64_t>(i) * words + j;
          columns.push_back(vector::BitCastOp::create(
              b, b.i8s(64),
              vector::ShuffleOp::create(b, dwords, dwords, every)));
        }
        Value to = b.add(b.mul(book, t.tableBytes()), b.mul(slice, 16));
        return b.loop(
            b.index(0), b.index(t.vectors), 1, carried,
            [&](Value v, ValueRange largest) -> SmallVector<Value> {
              Value sum = b.broadcast(16, b.load(starts, v));
              for (int64_t j = 0; j < words; ++j)
                sum = dot(sum, columns[j], word(v, j));
              b.storeVector(
                  sum, scratch,
                  b.add(to, b.mul(v, t.books.books * t.tableBytes())));
              Value magnitude =
                  arith::MaxSIOp::create(b, sum, b.sub(zero, sum));
              return {arith::MaxSIOp::create(b, largest[0], magnitude)};
            });
      });
  return b.reduce(vector::CombiningKind::MAXSI, top[0]);
}

namespace {
/// Builds the tables of one K block after the other.
class TableBuilder {
public:
  TableBuilder(KernelBuilder &b, const TableLayout &t,
               const ActivationLayout &input, Value weights, Value header,
               ValueRange activations)
      : b(b), t(t), input(input), weights(weights), activations(activations) {
    entries = b.add(header, t.books.entriesOffset);
    step = b.loadVector(4, weights, b.add(header, t.books.stepOffset));
    step = vector::ExtractOp::create(
        b, vector::BitCastOp::create(b, b.f32s(1), step), 0);
    auto words = [&](int64_t n) {
      return memref::AllocaOp::create(b, MemRefType::get({n}, b.getI32Type()),
                                      b.getI64IntegerAttr(64));
    };
    scratch = words(t.scratchWords());
    starts = words(t.vectors);
  }

  /// Writes the tables of `block` to `tables` from `to` on; returns their
  /// scale.
  Value emit(Value block, Value tables, Value to);

private:
  KernelBuilder &b;
  const TableLayout &t;
  const ActivationLayout &input;
  Value weights, entries, step, scratch, starts;
  ValueRange activations;
};
} // namespace

Value TableBuilder::emit(Value block, Value tables, Value to) {
  Value top =
      emitPartialSums(b, t, weights, entries, activations[0],
                      b.mul(block, input.paddedBlockK), scratch, starts);
  Value size = arith::SIToFPOp::create(b, b.getF32Type(), top);
  // With all sums 0 every byte is 128 whatever the factor is.
  size = b.fmax(size, b.f32(1.0));
  Value inverse = b.broadcast(16, b.fdiv(b.f32(127.0), size));
  // x + 1.5 * 2^23 has the rounded x in its low bits.
  Value magic = b.splat(16, 12582912.0 + 128.0);
  b.loop(b.index(0), b.index(t.blockBytes()), 16, [&](Value i) {
    Value sum =
        arith::SIToFPOp::create(b, b.f32s(16), b.loadVector(16, scratch, i));
    Value bits =
        vector::BitCastOp::create(b, b.i32s(16), b.fma(sum, inverse, magic));
    b.storeVector(arith::TruncIOp::create(b, b.i8s(16), bits), tables,
                  b.add(to, i));
  });
  Value sx = b.load(activations[1], {b.index(0), block});
  return b.fmul(b.fmul(sx, step), b.fdiv(size, b.f32(127.0)));
}

namespace {
/// Emits the products of `count` row blocks with the tables.
class LookupEmitter {
public:
  LookupEmitter(KernelBuilder &b, const TableLayout &t,
                const ::qc::PackedLayout &layout, Value weights, Value tables,
                Value base, Value scales, ItemRange blocks, bool prefetches)
      : b(b), t(t), layout(layout), weights(weights), tables(tables),
        base(base), scales(scales), blocks(blocks), prefetches(prefetches) {}

  /// `at` is the byte offset of the first row block; stores to row `part` of
  /// `out` from `column` on.
  void emit(Value at, int64_t count, Value out, Value part, Value column);

private:
  Value lookup(ArrayRef<Value> parts, Value codes);
  SmallVector<Value> block(Value at, Value index, int64_t count,
                           ValueRange sums);
  Value words(ArrayRef<int64_t> lanes, Value a, Value c) {
    return vector::ShuffleOp::create(b, a, c, lanes);
  }

  KernelBuilder &b;
  const TableLayout &t;
  const ::qc::PackedLayout &layout;
  Value weights, tables, base, scales;
  ItemRange blocks; ///< K blocks whose tables begin at `base`
  /// Codes of the next K block that this thread will need are fetched.
  bool prefetches;
};
} // namespace

Value LookupEmitter::lookup(ArrayRef<Value> parts, Value codes) {
  auto intrinsic = [&](StringRef name, ValueRange operands) -> Value {
    return LLVM::CallIntrinsicOp::create(b, b.i8s(64), b.getStringAttr(name),
                                         operands)
        .getResult(0);
  };
  if (parts.size() == 1)
    return intrinsic("llvm.x86.avx512.permvar.qi.512", {parts[0], codes});
  auto half = [&](size_t i) {
    return intrinsic("llvm.x86.avx512.vpermi2var.qi.512",
                     {parts[i], codes, parts[i + 1]});
  };
  if (parts.size() == 2)
    return half(0);
  Value zero = arith::ConstantOp::create(
      b, DenseElementsAttr::get(b.i8s(64), b.getI8IntegerAttr(0)));
  Value isHigh =
      arith::CmpIOp::create(b, arith::CmpIPredicate::slt, codes, zero);
  return arith::SelectOp::create(b, isHigh, half(2), half(0));
}

SmallVector<Value> LookupEmitter::block(Value at, Value index, int64_t count,
                                        ValueRange sums) {
  auto halves = VectorType::get({32}, b.getI16Type());
  auto splat16 = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(
               halves, b.getI16IntegerAttr(static_cast<int16_t>(value))));
  };
  SmallVector<Value> full(count, splat16(0)), odd(count, splat16(0));
  Value table = b.add(base, b.mul(b.sub(index, blocks.begin), t.blockBytes()));
  Value codes = b.add(at, b.mul(index, layout.blockBytes()));
  Value ahead;
  if (prefetches) {
    // The next K block; behind this thread's last one the first of the next row
    // blocks.
    Value isInner = b.less(b.add(index, 1), blocks.end);
    Value next = b.add(codes, layout.blockBytes());
    Value first = b.add(at, b.add(b.mul(blocks.begin, layout.blockBytes()),
                                  count * layout.rowBlockBytes()));
    ahead = arith::SelectOp::create(b, isInner, next, first);
  }
  int64_t lookups = t.vectors * t.books.books;
  for (int64_t i = 0; i < lookups; ++i) {
    SmallVector<Value> parts;
    for (int64_t p = 0; p < t.tableBytes(); p += 64)
      parts.push_back(
          b.loadVector(64, tables, b.add(table, i * t.tableBytes() + p)));
    for (int64_t r = 0; r < count; ++r) {
      Value from = b.add(codes, r * layout.rowBlockBytes() + i * tableRows);
      if (prefetches)
        b.prefetch(weights, ahead, r * layout.rowBlockBytes() + i * tableRows,
                   64, /*stays=*/true);
      Value found = vector::BitCastOp::create(
          b, halves, lookup(parts, b.loadVector(64, weights, from)));
      full[r] = b.add(full[r], found);
      odd[r] = b.add(odd[r], arith::ShRUIOp::create(b, found, splat16(8)));
    }
  }
  Value scale = b.broadcast(16, b.load(scales, index));
  Value offset = arith::ConstantOp::create(
      b, DenseElementsAttr::get(
             b.i32s(16),
             b.getI32IntegerAttr(static_cast<int32_t>(128 * lookups))));
  SmallVector<Value> next;
  for (int64_t r = 0; r < count; ++r) {
    Value even = b.sub(full[r], arith::ShLIOp::create(b, odd[r], splat16(8)));
    for (int64_t i = 0; i < 4; ++i) {
      Value source = i < 2 ? even : odd[r];
      int64_t first = i % 2 ? 16 : 0;
      Value part = vector::ExtractStridedSliceOp::create(
          b, source, ArrayRef<int64_t>{first}, ArrayRef<int64_t>{16},
          ArrayRef<int64_t>{1});
      Value wide = arith::ExtUIOp::create(b, b.i32s(16), part);
      Value number =
          arith::SIToFPOp::create(b, b.f32s(16), b.sub(wide, offset));
      next.push_back(b.fma(number, scale, sums[next.size()]));
    }
  }
  return next;
}

void LookupEmitter::emit(Value at, int64_t count, Value out, Value part,
                         Value column) {
  Value codes = b.add(at, layout.rowHeaderBytes);
  SmallVector<Value> sums(4 * count, b.splat(16, 0.0));
  sums = b.loop(blocks.begin, blocks.end, 1, sums,
                [&](Value index, ValueRange carried) {
                  return block(codes, index, count, carried);
                });
  // Back from even and odd rows.
  SmallVector<int64_t> low(16), high(16);
  for (int64_t i = 0; i < 16; ++i) {
    low[i] = i / 2 + 16 * (i % 2);
    high[i] = 8 + low[i];
  }
  for (int64_t r = 0; r < count; ++r) {
    ArrayRef<Value> own = ArrayRef(sums).slice(4 * r, 4);
    Value ordered[] = {words(low, own[0], own[2]), words(high, own[0], own[2]),
                       words(low, own[1], own[3]), words(high, own[1], own[3])};
    for (int64_t i = 0; i < 4; ++i) {
      Value header = b.add(at, r * layout.rowBlockBytes() + 64 * i);
      Value scale = vector::BitCastOp::create(
          b, b.f32s(16), b.loadVector(64, weights, header));
      emitStoreRows(b, layout, b.fmul(ordered[i], scale), out, part,
                    b.add(column, r * tableRows + 16 * i));
    }
  }
}

Value cpu::emitNumParts(KernelBuilder &b, const TableLayout &t, Value threads) {
  return b.min(threads, b.index(std::min(t.blocks, TableLayout::maxParts)));
}

func::FuncOp cpu::lookupKernel(KernelContext &ctx, WeightType weight) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  TableLayout t = *TableLayout::get(ctx.target, weight, Arithmetic::Int8);
  const KernelTuning &tuning = ctx.tuning.get(weight, Arithmetic::Int8);
  auto input = ActivationLayout::get(weight, Arithmetic::Int8, tuning);
  ::qc::PackedLayout layout = weight.getLayout();
  Type idx = types.getIndexType();
  SmallVector<Type> arguments = {types.bytes(), idx};
  arguments.append(activationTypes(types, input));
  arguments.append({types.bytes(), idx, types.matrix(layout.n), idx, idx});
  return getOrCreateKernel(
      ctx.module, "lookup_" + weightName(weight) + tuningName(ctx, tuning),
      arguments, ctx.target, [&](KernelBuilder &b, ValueRange args) {
        Value weights = args[0], header = args[1], tables = args[5],
              base = args[6], out = args[7], thread = args[8];
        Value parts = emitNumParts(b, t, args[9]);
        Value shares =
            b.min(b.div(args[9], parts), b.index(TableLayout::maxShares));
        Value active = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                             thread, b.mul(parts, shares));
        Value scales = memref::AllocaOp::create(
            b, MemRefType::get({t.blocks}, b.getF32Type()),
            b.getI64IntegerAttr(64));
        TableBuilder builder(b, t, input, weights, header, args.slice(2, 3));
        b.ifThen(active, [&] {
          Value part = b.rem(thread, parts);
          ItemRange blocks = b.partition(b.index(t.blocks), part, parts);
          b.loop(blocks.begin, blocks.end, 1, [&](Value block) {
            Value own = b.sub(block, blocks.begin);
            Value to = b.add(base, b.mul(own, t.blockBytes()));
            b.store(builder.emit(block, tables, to), scales, block);
          });
          LookupEmitter emitter(b, t, layout, weights, tables, base, scales,
                                blocks, tuning.decodePrefetch != 0);
          ItemRange rows = b.partition(b.index(layout.numRowBlocks()),
                                       b.div(thread, parts), shares);
          // Row blocks share the tables that are in registers: with fewer,
          // reading tables from L2 takes longer than reading codes from memory.
          b.forTiles(rows.begin, rows.end, 8, [&](Value first, int64_t count) {
            Value at = b.add(b.add(header, layout.headerBytes),
                             b.mul(first, layout.rowBlockBytes()));
            emitter.emit(at, count, out, part, b.mul(first, tableRows));
          });
        });
      });
}
