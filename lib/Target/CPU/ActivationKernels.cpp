//===- ActivationKernels.cpp - Activations as matmuls read them -----------===//
//
// f32: copied where blocks need padding. int8: each block of x is quantized to
// scale * code, code in [-127, 127], with the sum of the codes beside it.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

ActivationLayout ActivationLayout::get(WeightType weight, Arithmetic arithmetic,
                                       const KernelTuning &tuning) {
  ::qc::PackedLayout layout = weight.getLayout();
  if (arithmetic == Arithmetic::F32)
    return {arithmetic,         layout.k,
            layout.blockK,      layout.paddedBlockK,
            layout.numBlocks(), tuning.interleavesF32 ? tuning.tokenTile : 0};
  if (arithmetic == Arithmetic::BF16) {
    int64_t tileK = amxTileK / 2;
    return {arithmetic, layout.k,
            layout.k,   (layout.k + tileK - 1) / tileK * tileK,
            1,          tuning.tokenTile};
  }
  auto blocks = ActivationBlocks::get(weight);
  return {arithmetic,          blocks.k,      blocks.blockK,
          blocks.paddedBlockK, blocks.blocks, tuning.tokenTile};
}

std::string ActivationLayout::name() const {
  return llvm::formatv("{0}_{1}_{2}_{3}_{4}", stringifyArithmetic(arithmetic),
                       k, blockK, paddedBlockK, blocks);
}

Arithmetic cpu::supported(Arithmetic wanted, WeightType weight,
                          const TargetFeatures &target) {
  if (wanted == Arithmetic::BF16 && !(target.bf16 && weight.getK() % 2 == 0))
    return Arithmetic::F32;
  return wanted;
}

/// Stores codes of inputs [from, from + width) of a block, width a power of two
/// that divides `from`, at `base`, groups of `size` inputs `stride` apart.
static void emitStoreCodes(KernelBuilder &b, Value codes, Value out, Value base,
                           Value from, Value stride, int64_t size) {
  int64_t width = cast<VectorType>(codes.getType()).getNumElements();
  Value group = b.add(base, b.mul(b.div(from, size), stride));
  if (width < size) {
    b.storeVector(codes, out, b.add(group, b.rem(from, size)));
    return;
  }
  for (int64_t i = 0; i < width; i += size) {
    Value part = vector::ExtractStridedSliceOp::create(
        b, codes, ArrayRef<int64_t>{i}, ArrayRef<int64_t>{size},
        ArrayRef<int64_t>{1});
    b.storeVector(part, out, group);
    group = b.add(group, stride);
  }
}

/// The same of token `token` in A tiles, see prepareKernel(). `block` is the
/// tile's first element of the K block.
static void emitStoreAMXCodes(KernelBuilder &b, const ActivationLayout &layout,
                              Value codes, Value out, Value block, Value token,
                              Value from) {
  int64_t width = layout.amxStride();
  Value tile = b.mul(b.div(from, width), amxTokens * width);
  Value at =
      b.add(b.add(block, tile), b.add(b.mul(token, width), b.rem(from, width)));
  b.storeVector(codes, out, at);
}

/// Where prepareKernel() puts the inputs of a row in a block.
namespace {
class CodePlace {
public:
  CodePlace(KernelBuilder &b, const ActivationLayout &layout, bool hasAMX,
            Value tokens, Value row, Value block)
      : b(b), layout(layout) {
    std::tie(tile, count) = b.tileOf(row, tokens, layout.tile);
    if (hasAMX) {
      inAMXTile = usesAMX(b, tokens);
      tile = arith::SelectOp::create(
          b, inAMXTile, b.mul(b.div(row, amxTokens), amxTokens), tile);
      count = arith::SelectOp::create(b, inAMXTile, b.index(amxTokens), count);
    }
    token = b.sub(row, tile);
    first = b.add(b.mul(tile, layout.paddedK()),
                  b.mul(b.mul(block, layout.paddedBlockK), count));
    base = b.add(first, b.mul(token, layout.group()));
    stride = b.mul(count, layout.group());
  }

  /// Stores those of inputs from `at` on.
  void store(Value codes, Value out, Value at) {
    if (!inAMXTile)
      return emitStoreCodes(b, codes, out, base, at, stride, layout.group());
    auto branch = scf::IfOp::create(b, inAMXTile, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    emitStoreAMXCodes(b, layout, codes, out, first, token, at);
    b.setInsertionPointToStart(branch.elseBlock());
    emitStoreCodes(b, codes, out, base, at, stride, layout.group());
  }

  Value tile, count, token; ///< first token of the tile, its size, row in it

private:
  KernelBuilder &b;
  const ActivationLayout &layout;
  Value inAMXTile, first, base, stride;
};
} // namespace

/// Quantizes `length` inputs of row `row` from column `from` on to one int8
/// block.
static void emitQuantizeBlock(KernelBuilder &b, const ActivationLayout &layout,
                              ValueRange args, Value row, Value block,
                              int64_t length) {
  Value x = args[0], out = b.flatten(args[1]);
  Value from = b.mul(block, layout.blockK);
  CodePlace place(b, layout, b.target.amx, b.dim(x, 0), row, block);
  Value meta = b.add(
      b.add(b.mul(place.tile, layout.numBlocks()), b.mul(block, place.count)),
      place.token);
  Value top =
      b.reduceVectors(length, vector::CombiningKind::MAXNUMF, 0.0,
                      [&](int64_t width, Value at) -> Value {
                        return math::AbsFOp::create(
                            b, b.loadVector(width, x, {row, b.add(from, at)}));
                      });
  Value scale = b.fdiv(top, b.f32(127.0));
  // An all-zero block keeps scale 0; its codes are 0 whatever the inverse is.
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, b.f32(0.0));
  Value divisor = arith::SelectOp::create(b, isZero, b.f32(1.0), scale);
  Value inverse = b.fdiv(b.f32(1.0), divisor);
  Value sum = b.reduceVectors(
      length, vector::CombiningKind::ADD, 0.0,
      [&](int64_t width, Value at) -> Value {
        Value v = b.fmul(b.loadVector(width, x, {row, b.add(from, at)}),
                         b.broadcast(width, inverse));
        // A subnormal scale has an inexact inverse: keep |code| <= 127.
        v = b.fmax(arith::MinNumFOp::create(b, math::RoundEvenOp::create(b, v),
                                            b.splat(width, 127.0)),
                   b.splat(width, -127.0));
        Value wide = arith::FPToSIOp::create(b, b.i32s(width), v);
        Value code = arith::TruncIOp::create(b, b.i8s(width), wide);
        place.store(code, out, at);
        return v;
      });
  b.store(scale, b.flatten(args[2]), meta);
  if (b.target.amx) {
    // What lies in the padding of the last tile may be slow to multiply with.
    Value tokens = b.dim(x, 0), next = b.add(row, 1);
    Value isLast = arith::AndIOp::create(
        b, usesAMX(b, tokens), b.less(b.sub(tokens, b.index(2)), row));
    b.ifThen(isLast, [&] {
      b.loop(next, padToAMXTiles(b, tokens), 1, [&](Value padding) {
        b.store(b.f32(0.0), b.flatten(args[2]),
                b.add(meta, b.sub(padding, row)));
      });
    });
  }
  // At most 127 * blockK: exact in f32 too.
  b.store(arith::FPToSIOp::create(b, b.getI32Type(), sum), b.flatten(args[3]),
          meta);
  if (int64_t padding = layout.paddedBlockK - length) {
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(b.i8s(1)));
    b.loop(b.index(0), b.index(padding), 1,
           [&](Value i) { place.store(zero, out, b.add(i, length)); });
  }
}

/// Rounds a row to bf16; the only block is the row.
static void emitRoundBlock(KernelBuilder &b, const ActivationLayout &layout,
                           ValueRange args, Value row, Value block,
                           int64_t length) {
  Value x = args[0], out = b.flatten(args[1]);
  CodePlace place(b, layout, b.target.amxBF16, b.dim(x, 0), row, block);
  b.forVectors(length, [&](int64_t width, Value at) {
    Value v =
        arith::TruncFOp::create(b, VectorType::get({width}, b.getBF16Type()),
                                b.loadVector(width, x, {row, at}));
    place.store(v, out, at);
  });
  Value zero = arith::ConstantOp::create(
      b, b.getZeroAttr(VectorType::get({1}, b.getBF16Type())));
  b.loop(b.index(0), b.index(layout.paddedBlockK - length), 1,
         [&](Value i) { place.store(zero, out, b.add(i, length)); });
}

/// Interleaves the tokens of a tile; one alone is copied.
static void emitInterleaveBlock(KernelBuilder &b,
                                const ActivationLayout &layout, ValueRange args,
                                Value row, Value block, int64_t length) {
  Value x = args[0], out = b.flatten(args[1]);
  Value from = b.mul(block, layout.blockK);
  CodePlace place(b, layout, /*hasAMX=*/false, b.dim(x, 0), row, block);
  auto branch =
      scf::IfOp::create(b, b.less(place.count, b.index(2)), /*else=*/true);
  for (bool alone : {true, false}) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(alone ? branch.thenBlock() : branch.elseBlock());
    Value first =
        b.add(b.mul(row, layout.paddedK()), b.mul(block, layout.paddedBlockK));
    auto store = [&](Value v, Value at) {
      if (alone)
        b.storeVector(v, out, b.add(first, at));
      else
        place.store(v, out, at);
    };
    b.forVectors(length, [&](int64_t width, Value at) {
      store(b.loadVector(width, x, {row, b.add(from, at)}), at);
    });
    b.forVectors(layout.paddedBlockK - length, [&](int64_t width, Value at) {
      store(b.splat(width, 0.0), b.add(at, length));
    });
  }
}

static void emitPadBlock(KernelBuilder &b, const ActivationLayout &layout,
                         ValueRange args, Value row, Value block,
                         int64_t length) {
  Value from = b.mul(block, layout.blockK);
  Value to = b.mul(block, layout.paddedBlockK);
  b.forVectors(length, [&](int64_t width, Value at) {
    b.storeVector(b.loadVector(width, args[0], {row, b.add(from, at)}), args[1],
                  {row, b.add(to, at)});
  });
  b.forVectors(layout.paddedBlockK - length, [&](int64_t width, Value at) {
    b.storeVector(b.splat(width, 0.0), args[1],
                  {row, b.add(b.add(to, length), at)});
  });
}

func::FuncOp cpu::prepareKernel(KernelContext &ctx,
                                const ActivationLayout &layout) {
  KernelBuilder types(UnknownLoc::get(ctx.module.getContext()),
                      ctx.module.getContext(), ctx.target);
  Type idx = types.getIndexType();
  bool int8 = layout.arithmetic == Arithmetic::Int8;
  SmallVector<Type> arguments = {types.matrix(layout.k)};
  arguments.append(activationTypes(types, layout));
  arguments.append({idx, idx});
  std::string name = "prepare_" + layout.name();
  if (layout.tile &&
      layout.tile != KernelTuning::forTarget(ctx.target).tokenTile)
    name += llvm::formatv("_tile{0}", layout.tile);
  return getOrCreateKernel(
      ctx.module, name, arguments, ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        auto emit = int8                                    ? emitQuantizeBlock
                    : layout.arithmetic == Arithmetic::BF16 ? emitRoundBlock
                    : layout.tile ? emitInterleaveBlock
                                  : emitPadBlock;
        int64_t blocks = layout.numBlocks();
        ItemRange range =
            b.partition(b.mul(b.dim(args[0], 0), blocks), args[args.size() - 2],
                        args[args.size() - 1]);
        // Full blocks, a partial one, empty ones.
        int64_t full = layout.k / layout.blockK;
        int64_t partial = layout.k % layout.blockK;
        b.loop(range.begin, range.end, 1, [&](Value item) {
          Value row = b.div(item, blocks), block = b.rem(item, blocks);
          auto branch = [&](int64_t begin, int64_t end, int64_t length) {
            if (begin >= end)
              return;
            if (begin == 0 && end == blocks)
              return emit(b, layout, args, row, block, length);
            Value inside =
                arith::AndIOp::create(b, b.less(b.index(begin - 1), block),
                                      b.less(block, b.index(end)));
            b.ifThen(inside,
                     [&] { emit(b, layout, args, row, block, length); });
          };
          branch(0, full, layout.blockK);
          branch(full, full + (partial ? 1 : 0), partial);
          branch(full + (partial ? 1 : 0), blocks, 0);
        });
      });
}
