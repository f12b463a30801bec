//===- AMXMatmulKernel.cpp - Many tokens in tile registers ----------------===//
//
// The int8 product of tiles of 16 tokens (Intel SDM volume 1, chapter 18). What
// emitCodes() yields for 16 rows, 4 inputs each, is one row of a B tile:
//
//   C [16 tokens, 16 rows] i32 += A [16 tokens, 64 inputs] i8
//                               * B [64 / 4 inputs, 16 rows, 4] u8
//
// A piece of a K block is decoded to B tiles in memory once and multiplied with
// all tokens of a strip, by 2x2 tiles of C. After each K block its sums become
// f32 as in TileEmitter::blockInt8(): sums += s sx (C - z sum a).
//
// Tiles live in straight-line code only. The functions are their own, since
// LLVM configures the tile registers where a function begins to use them.
//
//===----------------------------------------------------------------------===//
#include "AMXTiles.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include <numeric>

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

namespace {

class AMXEmitter : public AMXTiles {
public:
  /// `args` are those of matmulKernel() in int8 arithmetic.
  AMXEmitter(KernelBuilder &b, WeightType weight, const KernelTuning &tuning,
             ValueRange args);

private:
  struct Piece {
    Value block, from; ///< index of the block, first input in it
    int64_t inputs;
  };

  int64_t countPlanes();
  void emitProducts(Value firstTile, Value rowTiles) override;
  void emitBlock(Value block, Value firstTile, Value rowTiles);
  void decode(const Piece &piece, Value firstTile, Value rowTiles);
  void decodeRest(int64_t inputs, Value to);
  void multiply(const Piece &piece, Shape shape, Value tile);
  void accumulate(Value block, Shape shape, Value tile);

  /// Inputs that do not fill an A tile.
  int64_t rest() const {
    return input.paddedBlockK < amxTileK ? 0 : input.paddedBlockK % amxTileK;
  }
  /// Inputs that a plane of `decoded` has room for: those of a piece and a last
  /// B tile.
  int64_t planeK() const { return pieceK + (rest() ? amxTileK : 0); }
  /// Bytes of one tile of rows in `decoded`.
  int64_t decodedTileBytes() const { return planes * planeK() * tileRows; }

  ActivationLayout input; ///< Its blocks are "blocks" here.
  Value codes, scales, codeSums;
  int64_t planes; ///< of emitCodes()
  int64_t pieceK; ///< inputs that are decoded at a time
  bool whole;     ///< A piece is a K block: its sums stay in registers.
  /// `products` is laid out as `sums`.
  Value decoded, products, params;
  /// The zero point of all weights, if it is one integer.
  std::optional<int64_t> zero;
};

} // namespace

/// Sums that emitCodes() leaves to be added up, from code that is thrown away.
int64_t AMXEmitter::countPlanes() {
  OpBuilder::InsertionGuard guard(b);
  Region region;
  b.setInsertionPointToStart(&region.emplaceBlock());
  DecodeEmitter e = emitter(b.index(0));
  SmallVector<Value> params = format.emitRowParams(e, offset, offset);
  auto registers =
      static_cast<int64_t>(format.emitCodes(e, offset, params).size());
  return registers * 4 / layout.chunkK;
}

AMXEmitter::AMXEmitter(KernelBuilder &b, WeightType weight,
                       const KernelTuning &tuning, ValueRange args)
    : AMXTiles(
          b, weight, args,
          ActivationLayout::get(weight, Arithmetic::Int8, tuning).paddedK()),
      input(ActivationLayout::get(weight, Arithmetic::Int8, tuning)),
      codes(b.flatten(args[2])), scales(b.flatten(args[3])),
      codeSums(b.flatten(args[4])) {
  planes = countPlanes();
  // Pieces are whole chunks and, but for the last, whole A tiles.
  int64_t unit = std::lcm(layout.chunkK, amxTileK);
  int64_t most = decodedBytes / (2 * tileRows * planes);
  pieceK = std::min(input.paddedBlockK, std::max(unit, most / unit * unit));
  whole = pieceK == input.paddedBlockK;
  decoded = scratch(2 * decodedTileBytes(), b.getI8Type());
  int64_t tokens = whole ? 2 * amxTokens : stripTiles * amxTokens;
  products = scratch(tokens * 2 * tileRows, b.getI32Type());
  // The K block's scales, then its zero points, of each tile of rows.
  params = scratch(2 * 2 * tileRows, b.getF32Type());
}

/// The piece's codes to `decoded`, [tile of rows][plane][input / 4][row][4],
/// and the parameters of its block to `params`.
void AMXEmitter::decode(const Piece &piece, Value firstTile, Value rowTiles) {
  forRowTiles(
      firstTile, rowTiles,
      [&](DecodeEmitter &e, Value index, Value rowBlock, Value) {
        SmallVector<Value> rowParams =
            format.emitRowParams(e, offset, rowBlock);
        // Several blocks of activations may share a K block of the weight.
        int64_t parts = input.numBlocks() / layout.numBlocks();
        Value kBlock = piece.block, first = piece.from;
        if (parts > 1) {
          kBlock = b.div(piece.block, parts);
          first = b.add(first,
                        b.mul(b.rem(piece.block, parts), input.paddedBlockK));
        }
        Value block = b.add(b.add(rowBlock, layout.rowHeaderBytes),
                            b.mul(kBlock, layout.blockBytes()));
        SmallVector<Value> blockParams = format.emitBlockParams(e, block);
        Value param = b.mul(index, 2 * tileRows);
        b.storeVector(format.emitIntegerScale(e, rowParams, blockParams),
                      params, param);
        Value zeros = format.emitZero(e, blockParams);
        zero = matchInteger(zeros);
        if (!zero)
          b.storeVector(zeros, params, b.add(param, tileRows));
        Value chunks =
            b.add(b.add(block, layout.blockParamBytes),
                  b.mul(b.div(first, layout.chunkK), layout.chunkBytes));
        Value to = b.mul(index, decodedTileBytes());
        int64_t perPlane = layout.chunkK / 4;
        b.loop(b.index(0), b.index(piece.inputs / layout.chunkK), 1,
               [&](Value c) {
                 Value chunk = b.add(chunks, b.mul(c, layout.chunkBytes));
                 Value row = b.add(to, b.mul(c, layout.chunkK * tileRows));
                 for (auto [i, bytes] :
                      llvm::enumerate(format.emitCodes(e, chunk, rowParams))) {
                   auto j = static_cast<int64_t>(i);
                   b.storeVector(bytes, decoded,
                                 b.add(row, j / perPlane * planeK() * tileRows +
                                                j % perPlane * 4 * tileRows));
                 }
               });
        if (piece.inputs % amxTileK && rest())
          decodeRest(piece.inputs, to);
      });
}

/// The last B tile of a block: zeros for the inputs that the A tile before
/// covers too, so that all tiles have one shape. (LLVM gives each tile register
/// one for the whole function.)
void AMXEmitter::decodeRest(int64_t inputs, Value to) {
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(b.i8s(4 * tileRows)));
  for (int64_t plane = 0; plane < planes; ++plane) {
    Value first = b.add(to, plane * planeK() * tileRows);
    for (int64_t k = 0; k < amxTileK; k += 4) {
      int64_t from = inputs - amxTileK + k;
      Value row = none;
      if (from >= inputs - rest())
        row =
            b.loadVector(4 * tileRows, decoded, b.add(first, from * tileRows));
      b.storeVector(row, decoded, b.add(first, (pieceK + k) * tileRows));
    }
  }
}

/// Products of the tiles of tokens from `tile` of the strip on.
void AMXEmitter::multiply(const Piece &piece, Shape shape, Value tile) {
  Value first = whole ? b.index(0) : b.mul(tile, amxTokens);
  Value stride = b.index(2 * tileRows);
  auto place = [&](int64_t t, int64_t r) {
    return at(b.add(first, t * amxTokens), r);
  };
  auto cType = amx::TileType::get({amxTokens, tileRows}, b.getI32Type());
  SmallVector<Value> c;
  for (int64_t t = 0; t < shape.tokenTiles; ++t)
    for (int64_t r = 0; r < shape.rowTiles; ++r)
      c.push_back(whole ? amx::TileZeroOp::create(b, cType).getResult()
                        : amx::TileLoadOp::create(b, cType, products,
                                                  place(t, r), stride)
                              .getResult());
  Value row = b.mul(b.mul(b.add(strip, tile), amxTokens), input.paddedK());
  Value block = b.add(row, b.mul(piece.block, input.paddedBlockK * amxTokens));
  // With one tile from token to token, a tile's inputs are tiles apart.
  bool contiguous = input.amxStride() == amxTileK;
  Value x =
      b.add(block, contiguous ? b.mul(piece.from, amxTokens) : piece.from);
  int64_t width = std::min(amxTileK, input.paddedBlockK);
  for (int64_t k = 0; k < piece.inputs; k += amxTileK) {
    bool isRest = piece.inputs - k < width;
    Value from = b.add(x, contiguous ? k * amxTokens : k);
    if (isRest)
      from = b.add(block, input.paddedBlockK - amxTileK);
    auto aType = amx::TileType::get({amxTokens, width}, b.getI8Type());
    auto bType = amx::TileType::get({width / 4, 4 * tileRows}, b.getI8Type());
    SmallVector<Value> a;
    for (int64_t t = 0; t < shape.tokenTiles; ++t)
      a.push_back(amx::TileLoadOp::create(
          b, aType, codes, b.add(from, t * input.paddedK() * amxTokens),
          b.index(input.amxStride())));
    for (int64_t plane = 0; plane < planes; ++plane) {
      SmallVector<Value> w;
      for (int64_t r = 0; r < shape.rowTiles; ++r)
        w.push_back(amx::TileLoadOp::create(
            b, bType, decoded,
            ValueRange{
                b.index(r * decodedTileBytes() +
                        (plane * planeK() + (isRest ? pieceK : k)) * tileRows)},
            b.index(4 * tileRows)));
      for (int64_t t = 0; t < shape.tokenTiles; ++t)
        for (int64_t r = 0; r < shape.rowTiles; ++r) {
          Value &sum = c[t * shape.rowTiles + r];
          sum = amx::TileMulIOp::create(b, cType, a[t], w[r], sum,
                                        /*isZextLhs=*/false,
                                        /*isZextRhs=*/true);
        }
    }
  }
  for (int64_t t = 0; t < shape.tokenTiles; ++t)
    for (int64_t r = 0; r < shape.rowTiles; ++r)
      amx::TileStoreOp::create(b, products, place(t, r),
                               c[t * shape.rowTiles + r], stride);
}

/// sums += the K block's products, scaled.
void AMXEmitter::accumulate(Value block, Shape shape, Value tile) {
  SmallVector<Value> scale, zeros;
  for (int64_t r = 0; r < shape.rowTiles; ++r) {
    scale.push_back(b.loadVector(tileRows, params, b.index(2 * r * tileRows)));
    zeros.push_back(
        zero ? Value()
             : b.loadVector(tileRows, params, b.index((2 * r + 1) * tileRows)));
  }
  b.loop(b.index(0), b.index(shape.tokenTiles), 1, [&](Value t) {
    Value token = b.mul(b.add(tile, t), amxTokens);
    Value from = whole ? b.mul(t, amxTokens) : token;
    Value meta =
        b.add(b.mul(b.add(b.mul(strip, amxTokens), token), input.numBlocks()),
              b.mul(block, amxTokens));
    b.loop(b.index(0), b.index(amxTokens), 1, [&](Value m) {
      Value sx = b.broadcast(tileRows, b.load(scales, b.add(meta, m)));
      Value codeSum;
      if (!zero || *zero != 0)
        codeSum = b.broadcast(tileRows, b.load(codeSums, b.add(meta, m)));
      for (int64_t r = 0; r < shape.rowTiles; ++r) {
        Value ints = b.loadVector(tileRows, products, at(b.add(from, m), r));
        if (zero && *zero != 0) {
          Value factor = arith::ConstantOp::create(
              b, DenseElementsAttr::get(b.i32s(tileRows),
                                        static_cast<int32_t>(*zero)));
          ints = b.sub(ints, b.mul(codeSum, factor));
        }
        Value value = arith::SIToFPOp::create(b, b.f32s(tileRows), ints);
        if (!zero)
          value = b.fsub(value,
                         b.fmul(zeros[r], arith::SIToFPOp::create(
                                              b, b.f32s(tileRows), codeSum)));
        Value place = at(b.add(token, m), r);
        Value sum = b.loadVector(tileRows, sums, place);
        b.storeVector(b.fma(value, b.fmul(scale[r], sx), sum), sums, place);
      }
    });
  });
}

void AMXEmitter::emitBlock(Value block, Value firstTile, Value rowTiles) {
  if (whole) {
    Piece piece{block, b.index(0), input.paddedBlockK};
    decode(piece, firstTile, rowTiles);
    forShapes(rowTiles, [&](Shape shape, Value tile) {
      multiply(piece, shape, tile);
      accumulate(block, shape, tile);
    });
    return;
  }
  auto emitPiece = [&](Value from, int64_t inputs) {
    Piece piece{block, from, inputs};
    decode(piece, firstTile, rowTiles);
    forShapes(rowTiles,
              [&](Shape shape, Value tile) { multiply(piece, shape, tile); });
  };
  clear(products, b.mul(stripCount, amxTokens * 2 * tileRows));
  int64_t last = input.paddedBlockK / pieceK * pieceK;
  b.loop(b.index(0), b.index(last), pieceK,
         [&](Value from) { emitPiece(from, pieceK); });
  if (last < input.paddedBlockK)
    emitPiece(b.index(last), input.paddedBlockK - last);
  forShapes(rowTiles,
            [&](Shape shape, Value tile) { accumulate(block, shape, tile); });
}

void AMXEmitter::emitProducts(Value firstTile, Value rowTiles) {
  b.loop(b.index(0), b.index(input.numBlocks()), 1,
         [&](Value block) { emitBlock(block, firstTile, rowTiles); });
}

func::FuncOp cpu::amxMatmulKernel(KernelContext &ctx, WeightType weight,
                                  const KernelTuning &tuning) {
  MLIRContext *context = ctx.module.getContext();
  KernelBuilder types(UnknownLoc::get(context), context, ctx.target);
  func::FuncOp function = getOrCreateKernel(
      ctx.module, "matmul_" + weightName(weight) + "_int8_amx",
      matmulArguments(types, weight, Arithmetic::Int8, tuning), ctx.target,
      [&](KernelBuilder &b, ValueRange args) {
        AMXEmitter(b, weight, tuning, args).emit();
      });
  // Inlined, it would configure tiles for single tokens too.
  function->setAttr("passthrough", types.getStrArrayAttr({"noinline"}));
  return function;
}
