//===- AMXDecode.cpp - K blocks as B tiles --------------------------------===//
//
// Codes of 16 rows to B tiles in memory, and the weights that are fetched
// meanwhile.
//
//===----------------------------------------------------------------------===//
#include "AMXMatmulKernel.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

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
