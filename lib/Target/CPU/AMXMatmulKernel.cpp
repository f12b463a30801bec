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
// f32 as in TileEmitter::blockInt8(): sums += s sx (C - z sum a). Where z is
// one integer it is subtracted from the codes, B is signed and z is 0.
//
// Scaling the sums of a short K block takes as long as its tile products, in
// other units of the CPU. So while one 2x2 tile is multiplied, the sums of the
// one before are scaled, a few tokens behind each product: out-of-order
// execution does not reach that far by itself (int4 in groups of 128, 128
// tokens, Granite Rapids: see docs/Performance.md).
//
// With few tokens decoding takes longer than the products, and it waits for the
// weights. So the next K block is decoded between the products, too, and its
// weights are fetched a line at a time.
//
// Tiles live in straight-line code only. The functions are their own, since
// LLVM configures the tile registers where a function begins to use them.
//
//===----------------------------------------------------------------------===//
#include "AMXMatmulKernel.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include <numeric>

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

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
      codeSums(b.flatten(args[4])), prefetch(tuning.prefetch) {
  planes = countPlanes();
  // Pieces are whole chunks and, but for the last, whole A tiles.
  int64_t unit = std::lcm(layout.chunkK, amxTileK);
  int64_t most = decodedBytes / (2 * tileRows * planes);
  pieceK = std::min(input.paddedBlockK, std::max(unit, most / unit * unit));
  whole = pieceK == input.paddedBlockK;
  decoded = scratch((canDecodeAhead() ? 2 : 1) * 2 * decodedTileBytes(),
                    b.getI8Type());
  int64_t tokens = whole ? 2 * 2 * amxTokens : stripTiles * amxTokens;
  products = scratch(tokens * 2 * tileRows, b.getI32Type());
  params = scratch(2 * paramsSize, b.getF32Type());
}

/// Products of the tiles of tokens from `tile` of the strip on, to `products`
/// from token `first` on; `between` is called behind each of so many products.
void AMXEmitter::multiply(const Piece &piece, Shape shape, Value tile,
                          Value first,
                          function_ref<void(int64_t, int64_t)> between) {
  Value stride = b.index(2 * tileRows);
  auto place = [&](int64_t t, int64_t r) {
    return at(b.add(first, t * amxTokens), r);
  };
  int64_t done = 0, steps = (piece.inputs + amxTileK - 1) / amxTileK * planes;
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
  auto aType = amx::TileType::get({amxTokens, width}, b.getI8Type());
  auto bType = amx::TileType::get({width / 4, 4 * tileRows}, b.getI8Type());
  SmallVector<Value> a(shape.tokenTiles), w(shape.rowTiles);
  auto isRest = [&](int64_t step) {
    return piece.inputs - step / planes * amxTileK < width;
  };
  auto loadA = [&](int64_t step, int64_t t) {
    int64_t k = step / planes * amxTileK;
    Value from = isRest(step) ? b.add(block, input.paddedBlockK - amxTileK)
                              : b.add(x, contiguous ? k * amxTokens : k);
    a[t] = amx::TileLoadOp::create(b, aType, codes,
                                   b.add(from, t * input.paddedK() * amxTokens),
                                   b.index(input.amxStride()));
  };
  auto loadB = [&](int64_t step, int64_t r) {
    int64_t k = isRest(step) ? pieceK : step / planes * amxTileK;
    w[r] = amx::TileLoadOp::create(
        b, bType, decoded,
        ValueRange{b.add(piece.decoded,
                         r * decodedTileBytes() +
                             (step % planes * planeK() + k) * tileRows)},
        b.index(4 * tileRows));
  };
  for (int64_t t = 0; t < shape.tokenTiles; ++t)
    loadA(0, t);
  for (int64_t r = 0; r < shape.rowTiles; ++r)
    loadB(0, r);
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t t = 0; t < shape.tokenTiles; ++t)
      for (int64_t r = 0; r < shape.rowTiles; ++r) {
        Value &sum = c[t * shape.rowTiles + r];
        sum = amx::TileMulIOp::create(b, cType, a[t], w[r], sum,
                                      /*isZextLhs=*/false,
                                      /*isZextRhs=*/!codeOffset);
        // The next tile, as soon as a register is free: what is between
        // products would fill the window of out-of-order execution.
        if (step + 1 < steps) {
          if (r + 1 == shape.rowTiles && (step + 1) % planes == 0)
            loadA(step + 1, t);
          if (t + 1 == shape.tokenTiles)
            loadB(step + 1, r);
        }
        if (between)
          between(done++, steps * shape.tokenTiles * shape.rowTiles);
      }
  for (int64_t t = 0; t < shape.tokenTiles; ++t)
    for (int64_t r = 0; r < shape.rowTiles; ++r)
      amx::TileStoreOp::create(b, products, place(t, r),
                               c[t * shape.rowTiles + r], stride);
}

AMXEmitter::Products AMXEmitter::productsOf(Value block, Value tile, Value at) {
  Value token = b.mul(tile, amxTokens);
  Value meta =
      b.add(b.mul(b.add(b.mul(strip, amxTokens), token), input.numBlocks()),
            b.mul(block, amxTokens));
  return {at, token, meta, b.mul(b.rem(block, 2), paramsSize)};
}

AMXEmitter::Products AMXEmitter::nextTile(const Products &tile) {
  return {b.add(tile.at, amxTokens * 2 * tileRows),
          b.add(tile.token, amxTokens),
          b.add(tile.meta, amxTokens * input.numBlocks()), tile.params};
}

/// sums += the products of token `m` of a tile, scaled.
void AMXEmitter::accumulateToken(const Products &from, int64_t rowTiles,
                                 Value m) {
  Value meta = b.add(from.meta, m);
  Value sx = b.broadcast(tileRows, b.load(scales, meta));
  Value codeSum;
  if (!zero || *zero != 0)
    codeSum = b.broadcast(tileRows, b.load(codeSums, meta));
  for (int64_t r = 0; r < rowTiles; ++r) {
    Value param = b.add(from.params, 2 * r * tileRows);
    Value ints = b.loadVector(
        tileRows, products,
        b.add(b.add(from.at, b.mul(m, 2 * tileRows)), r * tileRows));
    if (zero && *zero != 0) {
      Value factor = arith::ConstantOp::create(
          b, DenseElementsAttr::get(b.i32s(tileRows),
                                    static_cast<int32_t>(*zero)));
      ints = b.sub(ints, b.mul(codeSum, factor));
    }
    Value value = arith::SIToFPOp::create(b, b.f32s(tileRows), ints);
    if (!zero)
      value = b.fsub(
          value, b.fmul(b.loadVector(tileRows, params, b.add(param, tileRows)),
                        arith::SIToFPOp::create(b, b.f32s(tileRows), codeSum)));
    Value place = sumsAt(b.add(from.token, m), r);
    Value sum = b.loadVector(tileRows, sums, place);
    Value scale = b.loadVector(tileRows, params, param);
    b.storeVector(b.fma(value, b.fmul(scale, sx), sum), sums, place);
  }
}

/// sums += the products of all tokens of the shape, scaled.
void AMXEmitter::accumulate(Value block, Shape shape, Value tile) {
  b.loop(b.index(0), b.index(shape.tokenTiles), 1, [&](Value t) {
    Value own = b.add(tile, t);
    Value first = b.mul(whole ? t : own, amxTokens);
    Products from = productsOf(block, own, at(first, 0));
    accumulateTile(from, shape.rowTiles);
  });
}

AMXEmitter::Piece AMXEmitter::wholeBlock(Value count, bool inTurns) {
  // Behind the last block it is decoded again.
  Value block = b.min(count, b.index(input.numBlocks() - 1));
  Value slot = inTurns ? b.rem(count, 2) : b.index(0);
  return {block, b.index(0), input.paddedBlockK,
          b.mul(slot, 2 * decodedTileBytes())};
}

/// All K blocks of two tiles of rows: while tiles of tokens are multiplied the
/// products of those before them are added to `sums`.
void AMXEmitter::emitPipelined(const Pipeline &pipeline, Value firstTile) {
  Value none = b.index(0);
  clear(params, b.index(2 * paramsSize));
  if (pipeline.decodesAhead)
    decode(wholeBlock(none, /*inTurns=*/true), firstTile, b.index(2));
  // Nothing is before the first ones: their place is behind the strip.
  Products first = productsOf(none, none, none);
  first.token = b.index(stripTiles * amxTokens);
  SmallVector<Value> last =
      b.loop(none, b.index(input.numBlocks()), 1, first.values(),
             [&](Value block, ValueRange before) {
               return emitTiles(pipeline, block, firstTile, before);
             });
  // A tile alone has added its products itself.
  b.ifThen(b.less(b.index(pipeline.tokenTiles - 1), stripCount),
           [&] { addTokens(last, 0, pipeline.tokenTiles * amxTokens); });
}

/// sums += the products of tokens [from, to) of one or two tiles.
void AMXEmitter::addTokens(ValueRange before, int64_t from, int64_t to) {
  Products tile = {before[0], before[1], before[2], before[3]};
  Products next = nextTile(tile);
  for (int64_t m = from; m < to; ++m)
    accumulateToken(m < amxTokens ? tile : next, 2, b.index(m % amxTokens));
}

/// A K block of two tiles of rows; returns the products that wait to be added.
SmallVector<Value> AMXEmitter::emitTiles(const Pipeline &pipeline, Value block,
                                         Value firstTile, ValueRange before) {
  auto [tokenTiles, ahead] = pipeline;
  const Shape shape = {tokenTiles, 2};
  Piece own = wholeBlock(block, ahead),
        next = wholeBlock(b.add(block, 1), /*inTurns=*/true);
  SmallVector<Decoder, 0> decoders;
  if (ahead)
    for (int64_t r = 0; r < shape.rowTiles; ++r)
      rowTile(b.add(firstTile, r), [&](DecodeEmitter &e, Value rowBlock) {
        decoders.push_back(decoderOf(next, e, rowBlock, b.index(r)));
      });
  else
    decode(own, firstTile, b.index(shape.rowTiles));
  Value fetched;
  if (prefetchesBetween())
    fetched = weightsAhead(firstTile, ahead ? next.block : block);
  int64_t chunks = input.paddedBlockK / layout.chunkK;
  auto multiplyTiles = [&](Value tile, ValueRange before,
                           bool decodes) -> SmallVector<Value> {
    Value half = otherHalf(before[0]);
    multiply(own, shape, tile, b.div(half, 2 * tileRows),
             [&](int64_t i, int64_t steps) {
               auto begin = [&](int64_t count) { return i * count / steps; };
               auto end = [&](int64_t count) {
                 return (i + 1) * count / steps;
               };
               int64_t all = shape.rowTiles * chunks,
                       tokens = tokenTiles * amxTokens;
               for (int64_t j = begin(all); decodes && j < end(all); ++j) {
                 int64_t r = j / chunks, c = j % chunks;
                 decodeChunk(decoders[r], b.index(c));
                 if (fetched)
                   prefetchLines(b.add(fetched, r * layout.rowBlockBytes()), c,
                                 chunks);
               }
               if (fetched && decoders.empty())
                 prefetchBetween(fetched, tile, i, steps);
               addTokens(before, begin(tokens), end(tokens));
             });
    return productsOf(block, tile, half).values();
  };
  SmallVector<Value> last(before);
  Value done = b.index(0);
  if (ahead) {
    last = multiplyTiles(done, before, /*decodes=*/true);
    done = b.index(tokenTiles);
    // What waited needed the parameters that lay there.
    for (Decoder &tile : decoders) {
      decodeParams(next, tile);
      if (rest())
        decodeRest(next.inputs, tile.to);
    }
  }
  if (tokenTiles == 1)
    return last;
  Value even = b.mul(b.div(stripCount, 2), 2);
  last = b.loop(done, even, 2, last, [&](Value tile, ValueRange before) {
    return multiplyTiles(tile, before, /*decodes=*/false);
  });
  b.ifThen(b.less(even, stripCount), [&] {
    // A tile alone.
    Value half = otherHalf(last[0]);
    multiply(own, {1, shape.rowTiles}, even, b.div(half, 2 * tileRows));
    accumulateTile(productsOf(block, even, half), shape.rowTiles);
  });
  return last;
}

void AMXEmitter::emitBlock(Value block, Value firstTile, Value rowTiles) {
  if (whole) {
    Piece piece{block, b.index(0), input.paddedBlockK, b.index(0)};
    decode(piece, firstTile, rowTiles);
    forShapes(rowTiles, [&](Shape shape, Value tile) {
      multiply(piece, shape, tile, b.index(0));
      accumulate(block, shape, tile);
    });
    return;
  }
  auto emitPiece = [&](Value from, int64_t inputs) {
    Piece piece{block, from, inputs, b.index(0)};
    decode(piece, firstTile, rowTiles);
    forShapes(rowTiles, [&](Shape shape, Value tile) {
      multiply(piece, shape, tile, b.mul(tile, amxTokens));
    });
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
  auto blocks = [&](Value tiles) {
    b.loop(b.index(0), b.index(input.numBlocks()), 1,
           [&](Value block) { emitBlock(block, firstTile, tiles); });
  };
  if (!whole)
    return blocks(rowTiles);
  b.ifThen(b.less(rowTiles, b.index(2)), [&] { blocks(b.index(1)); });
  b.ifThen(b.less(b.index(1), rowTiles), [&] {
    if (!canDecodeAhead())
      return emitPipelined({2, false}, firstTile);
    Value one = b.less(stripCount, b.index(2)),
          few = b.less(stripCount, b.index(4));
    b.ifThen(one, [&] { emitPipelined({1, true}, firstTile); });
    b.ifThen(arith::XOrIOp::create(b, one, few),
             [&] { emitPipelined({2, true}, firstTile); });
    b.ifThen(b.less(b.index(3), stripCount),
             [&] { emitPipelined({2, false}, firstTile); });
  });
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
