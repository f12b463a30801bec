//===- MatmulKernels.cpp - Activations times packed weights ---------------===//
//
// A workgroup computes one row block: thread `lane` of 32 owns an output row,
// so that neighbouring threads read neighbouring words of the packed weight.
// The warps of a workgroup, four or more, split K: by blocks where there are
// enough of them, by the chunks of each block otherwise; the partial sums meet
// in shared memory and are added in a fixed order.
//
// With wide loads a thread owns four neighbouring rows, whose words are one
// load of 128 bits, and an activation that it loads serves all four. The four
// parts of 32 threads split K, too. They exchange their sums by shuffles where
// warps are known to have 32 threads; elsewhere all sums go to shared memory,
// which has room for those of one token.
//
// int8 arithmetic: with codes c, zero point z, scale s of a K block and
// activations x ~ sx * a, a in [-127, 127], in each block of the activations
//   sum w x = s sx (sum c a - z sum a),
// the first sum exact in i32. A zero point that is the same integer everywhere
// starts the sum.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::emitDot;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::isWide;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::MatmulArguments;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::prefetchBytes;
using mlir::qc::gpu::rowsPerGroup;

namespace {

/// Emits the products of a thread's row with a tile of tokens.
class TileEmitter {
public:
  /// `activations`: x, or codes, scales and sums.
  TileEmitter(GPUBuilder &b, const KernelContext &ctx, WeightType weight,
              Arithmetic arithmetic, Value blob, ValueRange activations,
              Value firstToken, int64_t tokens);

  /// Partial sums of each token, f32, of rows ownRow() and following of part
  /// ownSplit() of K: element token * rowsLeft() + row.
  SmallVector<Value> emit(Value rowBlock);
  int64_t rowsLeft() const { return exchanges() ? 1 : rows; }
  Value ownRow();
  Value ownSplit();
  /// Partial sums that a row has.
  int64_t numSplits() const { return b.threads / (rowsPerGroup / rowsLeft()); }

private:
  SmallVector<Value> blockF32(Value at, Value index, ValueRange rowParams,
                              ValueRange sums);
  SmallVector<Value> chunkF32(Value at, Value index, Value inBlock,
                              ValueRange rowParams, ValueRange params,
                              ValueRange sums);
  /// Of block `index` of the activations, in the K block of the weight at `at`.
  SmallVector<Value> blockInt8(Value at, Value index, ValueRange rowParams,
                               ValueRange sums);
  SmallVector<Value> chunkInt8(Value at, Value index, Value inBlock,
                               ValueRange rowParams, ValueRange sums);
  /// init + the sums of the thread's chunks of `count`; body(chunk, feature of
  /// the block, sums).
  SmallVector<Value>
  forChunks(ValueRange init, Value chunks, int64_t count,
            function_ref<SmallVector<Value>(Value, Value, ValueRange)> body);
  bool exchanges() const { return rows > 1 && ctx.hasWarps(); }
  /// x[token][feature j of the block + inBlock], 0 beyond the end.
  Value activation(int64_t token, Value index, Value inBlock, int64_t j);
  /// Blocks that a thread goes through: of the activations, for int8.
  int64_t numBlocks() const {
    return arithmetic == Arithmetic::Int8 ? input.blocks : layout.numBlocks();
  }
  /// Chunks of each.
  int64_t numChunks() const {
    return arithmetic == Arithmetic::Int8 ? input.paddedBlockK / layout.chunkK
                                          : layout.chunksPerBlock();
  }

  GPUBuilder &b;
  const KernelContext &ctx;
  ::qc::PackedLayout layout;
  DecodeEmitter e;
  FormatAttrInterface format;
  mlir::qc::ActivationBlocks input;
  Arithmetic arithmetic;
  ValueRange activations;
  Value firstToken;
  const int64_t tokens, rows; ///< of a thread; sums[token * rows + row]
  /// Ways to split the blocks and the chunks of each, and the thread's part.
  int64_t blockWays, chunkWays;
  Value blockPart, chunkPart;
};

} // namespace

bool mlir::qc::gpu::isWide(const ::qc::PackedLayout &layout) {
  return layout.rows == rowsPerGroup && layout.rowHeaderBytes % 16 == 0 &&
         layout.blockParamBytes % 16 == 0 && layout.chunkBytes % 16 == 0;
}

/// Rows of a thread.
static int64_t threadRows(const KernelContext &ctx,
                          const ::qc::PackedLayout &layout, int64_t tokens) {
  bool hasRoom = tokens == 1 || ctx.hasWarps();
  return ctx.wideLoads && isWide(layout) && hasRoom ? 4 : 1;
}

TileEmitter::TileEmitter(GPUBuilder &b, const KernelContext &ctx,
                         WeightType weight, Arithmetic arithmetic, Value blob,
                         ValueRange activations, Value firstToken,
                         int64_t tokens)
    : b(b), ctx(ctx), layout(weight.getLayout()),
      e{b, b.getLoc(), blob, 1, layout.rows, Value(), ctx.target},
      format(weight.getFormat()), input(ActivationBlocks::get(weight)),
      arithmetic(arithmetic), activations(activations), firstToken(firstToken),
      tokens(tokens), rows(threadRows(ctx, layout, tokens)) {
  int64_t lanes = rowsPerGroup / rows; // that hold the row block
  int64_t splits = b.threads / lanes;
  e.rows = rows;
  e.firstRow = b.mul(b.rem(b.thread(), lanes), rows);
  chunkWays = numBlocks() >= splits ? 1 : splits;
  if (rows > 1) {
    // The longest part, in chunks; parameters of a block take about one.
    auto longest = [&](int64_t ways) {
      return llvm::divideCeil(numBlocks(), splits / ways) *
             (llvm::divideCeil(numChunks(), ways) + 1);
    };
    for (int64_t ways = splits / 2; ways > 0; ways /= 2)
      if (longest(ways) <= longest(chunkWays))
        chunkWays = ways;
  }
  blockWays = splits / chunkWays;
  Value split = b.div(b.thread(), lanes);
  chunkPart = blockWays == 1 ? split : b.rem(split, chunkWays);
  blockPart = blockWays == 1 ? b.index(0) : b.div(split, chunkWays);
}

SmallVector<Value> TileEmitter::forChunks(
    ValueRange init, Value chunks, int64_t count,
    function_ref<SmallVector<Value>(Value, Value, ValueRange)> body) {
  // Some features in a loop body, to have several loads under way.
  // Entries of f32 tables take too many registers for more than one chunk.
  bool hasFew = arithmetic == Arithmetic::Int8 || layout.headerBytes == 0;
  int64_t features = rows > 1 && tokens == 1 && hasFew ? 32 : 8;
  int64_t unroll = 1;
  while (unroll * 2 * layout.chunkK <= features &&
         count % (unroll * 2 * chunkWays) == 0)
    unroll *= 2;
  Value begin = b.mul(chunkPart, unroll);
  return b.loop(begin, b.index(count), unroll * chunkWays, init,
                [&](Value c, ValueRange carried) {
                  SmallVector<Value> next(carried);
                  for (int64_t u = 0; u < unroll; ++u) {
                    Value own = b.add(c, u);
                    next = body(b.add(chunks, b.mul(own, layout.chunkBytes)),
                                b.mul(own, layout.chunkK), next);
                  }
                  return next;
                });
}

//===----------------------------------------------------------------------===//
// f32
//===----------------------------------------------------------------------===//

Value TileEmitter::activation(int64_t token, Value index, Value inBlock,
                              int64_t j) {
  Value x = activations[0];
  Value k = b.add(b.add(b.mul(index, layout.blockK), inBlock), j);
  Value row = b.mul(b.add(firstToken, token), layout.k);
  if (layout.paddedK() == layout.k)
    return b.load(x, b.add(row, k));
  Value valid = b.less(k, layout.k);
  if (layout.paddedBlockK != layout.blockK)
    valid = b.land(valid, b.less(b.add(inBlock, j), layout.blockK));
  Value value = b.load(x, b.add(row, b.select(valid, k, b.index(0))));
  return b.select(valid, value, b.f32(0.0));
}

SmallVector<Value> TileEmitter::chunkF32(Value at, Value index, Value inBlock,
                                         ValueRange rowParams,
                                         ValueRange params, ValueRange sums) {
  SmallVector<Value> next(sums);
  for (auto [j, weight] :
       llvm::enumerate(format.emitChunk(e, at, rowParams, params))) {
    for (int64_t m = 0; m < tokens; ++m) {
      Value x = activation(m, index, inBlock, static_cast<int64_t>(j));
      for (int64_t row = 0; row < rows; ++row) {
        Value &sum = next[m * rows + row];
        sum = b.fma(b.element(weight, row), x, sum);
      }
    }
  }
  return next;
}

SmallVector<Value> TileEmitter::blockF32(Value at, Value index,
                                         ValueRange rowParams,
                                         ValueRange sums) {
  SmallVector<Value> params = format.emitBlockParams(e, at);
  Value scale = format.emitBlockScale(e, params);
  SmallVector<Value> init(sums);
  if (scale)
    init.assign(sums.size(), b.f32(0.0));
  SmallVector<Value> part = forChunks(
      init, b.add(at, layout.blockParamBytes), layout.chunksPerBlock(),
      [&](Value chunk, Value inBlock, ValueRange carried) {
        return chunkF32(chunk, index, inBlock, rowParams, params, carried);
      });
  if (scale)
    for (auto [i, value] : llvm::enumerate(part))
      value = b.fma(value, b.element(scale, static_cast<int64_t>(i) % rows),
                    sums[i]);
  return part;
}

//===----------------------------------------------------------------------===//
// int8
//===----------------------------------------------------------------------===//

Value mlir::qc::gpu::emitDot(GPUBuilder &b, const KernelContext &ctx, Value acc,
                             Value codes, Value activations) {
  if (ctx.integerDot == mlir::qc::gpu::IntegerDot::SPIRV) {
    // The unsigned operand is the second one.
    Value sum = mlir::spirv::SUDotOp::create(
        b, b.getI32Type(), activations, codes,
        mlir::spirv::PackedVectorFormatAttr::get(
            b.getContext(),
            mlir::spirv::PackedVectorFormat::PackedVectorFormat4x8Bit));
    return b.add(acc, sum);
  }
  if (ctx.integerDot == mlir::qc::gpu::IntegerDot::NVVM) {
    auto bytes = VectorType::get({4}, b.getI8Type());
    auto cast = [&](Value word) -> Value {
      return LLVM::BitcastOp::create(b, bytes, word);
    };
    return NVVM::DotAccumulate4WayOp::create(
        b, b.getI32Type(), cast(codes), NVVM::DotAccumulateType::UNSIGNED,
        cast(activations), NVVM::DotAccumulateType::SIGNED, acc);
  }
  for (int64_t q = 0; q < 4; ++q) {
    Value code = q == 3 ? b.shr(codes, 24)
                        : b.land(q ? b.shr(codes, 8 * q) : codes, b.i32(255));
    Value value = q == 3 ? activations : b.shl(activations, 24 - 8 * q);
    value = arith::ShRSIOp::create(b, value, b.i32(24));
    acc = b.add(acc, b.mul(code, value));
  }
  return acc;
}

SmallVector<Value> TileEmitter::chunkInt8(Value at, Value index, Value inBlock,
                                          ValueRange rowParams,
                                          ValueRange sums) {
  int64_t perPlane = layout.chunkK / 4;
  Value first = b.add(b.mul(index, input.paddedBlockK / 4),
                      arith::ShRUIOp::create(b, inBlock, b.index(2)));
  SmallVector<Value> next(sums);
  for (auto [j, codes] : llvm::enumerate(format.emitCodes(e, at, rowParams))) {
    Value word = b.add(first, static_cast<int64_t>(j) % perPlane);
    for (int64_t m = 0; m < tokens; ++m) {
      Value token =
          b.mul(b.add(firstToken, m), input.blocks * input.paddedBlockK / 4);
      Value x = b.load(activations[0], b.add(token, word));
      for (int64_t row = 0; row < rows; ++row) {
        Value &sum = next[m * rows + row];
        sum = emitDot(b, ctx, sum, b.element(codes, row), x);
      }
    }
  }
  return next;
}

std::optional<int64_t> mlir::qc::gpu::matchInteger(Value vector) {
  DenseFPElementsAttr elements;
  if (!matchPattern(vector, m_Constant(&elements)) || !elements.isSplat())
    return std::nullopt;
  double value = elements.getSplatValue<APFloat>().convertToDouble();
  auto integer = static_cast<int64_t>(value);
  if (static_cast<double>(integer) != value)
    return std::nullopt;
  return integer;
}

SmallVector<Value> TileEmitter::blockInt8(Value at, Value index,
                                          ValueRange rowParams,
                                          ValueRange sums) {
  SmallVector<Value> params = format.emitBlockParams(e, at);
  Value scale = format.emitIntegerScale(e, rowParams, params);
  Value zero = format.emitZero(e, params);
  std::optional<int64_t> integer = mlir::qc::gpu::matchInteger(zero);
  SmallVector<Value> init, codeSums, at2;
  for (int64_t m = 0; m < tokens; ++m) {
    Value token = b.mul(b.add(firstToken, m), input.blocks);
    at2.push_back(b.add(token, index));
    Value sum = b.load(activations[2], at2.back());
    // Threads that share a block subtract the zero point once.
    if (chunkWays > 1)
      sum = b.select(b.compare(arith::CmpIPredicate::eq, chunkPart, b.index(0)),
                     sum, b.i32(0));
    codeSums.push_back(sum);
    init.append(rows, integer ? b.mul(sum, b.i32(-*integer)) : b.i32(0));
  }
  int64_t count = numChunks();
  Value chunks = b.add(at, layout.blockParamBytes);
  if (int64_t perBlock = layout.chunksPerBlock() / count; perBlock > 1)
    chunks =
        b.add(chunks, b.mul(b.rem(index, perBlock), count * layout.chunkBytes));
  SmallVector<Value> part = forChunks(
      init, chunks, count, [&](Value chunk, Value inBlock, ValueRange carried) {
        return chunkInt8(chunk, index, inBlock, rowParams, carried);
      });
  auto toF32 = [&](Value v) -> Value {
    return arith::SIToFPOp::create(b, b.getF32Type(), v);
  };
  for (int64_t m = 0; m < tokens; ++m) {
    Value sx = b.load(activations[1], at2[m]);
    for (int64_t row = 0; row < rows; ++row) {
      Value &sum = part[m * rows + row];
      Value ints = toF32(sum);
      if (!integer)
        ints = b.fsub(ints, b.fmul(b.element(zero, row), toF32(codeSums[m])));
      Value factor = b.fmul(b.element(scale, row), sx);
      sum = b.fma(ints, factor, sums[m * rows + row]);
    }
  }
  return part;
}

// A lane gives the rows away that its partner keeps.
Value mlir::qc::gpu::emitExchange(GPUBuilder &b, ValueRange sums,
                                  int64_t lanes) {
  auto rows = static_cast<int64_t>(sums.size());
  Value part = b.rem(b.div(b.thread(), lanes), rows);
  SmallVector<Value> kept(sums);
  for (int64_t half = rows / 2; half > 0; half /= 2) {
    Value keepsUpper = b.compare(arith::CmpIPredicate::uge,
                                 b.rem(part, 2 * half), b.index(half));
    SmallVector<Value> next;
    for (int64_t i = 0; i < half; ++i) {
      Value own = b.select(keepsUpper, kept[i + half], kept[i]);
      Value other = b.select(keepsUpper, kept[i], kept[i + half]);
      next.push_back(b.fadd(own, b.shuffleXor(other, half * lanes)));
    }
    kept = next;
  }
  return kept.front();
}

Value TileEmitter::ownRow() {
  int64_t lanes = rowsPerGroup / rows;
  if (!exchanges())
    return e.firstRow;
  return b.add(e.firstRow, b.rem(b.div(b.thread(), lanes), rows));
}

Value TileEmitter::ownSplit() {
  return b.div(b.thread(), rowsPerGroup / rowsLeft());
}

SmallVector<Value> TileEmitter::emit(Value rowBlock) {
  SmallVector<Value> rowParams = format.emitRowParams(e, b.index(0), rowBlock);
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  SmallVector<Value> sums(tokens * rows, b.f32(0.0));
  int64_t perBlock = numBlocks() / layout.numBlocks();
  auto body = [&](Value index, ValueRange carried) {
    Value at =
        b.add(blocks, b.mul(b.div(index, perBlock), layout.blockBytes()));
    return arithmetic == Arithmetic::F32
               ? blockF32(at, index, rowParams, carried)
               : blockInt8(at, index, rowParams, carried);
  };
  if (numBlocks() == 1 && blockWays == 1)
    sums = body(b.index(0), sums);
  else
    sums = b.loop(blockPart, b.index(numBlocks()), blockWays, sums, body);
  if (Value scale = format.emitRowScale(e, rowParams))
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = b.fmul(sum, b.element(scale, static_cast<int64_t>(i) % rows));
  if (!exchanges())
    return sums;
  SmallVector<Value> result;
  for (int64_t m = 0; m < tokens; ++m)
    result.push_back(emitExchange(b, ValueRange(sums).slice(m * rows, rows),
                                  rowsPerGroup / rows));
  return result;
}

std::string mlir::qc::gpu::matmulName(const MatmulSignature &sig) {
  std::string name = "matmul_" + mlir::qc::gpu::weightName(sig.weight);
  if (sig.arithmetic == Arithmetic::Int8)
    name += "_int8";
  if (sig.second)
    name += "_" + mlir::qc::gpu::weightName(*sig.second);
  for (WeightType other : sig.others)
    name += "_and_" + mlir::qc::gpu::weightName(other);
  if (sig.gate)
    name += llvm::formatv("_{0}", stringifyGateKind(*sig.gate));
  if (sig.bias)
    name += "_bias";
  if (sig.residual)
    name += "_residual";
  if (sig.quantizes)
    name += "_quantizing";
  if (sig.normEps)
    name += "_rms_" + bitsOf(*sig.normEps);
  if (sig.threads != workgroupThreads)
    name += llvm::formatv("_t{0}", sig.threads);
  return name + llvm::formatv("_m{0}", sig.tokens).str();
}

SmallVector<WeightType> MatmulSignature::weights() const {
  SmallVector<WeightType> all = {weight};
  if (second)
    all.push_back(*second);
  all.append(others);
  return all;
}

SmallVector<Type> mlir::qc::gpu::matmulBuffers(KernelContext &ctx,
                                               const MatmulSignature &sig) {
  Type words = ctx.words(), floats = ctx.floats();
  size_t weights = sig.weights().size();
  SmallVector<Type> buffers;
  if (sig.tokens > 1)
    buffers.push_back(words);
  buffers.append(weights, words);
  if (sig.arithmetic == Arithmetic::Int8 && !sig.quantizes)
    buffers.append({words, floats, words});
  else
    buffers.push_back(floats);
  if (sig.normEps)
    buffers.push_back(floats);
  if (sig.bias)
    buffers.append(weights, floats);
  if (sig.residual)
    buffers.push_back(floats);
  buffers.append(1 + sig.others.size(), floats);
  return buffers;
}

int64_t MatmulSignature::groups() const {
  int64_t groups = weight.getLayout().numRowBlocks();
  for (WeightType other : others)
    groups += other.getLayout().numRowBlocks();
  return groups;
}

// A load of a warp is 128 bytes, of which a thread has up to eight under way. A
// GPU of 130 multiprocessors with 4 TB/s and 0.6 us to memory needs 20 KB under
// way on each: about 16 warps.
void MatmulSignature::chooseThreads(int64_t most) {
  constexpr int64_t enoughWarps = 2048;
  // 512 threads have 128 registers each: too few for entries of f32 tables.
  if (arithmetic == Arithmetic::F32 && weight.getLayout().headerBytes > 0)
    most = std::min<int64_t>(most, 256);
  int64_t blocks = arithmetic == Arithmetic::Int8
                       ? ActivationBlocks::get(weight).blocks
                       : weight.getLayout().numBlocks();
  int64_t parts = blocks > 1 ? blocks : weight.getLayout().chunksPerBlock();
  while (2 * threads <= most &&
         groups() * threads / rowsPerGroup < enoughWarps &&
         2 * threads / rowsPerGroup <= parts)
    threads *= 2;
}

mlir::qc::gpu::MatmulArguments::MatmulArguments(const MatmulSignature &sig,
                                                ValueRange args) {
  size_t next = 0, weights = sig.weights().size();
  auto take = [&](size_t count) {
    ValueRange taken = args.slice(next, count);
    next += count;
    return taken;
  };
  bool int8 = sig.arithmetic == Arithmetic::Int8;
  state = take(sig.tokens > 1);
  blobs = take(weights);
  input = take(int8 && !sig.quantizes ? 3 : 1);
  gamma = take(sig.normEps.has_value());
  biases = take(sig.bias ? weights : 0);
  residual = take(sig.residual);
  outs = take(1 + sig.others.size());
}

void mlir::qc::gpu::storeResult(GPUBuilder &b, const MatmulSignature &sig,
                                const MatmulArguments &args, size_t first,
                                SmallVector<Value> sums, Value out, Value row,
                                Value token, Value added) {
  if (sig.bias)
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = b.fadd(sum, b.load(args.biases[first + i], row));
  Value y = sums[0];
  if (sig.gate)
    y = b.fmul(emitActivation(b, *sig.gate, y), sums[1]);
  Value at = b.add(b.mul(token, sig.weights()[first].getN()), row);
  if (sig.residual)
    y = b.fadd(y, added ? added : b.load(args.residual[0], at));
  b.store(y, out, at);
}

void mlir::qc::gpu::forProduct(
    GPUBuilder &b, const MatmulSignature &sig, ValueRange outs,
    function_ref<void(size_t, size_t, Value, Value)> body) {
  size_t fused = sig.second ? 2 : 1;
  if (sig.others.empty())
    return body(0, fused, outs[0], b.groupX());
  SmallVector<WeightType> weights = sig.weights();
  Value group = b.groupX();
  int64_t begin = 0;
  for (size_t i = 0; i < outs.size(); ++i) {
    size_t first = i ? fused + i - 1 : 0;
    int64_t groups = weights[first].getLayout().numRowBlocks();
    Value own = b.sub(group, b.index(begin));
    // Unsigned: groups before are far beyond the end.
    Value mine = b.compare(arith::CmpIPredicate::ult, own, b.index(groups));
    b.ifThen(mine, [&] { body(first, i ? 1 : fused, outs[i], own); });
    begin += groups;
  }
}

/// Fetched before the kernel may read its input: this hides its start. Twice as
/// much, or none, was slower on an H200, whose second-level cache has 60 MB.
static constexpr int64_t earlyBytes = 8 << 20;

void mlir::qc::gpu::prefetchWeights(GPUBuilder &b, const MatmulSignature &sig,
                                    const MatmulArguments &args) {
  SmallVector<WeightType> weights = sig.weights();
  auto body = [&](size_t first, size_t count, Value, Value rowBlock) {
    for (size_t i = first; i < first + count; ++i) {
      ::qc::PackedLayout layout = weights[i].getLayout();
      if (!isWide(layout))
        continue;
      // In pieces of a row block, a thread each.
      int64_t share = earlyBytes / (sig.groups() * static_cast<int64_t>(count));
      int64_t pieces = std::min({layout.rowBlockBytes() / prefetchBytes,
                                 share / prefetchBytes, b.threads});
      if (pieces == 0)
        continue;
      Value at =
          b.add(b.mul(rowBlock, layout.rowBlockBytes()), layout.headerBytes);
      at = b.div(b.add(at, b.mul(b.thread(), prefetchBytes)), 4);
      b.ifThen(b.less(b.thread(), pieces),
               [&] { emitPrefetch(b, args.blobs[i], at); });
    }
  };
  forProduct(b, sig, args.outs, body);
}

namespace {

/// Emits the kernel of a signature.
class MatmulEmitter : MatmulArguments {
public:
  MatmulEmitter(GPUBuilder &b, const KernelContext &ctx,
                const MatmulSignature &sig, ValueRange args)
      : MatmulArguments(sig, args), b(b), ctx(ctx), sig(sig),
        weights(sig.weights()) {}

  void emit();
  /// Begins to fetch weights, before the kernel may read its input.
  void prefetch();

private:
  void product(size_t first, size_t count, Value out, Value rowBlock);
  /// `splits`: partial sums of each row, for each of the `partials`.
  void finish(size_t first, ValueRange partials, ArrayRef<int64_t> splits,
              Value out, Value row, Value token, Value inTile, Value added);

  GPUBuilder &b;
  const KernelContext &ctx;
  const MatmulSignature &sig;
  SmallVector<WeightType> weights;
  SmallVector<Value> activations, scratch;
  Value firstToken; ///< of the tile in the activations
};

} // namespace

void MatmulEmitter::prefetch() {
  if (sig.normEps)
    emitPrefetchVector(b, gamma[0], sig.weight.getK() * 4);
  prefetchWeights(b, sig, *this);
}

void MatmulEmitter::emit() {
  // Warps have exchanged the sums of a thread's rows.
  int64_t rows = 1;
  if (!ctx.hasWarps())
    for (WeightType weight : weights)
      rows = std::max(rows, threadRows(ctx, weight.getLayout(), sig.tokens));
  for (size_t i = 0; i < (sig.second ? 2 : 1); ++i)
    scratch.push_back(b.shared(sig.tokens * b.threads * rows));
  if (sig.quantizes) {
    activations = emitQuantizedInput(
        b, ActivationBlocks::get(sig.weight), input[0],
        sig.normEps ? Value(gamma[0]) : Value(), sig.normEps.value_or(0));
    firstToken = b.index(0);
  } else {
    activations.assign(input.begin(), input.end());
    firstToken = b.mul(b.groupY(), sig.tokens);
  }
  forProduct(b, sig, outs,
             [&](size_t first, size_t count, Value out, Value rowBlock) {
               product(first, count, out, rowBlock);
             });
}

void MatmulEmitter::product(size_t first, size_t count, Value out,
                            Value rowGroup) {
  int64_t n = weights[first].getN();
  Value thread = b.thread();
  Value lane = b.rem(thread, rowsPerGroup);
  Value split = b.div(thread, rowsPerGroup);
  Value row = b.add(b.mul(rowGroup, rowsPerGroup), lane);
  // Of one token: early, so that nobody waits for it in the end.
  Value added;
  if (sig.residual && sig.tokens == 1)
    added = b.load(residual[0],
                   n % rowsPerGroup ? b.min(row, b.index(n - 1)) : row);
  SmallVector<int64_t> splits;
  for (size_t i = 0; i < count; ++i) {
    WeightType weight = weights[first + i];
    ::qc::PackedLayout layout = weight.getLayout();
    Value rowBlock =
        b.add(b.mul(rowGroup, layout.rowBlockBytes()), layout.headerBytes);
    TileEmitter emitter(b, ctx, weight, sig.arithmetic, blobs[first + i],
                        activations, firstToken, sig.tokens);
    int64_t rows = emitter.rowsLeft();
    splits.push_back(emitter.numSplits());
    Value own =
        b.add(b.mul(emitter.ownSplit(), rowsPerGroup), emitter.ownRow());
    for (auto [j, sum] : llvm::enumerate(emitter.emit(rowBlock))) {
      int64_t token = static_cast<int64_t>(j) / rows,
              ownRow = static_cast<int64_t>(j) % rows;
      b.store(sum, scratch[i],
              b.add(own, token * splits.back() * rowsPerGroup + ownRow));
    }
  }
  // What this kernel has to read is on its way: earlier, the weights that the
  // next one fetches would be pushed out of the cache by this one's.
  emitLetNextStart(b, ctx);
  b.barrier();
  // Thread i finishes row i % 32 of token i / 32, i / 32 + 4, ...
  ValueRange partials = ValueRange(scratch).take_front(count);
  auto finishRow = [&] {
    if (sig.tokens == 1) {
      b.ifThen(b.less(thread, rowsPerGroup), [&] {
        finish(first, partials, splits, out, row, b.index(0), b.index(0),
               added);
      });
      return;
    }
    Value tokenCount = b.toIndex(b.load(state[0], b.index(1)));
    Value end = b.min(b.index(sig.tokens), b.sub(tokenCount, firstToken));
    b.loop(split, end, b.threads / rowsPerGroup, [&](Value m) {
      finish(first, partials, splits, out, row, b.add(firstToken, m), m,
             Value());
    });
  };
  if (n % rowsPerGroup == 0)
    finishRow();
  else
    b.ifThen(b.less(row, n), finishRow);
}

void MatmulEmitter::finish(size_t first, ValueRange partials,
                           ArrayRef<int64_t> splits, Value out, Value row,
                           Value token, Value inTile, Value added) {
  Value lane = b.rem(b.thread(), rowsPerGroup);
  SmallVector<Value> sums;
  for (auto [i, partial] : llvm::enumerate(partials)) {
    Value at = b.add(b.mul(inTile, splits[i] * rowsPerGroup), lane);
    Value sum = b.load(partial, at);
    for (int64_t s = 1; s < splits[i]; ++s)
      sum = b.fadd(sum, b.load(partial, b.add(at, s * rowsPerGroup)));
    sums.push_back(sum);
  }
  storeResult(b, sig, *this, first, sums, out, row, token, added);
}

Kernel mlir::qc::gpu::matmulKernel(KernelContext &ctx,
                                   const MatmulSignature &sig) {
  return getOrCreateKernel(
      ctx, matmulName(sig), matmulBuffers(ctx, sig),
      [&](GPUBuilder &b, ValueRange args) {
        MatmulEmitter(b, ctx, sig, args).emit();
      },
      sig.threads,
      [&](GPUBuilder &b, ValueRange args) {
        MatmulEmitter(b, ctx, sig, args).prefetch();
      },
      /*letsNextStart=*/false);
}
