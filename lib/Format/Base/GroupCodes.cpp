//===- GroupCodes.cpp - Small codes with parameters for each group --------===//
#include "GroupCodes.h"

#include "qc/Format/Codes.h"

#include <algorithm>
#include <cstring>

using namespace qc;

TensorSpec GroupCodes::codesSpec(int64_t n, int64_t k) const {
  return {"codes", DType::U8, {n, rowBytes(k)}};
}

PackedLayout GroupCodes::layout(int64_t n, int64_t k, int64_t rows,
                                int64_t paramBytes) const {
  PackedLayout layout;
  layout.n = n;
  layout.k = k;
  layout.rows = rows;
  bool cut = group == 0 || (group > 256 && group % 128 == 0);
  layout.blockK = std::min(cut ? 128 : group, k);
  layout.chunkK = codeChunkK(bits);
  layout.chunkBytes = rows * layout.chunkK * bits / 8;
  layout.paddedBlockK =
      (layout.blockK + layout.chunkK - 1) / layout.chunkK * layout.chunkK;
  layout.blockParamBytes = (rows * paramBytes + 3) / 4 * 4;
  return layout;
}

void GroupCodes::packRowBlock(const TensorView &codes,
                              const PackedLayout &layout, int64_t block,
                              const WriteParams &writeParams,
                              uint8_t *out) const {
  int64_t firstRow = block * layout.rows;
  int64_t count = std::min(layout.rows, layout.n - firstRow);
  int64_t chunkCodes = layout.rows * layout.chunkK;
  std::vector<uint8_t> row(static_cast<size_t>(layout.paddedBlockK));
  // [chunk][row][chunkK]
  std::vector<uint8_t> chunks(
      static_cast<size_t>(layout.chunksPerBlock() * chunkCodes));

  for (int64_t b = 0; b < layout.numBlocks(); ++b) {
    int64_t begin = b * layout.blockK;
    int64_t end = std::min(begin + layout.blockK, layout.k);
    writeParams(firstRow, count, groupOf(begin), out);
    out += layout.blockParamBytes;

    std::fill(row.begin() + (end - begin), row.end(), 0);
    for (int64_t r = 0; r < count; ++r) {
      unpackBits(codes.data + (firstRow + r) * rowBytes(layout.k), begin, end,
                 bits, row.data());
      for (int64_t c = 0; c < layout.chunksPerBlock(); ++c)
        std::memcpy(chunks.data() + c * chunkCodes + r * layout.chunkK,
                    row.data() + c * layout.chunkK,
                    static_cast<size_t>(layout.chunkK));
    }
    for (int64_t c = 0; c < layout.chunksPerBlock(); ++c) {
      packCodes(chunks.data() + c * chunkCodes, bits, layout.rows,
                layout.chunkK, out);
      out += layout.chunkBytes;
    }
  }
}
