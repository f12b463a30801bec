//===- AttentionBlocks.cpp - Keys and values in shared memory -------------===//
#include "AttentionBlocks.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "qc/Runtime/DeviceABI.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::BlockLoader;
using mlir::qc::gpu::BlockShape;
using mlir::qc::gpu::CacheLayout;
using mlir::qc::gpu::GPUBuilder;

static constexpr int64_t tile = CacheLayout::tile;
/// Words that a thread copies at once.
static constexpr int64_t pieceWords = 4;
/// Positions of a block; of large heads, so that both fit 48 KB.
static constexpr int64_t mostPositions = 2 * tile, largeHeadPositions = tile;
static_assert(QC_CAPACITY_TILE % mostPositions == 0, "all blocks are whole");

// Eight rows of 16 bytes, which ldmatrix reads at a time, lie in different
// banks.
BlockShape::BlockShape(const CacheLayout &cache)
    : words(cache.type.getHeadDim() / 2),
      positions(words > 64 ? largeHeadPositions : mostPositions),
      rowWords(words + pieceWords) {}

Value mlir::qc::gpu::toHalves(GPUBuilder &b, Value low, Value high) {
  Type f32 = b.getF32Type(), f16 = b.getF16Type();
  Value both = vector::FromElementsOp::create(b, VectorType::get({2}, f32),
                                              ValueRange{low, high});
  return arith::TruncFOp::create(b, VectorType::get({2}, f16), both);
}

Value mlir::qc::gpu::asWord(GPUBuilder &b, Value halves) {
  return LLVM::BitcastOp::create(b, b.getI32Type(), halves);
}

Value mlir::qc::gpu::asHalves(GPUBuilder &b, Value word) {
  return LLVM::BitcastOp::create(b, VectorType::get({2}, b.getF16Type()), word);
}

BlockLoader::BlockLoader(GPUBuilder &b, const CacheLayout &cache, Value memory,
                         Value capacity, Value own, Value last)
    : b(b), cache(cache), address{b, cache, capacity}, memory(memory), own(own),
      last(last), shape(cache), tilePieces(cache.words() * tile / pieceWords),
      rowPieces(cache.words() / pieceWords) {
  int64_t words = shape.positions * shape.rowWords;
  keys = b.shared(shape.positions * shape.words, b.getI32Type(), 16);
  // Stored as words, loaded as matrices of f16.
  Value bytes = b.shared(4 * words, b.getI8Type(), 16);
  Attribute space = cast<MemRefType>(bytes.getType()).getMemorySpace();
  auto view = [&](int64_t elements, Type type) -> Value {
    auto memref =
        MemRefType::get({elements}, type, MemRefLayoutAttrInterface(), space);
    return memref::ViewOp::create(b, memref, bytes, b.index(0), ValueRange());
  };
  valueWords = view(words, b.getI32Type());
  values = view(2 * words, b.getF16Type());
}

void BlockLoader::forPieces(function_ref<void(Value, Value)> body) {
  int64_t count = shape.tiles() * tilePieces;
  for (int64_t first = 0; first < count; first += b.threads) {
    Value piece = b.add(b.thread(), first), exists;
    if (first + b.threads > count) {
      exists = b.less(piece, count);
      piece = b.min(piece, b.index(count - 1));
    }
    body(piece, exists);
  }
}

void BlockLoader::ifExists(Value exists, function_ref<void()> body) {
  if (exists)
    b.ifThen(exists, body);
  else
    body();
}

void BlockLoader::copy(Value from, Value target, Value to) {
  nvgpu::DeviceAsyncCopyOp::create(
      b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), target, to, memory,
      from, b.getIndexAttr(pieceWords), Value(), b.getUnitAttr());
}

std::pair<Value, Value> BlockLoader::decode(Value codes, Value scale) {
  SmallVector<Value> elements;
  for (int64_t i = 0; i < 4; ++i) {
    Value code = i == 3 ? codes : b.shl(codes, 24 - 8 * i);
    code = arith::ShRSIOp::create(b, code, b.i32(24));
    code = arith::SIToFPOp::create(b, b.getF32Type(), code);
    elements.push_back(b.fmul(code, scale));
  }
  auto pack = [&](size_t i) -> Value {
    return asWord(b, toHalves(b, elements[i], elements[i + 1]));
  };
  return {pack(0), pack(2)};
}

SmallVector<Value> BlockLoader::beginKeys(Value first) {
  // A block of keys lies together.
  auto source = [&](Value begin, Value piece) {
    return b.add(address.key(own, begin, b.index(0)), b.mul(piece, pieceWords));
  };
  SmallVector<Value> fetched;
  if (cache.isInt8()) {
    // Behind the last block nobody needs what is fetched.
    first = b.min(first, b.mul(b.div(last, shape.positions), shape.positions));
    forPieces([&](Value piece, Value) {
      Value position =
          b.add(b.mul(b.div(piece, tilePieces), tile),
                b.mul(b.rem(piece, tile / pieceWords), pieceWords));
      Value scales = b.add(address.scale(own, first), position);
      fetched.push_back(b.loadWide(memory, source(first, piece), pieceWords));
      fetched.push_back(b.loadWide(memory, scales, pieceWords));
    });
    return fetched;
  }
  b.ifThen(b.less(first, b.add(last, 1)), [&] {
    forPieces([&](Value piece, Value exists) {
      ifExists(exists, [&] {
        copy(source(first, piece), keys, b.mul(piece, pieceWords));
      });
    });
  });
  NVVM::CpAsyncCommitGroupOp::create(b);
  return fetched;
}

void BlockLoader::finishKeys(ValueRange fetched) {
  if (!cache.isInt8()) {
    NVVM::CpAsyncWaitGroupOp::create(b, b.getI32IntegerAttr(0));
    return;
  }
  forPieces([&](Value piece, Value exists) {
    SmallVector<Value> rows[2];
    for (int64_t i = 0; i < pieceWords; ++i) {
      Value scale = b.asF32(b.element(fetched[1], i));
      auto [low, high] = decode(b.element(fetched[0], i), scale);
      rows[0].push_back(low);
      rows[1].push_back(high);
    }
    fetched = fetched.drop_front(2);
    // A row of codes has four dimensions, one of f16 two.
    Value row = b.mul(b.div(piece, tile / pieceWords), 2 * tile);
    Value to = b.add(row, b.mul(b.rem(piece, tile / pieceWords), pieceWords));
    ifExists(exists, [&] {
      b.storeWide(rows[0], keys, to);
      b.storeWide(rows[1], keys, b.add(to, tile));
    });
  });
}

// A position beyond the last one is that again, finite times 0.
Value BlockLoader::valuePosition(Value piece, Value first) {
  return b.min(b.add(first, b.div(piece, rowPieces)), last);
}

Value BlockLoader::targetOfValues(Value piece) {
  Value position = b.div(piece, rowPieces);
  Value row = b.add(b.mul(b.div(position, tile), tile), b.rem(position, 2));
  row = b.add(row, b.mul(b.rem(b.div(position, 2), 4), 8));
  row = b.add(row, b.mul(b.rem(b.div(position, 8), 4), 2));
  int64_t words = pieceWords * (cache.isInt8() ? 2 : 1);
  return b.add(b.mul(row, shape.rowWords),
               b.mul(b.rem(piece, rowPieces), words));
}

SmallVector<Value> BlockLoader::beginValues(Value first) {
  SmallVector<Value> fetched;
  forPieces([&](Value piece, Value exists) {
    Value position = valuePosition(piece, first);
    Value from = address.value(own, position,
                               b.mul(b.rem(piece, rowPieces), pieceWords));
    if (cache.isInt8()) {
      Value scale = address.scale(b.add(own, cache.type.getHeads()), position);
      fetched.push_back(b.loadWide(memory, from, pieceWords));
      fetched.push_back(b.asF32(b.load(memory, scale)));
    } else {
      ifExists(exists, [&] { copy(from, valueWords, targetOfValues(piece)); });
    }
  });
  if (!cache.isInt8())
    NVVM::CpAsyncCommitGroupOp::create(b);
  return fetched;
}

void BlockLoader::finishValues(ValueRange fetched) {
  if (!cache.isInt8()) {
    NVVM::CpAsyncWaitGroupOp::create(b, b.getI32IntegerAttr(0));
    return;
  }
  forPieces([&](Value piece, Value exists) {
    SmallVector<Value> words;
    for (int64_t i = 0; i < pieceWords; ++i) {
      auto [low, high] = decode(b.element(fetched[0], i), fetched[1]);
      words.append({low, high});
    }
    fetched = fetched.drop_front(2);
    Value to = targetOfValues(piece);
    ifExists(exists, [&] {
      for (size_t half = 0; half < 2; ++half)
        b.storeWide(ArrayRef(words).slice(half * pieceWords, pieceWords),
                    valueWords, b.add(to, half * pieceWords));
    });
  });
}
