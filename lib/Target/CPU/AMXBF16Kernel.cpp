//===- AMXBF16Kernel.cpp - Weights in bf16 by tile registers --------------===//
//
// TDPBF16PS (Intel SDM volume 2) on tiles of 16 tokens:
//
//   C [16 tokens, 16 rows] f32 += A [16 tokens, 32 inputs] bf16
//                               * B [32 / 2 inputs, 16 rows, 2] bf16
//
// A piece of the rows is rearranged to B tiles in memory once and multiplied
// with all tokens of a strip. There are no blocks and no scales: sums stay f32.
//
//===----------------------------------------------------------------------===//
#include "AMXTiles.h"
#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

namespace {

class AMXBF16Emitter : public AMXTiles {
public:
  /// `args` are those of matmulKernel() in bf16 arithmetic.
  AMXBF16Emitter(KernelBuilder &b, WeightType weight,
                 const KernelTuning &tuning, ValueRange args)
      : AMXTiles(b, weight, args,
                 2 * ActivationLayout::get(weight, Arithmetic::BF16, tuning)
                         .paddedK()),
        input(ActivationLayout::get(weight, Arithmetic::BF16, tuning)),
        x(b.flatten(args[2])) {
    pieceK =
        std::min<int64_t>(input.paddedK(), decodedBytes / (2 * 2 * tileRows));
    decoded = scratch(2 * pieceK * tileRows, b.getBF16Type());
  }

private:
  /// Inputs of a tile.
  static constexpr int64_t tileK = amxTileK / 2;

  void emitProducts(Value firstTile, Value rowTiles) override;
  void decode(Value from, int64_t inputs, Value firstTile, Value rowTiles);
  void multiply(Value from, int64_t inputs, Shape shape, Value tile);

  ActivationLayout input;
  Value x, decoded;
  int64_t pieceK; ///< inputs that are rearranged at a time
};

} // namespace

/// `inputs` inputs from `from` on to `decoded`, [tile of rows][input / 2][row]
/// [2], zeros for those that the weight does not have.
void AMXBF16Emitter::decode(Value from, int64_t inputs, Value firstTile,
                            Value rowTiles) {
  SmallVector<int64_t> interleave;
  for (int64_t row = 0; row < tileRows; ++row)
    interleave.append({row, tileRows + row});
  b.loop(b.index(0), rowTiles, 1, [&](Value index) {
    rowTile(b.add(firstTile, index), [&](DecodeEmitter &e, Value rowBlock) {
      Value chunks = b.add(b.add(rowBlock, layout.rowHeaderBytes),
                           b.mul(from, layout.chunkBytes));
      Value to = b.mul(index, pieceK * tileRows);
      auto pair = [&](Value i) {
        Value chunk = b.add(chunks, b.mul(i, layout.chunkBytes));
        Value both = vector::ShuffleOp::create(
            b, e.loadRows(chunk, b.getBF16Type()),
            e.loadRows(b.add(chunk, layout.chunkBytes), b.getBF16Type()),
            interleave);
        b.storeVector(both, decoded, b.add(to, b.mul(i, tileRows)));
      };
      b.loop(b.index(0), b.index(inputs), 2, pair);
      int64_t padded = (inputs + tileK - 1) / tileK * tileK;
      Value none = arith::ConstantOp::create(
          b, b.getZeroAttr(VectorType::get({2 * tileRows}, b.getBF16Type())));
      for (int64_t i = inputs; i < padded; i += 2)
        b.storeVector(none, decoded, b.add(to, i * tileRows));
    });
  });
}

/// Adds the products of a piece with the tiles of tokens from `tile` of the
/// strip on.
void AMXBF16Emitter::multiply(Value from, int64_t inputs, Shape shape,
                              Value tile) {
  auto aType = amx::TileType::get({amxTokens, tileK}, b.getBF16Type());
  auto bType = amx::TileType::get({tileK / 2, 2 * tileRows}, b.getBF16Type());
  auto cType = amx::TileType::get({amxTokens, tileRows}, b.getF32Type());
  Value first = b.mul(tile, amxTokens), stride = b.index(2 * tileRows);
  auto place = [&](int64_t t, int64_t r) {
    return sumsAt(b.add(first, t * amxTokens), r);
  };
  SmallVector<Value> c;
  for (int64_t t = 0; t < shape.tokenTiles; ++t)
    for (int64_t r = 0; r < shape.rowTiles; ++r)
      c.push_back(amx::TileLoadOp::create(b, cType, sums, place(t, r), stride));
  Value tokens = b.mul(b.mul(b.add(strip, tile), amxTokens), input.paddedK());
  Value piece = b.add(tokens, b.mul(from, amxTokens));
  for (int64_t k = 0; k < inputs; k += tileK) {
    SmallVector<Value> a, w;
    for (int64_t t = 0; t < shape.tokenTiles; ++t)
      a.push_back(amx::TileLoadOp::create(
          b, aType, x,
          b.add(piece, t * input.paddedK() * amxTokens + k * amxTokens),
          b.index(tileK)));
    for (int64_t r = 0; r < shape.rowTiles; ++r)
      w.push_back(amx::TileLoadOp::create(
          b, bType, decoded, ValueRange{b.index((r * pieceK + k) * tileRows)},
          b.index(2 * tileRows)));
    for (int64_t t = 0; t < shape.tokenTiles; ++t)
      for (int64_t r = 0; r < shape.rowTiles; ++r) {
        Value &sum = c[t * shape.rowTiles + r];
        sum = amx::TileMulFOp::create(b, cType, a[t], w[r], sum);
      }
  }
  for (int64_t t = 0; t < shape.tokenTiles; ++t)
    for (int64_t r = 0; r < shape.rowTiles; ++r)
      amx::TileStoreOp::create(b, sums, place(t, r), c[t * shape.rowTiles + r],
                               stride);
}

void AMXBF16Emitter::emitProducts(Value firstTile, Value rowTiles) {
  auto emitPiece = [&](Value from, int64_t inputs) {
    decode(from, inputs, firstTile, rowTiles);
    forShapes(rowTiles, [&](Shape shape, Value tile) {
      multiply(from, inputs, shape, tile);
    });
  };
  int64_t last = layout.k / pieceK * pieceK;
  b.loop(b.index(0), b.index(last), pieceK,
         [&](Value from) { emitPiece(from, pieceK); });
  if (last < layout.k)
    emitPiece(b.index(last), layout.k - last);
}

func::FuncOp cpu::amxBF16MatmulKernel(KernelContext &ctx, WeightType weight,
                                      const KernelTuning &tuning) {
  MLIRContext *context = ctx.module.getContext();
  KernelBuilder types(UnknownLoc::get(context), context, ctx.target);
  func::FuncOp function = getOrCreateKernel(
      ctx.module, "matmul_" + weightName(weight) + "_bf16_amx",
      matmulArguments(types, weight, Arithmetic::BF16, tuning), ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        AMXBF16Emitter(b, weight, tuning, args).emit();
      });
  // As for int8.
  function->setAttr("passthrough", types.getStrArrayAttr({"noinline"}));
  return function;
}
