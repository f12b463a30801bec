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
    Value decoded; ///< first byte in `decoded`
  };
  /// What decodes a K block of one tile of rows.
  struct Decoder {
    DecodeEmitter e;
    SmallVector<Value> rowParams;
    Value block, chunks; ///< first bytes
    Value index, to;     ///< of the tile among those decoded, in `decoded`
  };
  /// Integer sums of a tile of tokens and a K block.
  struct Products {
    Value at;     ///< element of the first in `products`
    Value token;  ///< first token, in the strip
    Value meta;   ///< first element in `scales` and `codeSums`
    Value params; ///< first element in `params`
    SmallVector<Value> values() const { return {at, token, meta, params}; }
  };

  /// How K blocks of two tiles of rows follow each other.
  struct Pipeline {
    int64_t tokenTiles; ///< multiplied at a time; 1: all of the strip
    /// A block is decoded while the one before is multiplied with the first of
    /// them. Worth it where these are most of the strip; other products hide
    /// the decoding by themselves.
    bool decodesAhead;
  };

  int64_t countPlanes();
  void emitProducts(Value firstTile, Value rowTiles) override;
  void emitBlock(Value block, Value firstTile, Value rowTiles);
  Piece wholeBlock(Value count, bool inTurns);
  void emitPipelined(const Pipeline &pipeline, Value firstTile);
  void addTokens(ValueRange before, int64_t from, int64_t to);
  SmallVector<Value> emitTiles(const Pipeline &pipeline, Value block,
                               Value firstTile, ValueRange before);
  void decode(const Piece &piece, Value firstTile, Value rowTiles);
  void decodeTile(const Piece &piece, Decoder tile);
  Decoder decoderOf(const Piece &piece, DecodeEmitter &e, Value rowBlock,
                    Value index);
  void decodeParams(const Piece &piece, Decoder &tile);
  void decodeChunk(Decoder &tile, Value chunk);
  void decodeRest(int64_t inputs, Value to);
  Value weightsAhead(Value firstTile, Value block);
  void prefetchBetween(Value ahead, Value tile, int64_t step, int64_t steps);
  void prefetchLines(Value ahead, int64_t part, int64_t parts);
  Value toSigned(Value codes);
  void multiply(const Piece &piece, Shape shape, Value tile, Value first,
                function_ref<void(int64_t, int64_t)> between = nullptr);
  void accumulate(Value block, Shape shape, Value tile);
  void accumulateToken(const Products &from, int64_t rowTiles, Value m);
  /// The same of all tokens of the tile.
  void accumulateTile(const Products &from, int64_t rowTiles) {
    b.loop(b.index(0), b.index(amxTokens), 1,
           [&](Value m) { accumulateToken(from, rowTiles, m); });
  }
  Products productsOf(Value block, Value tile, Value at);
  /// The half of `products` where nothing waits to be added.
  Value otherHalf(Value used) {
    return b.sub(b.index(2 * amxTokens * 2 * tileRows), used);
  }
  Products nextTile(const Products &tile);

  /// Whether weights are fetched ahead between products, line by line: all at
  /// once they would keep activations from coming.
  bool prefetchesBetween() const {
    return prefetch > 0 && layout.rows == tileRows;
  }
  /// Inputs that do not fill an A tile.
  int64_t rest() const {
    return input.paddedBlockK < amxTileK ? 0 : input.paddedBlockK % amxTileK;
  }
  /// Inputs that a plane of `decoded` has room for: those of a piece and a last
  /// B tile.
  int64_t planeK() const { return pieceK + (rest() ? amxTileK : 0); }
  /// Bytes of one tile of rows in `decoded`.
  int64_t decodedTileBytes() const { return planes * planeK() * tileRows; }
  /// Decoding between products is straight-line code, so it must be short.
  bool canDecodeAhead() const {
    return whole && 2 * 2 * decodedTileBytes() <= decodedBytes &&
           2 * input.paddedBlockK / layout.chunkK <= 64;
  }

  ActivationLayout input; ///< Its blocks are "blocks" here.
  Value codes, scales, codeSums;
  int64_t planes;   ///< of emitCodes()
  int64_t pieceK;   ///< inputs that are decoded at a time
  int64_t prefetch; ///< KiB ahead
  bool whole;       ///< A piece is a K block: its sums stay in registers.
  /// `products` is laid out as `sums`; where they stay in registers it has room
  /// for 2x2 tiles twice.
  Value decoded, products, params;
  /// Parameters of a K block in `params`, which has room for two: the scales,
  /// then the zero points, of each tile of rows.
  static constexpr int64_t paramsSize = 2 * 2 * tileRows;
  /// The zero point of all weights, if it is one integer; 0 where codes are
  /// signed.
  std::optional<int64_t> zero;
  /// What toSigned() subtracts from the codes of each plane.
  std::optional<int64_t> codeOffset;
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

Value AMXEmitter::toSigned(Value codes) {
  if (!codeOffset)
    return codes;
  auto type = cast<VectorType>(codes.getType());
  return b.sub(
      codes,
      arith::ConstantOp::create(
          b, DenseElementsAttr::get(
                 type, b.getI8IntegerAttr(static_cast<int8_t>(*codeOffset)))));
}

/// The piece's codes to `decoded`, [tile of rows][plane][input / 4][row][4],
/// and the parameters of its block to `params`.
void AMXEmitter::decode(const Piece &piece, Value firstTile, Value rowTiles) {
  b.loop(b.index(0), rowTiles, 1, [&](Value index) {
    rowTile(b.add(firstTile, index), [&](DecodeEmitter &e, Value rowBlock) {
      decodeTile(piece, decoderOf(piece, e, rowBlock, index));
    });
  });
}

/// Decodes tile `index` of those.
AMXEmitter::Decoder AMXEmitter::decoderOf(const Piece &piece, DecodeEmitter &e,
                                          Value rowBlock, Value index) {
  // Several blocks of activations may share a K block of the weight.
  int64_t parts = input.numBlocks() / layout.numBlocks();
  Value kBlock = piece.block, first = piece.from;
  if (parts > 1) {
    kBlock = b.div(piece.block, parts);
    first = b.add(first, b.mul(b.rem(piece.block, parts), input.paddedBlockK));
  }
  Value block = b.add(b.add(rowBlock, layout.rowHeaderBytes),
                      b.mul(kBlock, layout.blockBytes()));
  Value chunks = b.add(b.add(block, layout.blockParamBytes),
                       b.mul(b.div(first, layout.chunkK), layout.chunkBytes));
  return {e,     format.emitRowParams(e, offset, rowBlock),
          block, chunks,
          index, b.add(piece.decoded, b.mul(index, decodedTileBytes()))};
}

void AMXEmitter::decodeParams(const Piece &piece, Decoder &tile) {
  DecodeEmitter &e = tile.e;
  SmallVector<Value> blockParams = format.emitBlockParams(e, tile.block);
  Value param = b.add(b.mul(b.rem(piece.block, 2), paramsSize),
                      b.mul(tile.index, 2 * tileRows));
  b.storeVector(format.emitIntegerScale(e, tile.rowParams, blockParams), params,
                param);
  Value zeros = format.emitZero(e, blockParams);
  zero = matchInteger(zeros);
  if (!zero)
    b.storeVector(zeros, params, b.add(param, tileRows));
  codeOffset = std::nullopt;
  int64_t most = (int64_t(1) << format.getIntegerBits()) - 1;
  if (zero && *zero % planes == 0 && *zero / planes <= 128 &&
      most - *zero / planes <= 127) {
    codeOffset = *zero / planes;
    zero = 0;
  }
}

void AMXEmitter::decodeChunk(Decoder &tile, Value chunk) {
  Value from = b.add(tile.chunks, b.mul(chunk, layout.chunkBytes));
  Value row = b.add(tile.to, b.mul(chunk, layout.chunkK * tileRows));
  int64_t perPlane = layout.chunkK / 4;
  for (auto [i, bytes] :
       llvm::enumerate(format.emitCodes(tile.e, from, tile.rowParams))) {
    auto j = static_cast<int64_t>(i);
    b.storeVector(toSigned(bytes), decoded,
                  b.add(row, j / perPlane * planeK() * tileRows +
                                 j % perPlane * 4 * tileRows));
  }
}

void AMXEmitter::decodeTile(const Piece &piece, Decoder tile) {
  decodeParams(piece, tile);
  // Decoding comes in bursts, which the hardware cannot foresee. A full strip
  // has enough products to fetch between them.
  int64_t ahead = prefetch << 10, chunks = piece.inputs / layout.chunkK,
          bytes = chunks * layout.chunkBytes;
  auto burst = [&] { b.prefetch(weights, tile.chunks, ahead, bytes); };
  if (bytes <= ahead && whole && prefetchesBetween())
    b.ifThen(b.less(stripCount, b.index(fullStripTiles)), burst);
  else if (bytes <= ahead)
    burst();
  b.loop(b.index(0), b.index(chunks), 1,
         [&](Value chunk) { decodeChunk(tile, chunk); });
  if (piece.inputs % amxTileK && rest())
    decodeRest(piece.inputs, tile.to);
}

/// Byte of the weights some KiB behind a block of two tiles, in the order in
/// which they are decoded.
Value AMXEmitter::weightsAhead(Value firstTile, Value block) {
  int64_t blocks = layout.numBlocks(), bytes = layout.blockBytes(),
          parts = input.numBlocks() / blocks;
  int64_t ahead = std::min(blocks, ((prefetch << 10) + bytes - 1) / bytes);
  Value next = b.add(b.div(block, parts), ahead);
  // From the end of a pair to the beginning of the next.
  Value skipped = arith::SelectOp::create(
      b, b.less(b.index(blocks - 1), next),
      b.index(2 * layout.rowBlockBytes() - blocks * bytes), b.index(0));
  return b.add(b.add(b.add(offset, layout.headerBytes + layout.rowHeaderBytes),
                     b.mul(firstTile, layout.rowBlockBytes())),
               b.add(b.add(b.mul(next, bytes),
                           b.mul(b.rem(block, parts), bytes / parts)),
                     skipped));
}

/// What is fetched behind product `i` of `steps` of two tiles of tokens: each
/// half of a full strip's products fetches one tile of rows.
void AMXEmitter::prefetchBetween(Value ahead, Value tile, int64_t i,
                                 int64_t steps) {
  int64_t parts = input.numBlocks() / layout.numBlocks();
  int64_t lines = (layout.blockBytes() + 63) / 64,
          products = steps * fullStripTiles / 2 / 2;
  int64_t each = std::max<int64_t>(1, lines / parts / products);
  Value pair = b.rem(b.div(tile, 2), fullStripTiles / 2);
  Value at = b.add(b.add(ahead, b.mul(b.div(pair, fullStripTiles / 4),
                                      layout.rowBlockBytes())),
                   b.mul(b.rem(pair, fullStripTiles / 4), steps * each * 64));
  b.prefetch(weights, at, i * each * 64, each * 64, /*stays=*/true);
}

/// The same with one of `parts` parts of a K block.
void AMXEmitter::prefetchLines(Value ahead, int64_t part, int64_t parts) {
  int64_t bytes = layout.blockBytes() * layout.numBlocks() / input.numBlocks(),
          lines = (bytes + 63) / 64;
  for (int64_t i = part * lines / parts; i < (part + 1) * lines / parts; ++i)
    b.prefetch(weights, ahead, i * 64, 64, /*stays=*/true);
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
  addTokens(last, 0, pipeline.tokenTiles * amxTokens);
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
