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
// parts of a warp split K, too, and exchange their sums by shuffles.
//
// Codebooks (LookupTables of a format) are looked up in shared memory where
// there is enough of it: random reads of a table meet in its banks, so every
// entry is there as often as threads that are served at once (16 of 8 bytes, 32
// of 4 bytes). To fill 64 KB takes as long as to compute half a row block of
// 4096 inputs: as many workgroups as run at once go through all row blocks.
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
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
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
              Value firstToken, int64_t tokens,
              std::optional<TableCopies> copies = std::nullopt);

  /// Partial sums of row ownRow() of each token, f32, of a warp's part of K.
  SmallVector<Value> emit(Value rowBlock);
  Value ownRow();

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
  /// Sums of the thread's rows of one token become the warp's sum of one row.
  Value exchange(ValueRange rowSums);
  /// x[token][feature j of the block + inBlock], 0 beyond the end.
  Value activation(int64_t token, Value index, Value inBlock, int64_t j);
  /// acc + 4-way dot product of unsigned codes with signed activations.
  Value dot(Value acc, Value codes, Value activations);

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

/// Whether the arrays of a row block begin at multiples of 16 bytes.
static bool isWide(const ::qc::PackedLayout &layout) {
  return layout.rows == rowsPerGroup && layout.rowHeaderBytes % 16 == 0 &&
         layout.blockParamBytes % 16 == 0 && layout.chunkBytes % 16 == 0;
}

TileEmitter::TileEmitter(GPUBuilder &b, const KernelContext &ctx,
                         WeightType weight, Arithmetic arithmetic, Value blob,
                         ValueRange activations, Value firstToken,
                         int64_t tokens, std::optional<TableCopies> copies)
    : b(b), ctx(ctx), layout(weight.getLayout()),
      e{b, b.getLoc(), blob, 1, layout.rows, Value(), ctx.target},
      format(weight.getFormat()), input(ActivationBlocks::get(weight)),
      arithmetic(arithmetic), activations(activations), firstToken(firstToken),
      tokens(tokens), rows(ctx.wideLoads && isWide(layout) ? 4 : 1) {
  int64_t lanes = rowsPerGroup / rows; // that hold the row block
  int64_t splits = b.threads / lanes;
  e.rows = rows;
  e.firstRow = b.mul(b.rem(b.thread(), lanes), rows);
  e.copies = copies;
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

Value TileEmitter::dot(Value acc, Value codes, Value activations) {
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
        sum = dot(sum, b.element(codes, row), x);
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
Value TileEmitter::exchange(ValueRange rowSums) {
  if (rows == 1)
    return rowSums.front();
  int64_t lanes = rowsPerGroup / rows;
  Value part = b.rem(b.div(b.thread(), lanes), rows);
  SmallVector<Value> kept(rowSums);
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
  if (rows == 1)
    return e.firstRow;
  return b.add(e.firstRow, b.rem(b.div(b.thread(), lanes), rows));
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
  SmallVector<Value> result;
  for (int64_t m = 0; m < tokens; ++m)
    result.push_back(exchange(ValueRange(sums).slice(m * rows, rows)));
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
    name += llvm::formatv("_rms_{0:x-}", llvm::bit_cast<uint32_t>(
                                             static_cast<float>(*sig.normEps)));
  if (sig.copiesTables)
    name += "_tables";
  if (sig.threads != workgroupThreads)
    name += llvm::formatv("_t{0}", sig.threads);
  return name + llvm::formatv("_m{0}", sig.tokens).str();
}

/// All weights, in the order of their buffers.
static SmallVector<WeightType> weightsOf(const MatmulSignature &sig) {
  SmallVector<WeightType> weights = {sig.weight};
  if (sig.second)
    weights.push_back(*sig.second);
  weights.append(sig.others);
  return weights;
}

SmallVector<Type> mlir::qc::gpu::matmulBuffers(KernelContext &ctx,
                                               const MatmulSignature &sig) {
  MLIRContext *context = ctx.module.getContext();
  Type words =
      MemRefType::get({ShapedType::kDynamic}, IntegerType::get(context, 32));
  Type floats =
      MemRefType::get({ShapedType::kDynamic}, Float32Type::get(context));
  size_t weights = weightsOf(sig).size();
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
    groups += WeightType(other).getLayout().numRowBlocks();
  return groups;
}

/// Bytes of each entry in shared memory, all copies: one in every bank.
static constexpr int64_t entryBytes = 128;
/// Two on each of 132 multiprocessors.
static constexpr int64_t tableWorkgroups = 264;

int64_t MatmulSignature::workgroupsOf(WeightType own) const {
  int64_t rowBlocks = own.getLayout().numRowBlocks();
  if (!copiesTables || groups() <= tableWorkgroups)
    return rowBlocks;
  return std::max<int64_t>(1, rowBlocks * tableWorkgroups / groups());
}

int64_t MatmulSignature::workgroups() const {
  int64_t sum = workgroupsOf(weight);
  for (WeightType other : others)
    sum += workgroupsOf(other);
  return sum;
}

static LookupTables tablesOf(WeightType weight) {
  return *weight.getFormat().getLookupTables();
}

/// Of the copies of the tables of one weight, the largest.
static int64_t tableBytes(const MatmulSignature &sig) {
  int64_t entries = 0;
  for (WeightType weight : weightsOf(sig))
    entries = std::max(entries, tablesOf(weight).entries);
  return entries * entryBytes;
}

bool mlir::qc::gpu::canCopyTables(const KernelContext &ctx,
                                  const MatmulSignature &sig) {
  if (sig.arithmetic != Arithmetic::Int8 || sig.tokens != 1 || !ctx.wideLoads)
    return false;
  for (WeightType weight : weightsOf(sig)) {
    auto tables = weight.getFormat().getLookupTables();
    if (!tables || !llvm::is_contained({1, 2, 4}, tables->entryWords))
      return false;
  }
  // Besides them there are the input and partial sums.
  auto input = ActivationBlocks::get(sig.weight);
  int64_t others = (sig.quantizes ? input.k + 8 * input.blocks : 0) + (8 << 10);
  return tableBytes(sig) + others <= ctx.sharedBytes;
}

// A load of a warp is 128 bytes, of which a thread has up to eight under way. A
// GPU of 130 multiprocessors with 4 TB/s and 0.6 us to memory needs 20 KB under
// way on each: about 16 warps.
void MatmulSignature::chooseThreads(int64_t most) {
  constexpr int64_t enoughWarps = 2048;
  int64_t blocks = arithmetic == Arithmetic::Int8
                       ? ActivationBlocks::get(weight).blocks
                       : weight.getLayout().numBlocks();
  int64_t parts = blocks > 1 ? blocks : weight.getLayout().chunksPerBlock();
  // Workgroups with tables are as large as they can be, since few fit.
  while (2 * threads <= most &&
         (copiesTables || groups() * threads / rowsPerGroup < enoughWarps) &&
         2 * threads / rowsPerGroup <= parts)
    threads *= 2;
}

namespace {

/// Emits the kernel of a signature.
class MatmulEmitter {
public:
  MatmulEmitter(GPUBuilder &b, const KernelContext &ctx,
                const MatmulSignature &sig, ValueRange args)
      : b(b), ctx(ctx), sig(sig), weights(weightsOf(sig)) {
    size_t next = 0;
    auto take = [&](size_t count) {
      ValueRange taken = args.slice(next, count);
      next += count;
      return taken;
    };
    bool int8 = sig.arithmetic == Arithmetic::Int8;
    state = take(sig.tokens > 1);
    blobs = take(weights.size());
    input = take(int8 && !sig.quantizes ? 3 : 1);
    gamma = take(sig.normEps.has_value());
    biases = take(sig.bias ? weights.size() : 0);
    residual = take(sig.residual);
    outs = take(1 + sig.others.size());
  }

  void emit();
  /// Begins to fetch a part of the workgroup's weights, `bytes` of the kernel's
  /// from `first` on.
  void prefetch(int64_t first, int64_t bytes);
  /// The same of one row block, in pieces of prefetchBytes, a thread each.
  void prefetchRowBlock(size_t weight, Value rowBlock, int64_t begin,
                        int64_t end);
  /// Before the kernel may read its input.
  void prefetchEarly();

private:
  /// body(weights from `first` on, how many, output, which of its workgroups)
  /// for the workgroup's product. Without tables each has one row block.
  void forProduct(function_ref<void(size_t, size_t, Value, Value)> body);
  void product(size_t first, size_t count, Value out, Value rowBlock);
  void productOfTables(size_t first, size_t count, Value out, Value own);
  void fillTables(size_t weight);
  TableCopies tableCopies(size_t weight);
  /// The element of the residual of a kernel of one token that is added to
  /// `row`, loaded early, so that nobody waits for it in the end.
  Value loadResidual(int64_t n, Value row);
  /// Sum of the row that this thread finishes of all parts, from `at` on, plus
  /// the bias.
  Value rowSum(size_t weight, Value partial, Value at, Value row);
  void finish(size_t first, ValueRange sums, Value out, Value row, Value token,
              Value added);

  GPUBuilder &b;
  const KernelContext &ctx;
  const MatmulSignature &sig;
  SmallVector<WeightType> weights;
  ValueRange state, blobs, input, gamma, biases, residual, outs;
  SmallVector<Value> activations, scratch;
  Value firstToken; ///< of the tile in the activations
};

} // namespace

void MatmulEmitter::forProduct(
    function_ref<void(size_t, size_t, Value, Value)> body) {
  size_t fused = sig.second ? 2 : 1;
  if (sig.others.empty())
    return body(0, fused, outs[0], b.groupX());
  Value group = b.groupX();
  int64_t begin = 0;
  for (size_t i = 0; i < outs.size(); ++i) {
    size_t first = i ? fused + i - 1 : 0;
    int64_t groups = sig.workgroupsOf(weights[first]);
    Value own = b.sub(group, b.index(begin));
    // Unsigned: groups before are far beyond the end.
    Value mine = b.compare(arith::CmpIPredicate::ult, own, b.index(groups));
    b.ifThen(mine, [&] { body(first, i ? 1 : fused, outs[i], own); });
    begin += groups;
  }
}

void MatmulEmitter::prefetch(int64_t first, int64_t bytes) {
  forProduct([&](size_t weight, size_t count, Value, Value rowBlock) {
    int64_t share =
        prefetchBytes * sig.workgroups() * static_cast<int64_t>(count);
    for (size_t i = weight; i < weight + count; ++i) {
      int64_t pieces = weights[i].getLayout().rowBlockBytes() / prefetchBytes;
      prefetchRowBlock(i, rowBlock, first / share,
                       std::min(pieces, (first + bytes) / share));
    }
  });
}

void MatmulEmitter::prefetchRowBlock(size_t weight, Value rowBlock,
                                     int64_t begin, int64_t end) {
  ::qc::PackedLayout layout = weights[weight].getLayout();
  end = std::min(end, begin + b.threads);
  if (!isWide(layout) || end <= begin)
    return;
  Value at = b.add(b.mul(rowBlock, layout.rowBlockBytes()),
                   layout.headerBytes + begin * prefetchBytes);
  at = b.div(b.add(at, b.mul(b.thread(), prefetchBytes)), 4);
  b.ifThen(b.less(b.thread(), end - begin), [&] {
    memref::PrefetchOp::create(b, blobs[weight], ValueRange{at},
                               /*isWrite=*/false, /*localityHint=*/3,
                               /*isDataCache=*/true);
  });
}

/// Fetched before the kernel may read its input: this hides its start. Much
/// more would push what the kernel before still reads out of the cache.
static constexpr int64_t earlyBytes = 16 << 20;
/// While it prepares its input: what memory delivers in that time.
static constexpr int64_t inputBytes = 8 << 20;

void MatmulEmitter::prefetchEarly() {
  if (sig.normEps) {
    int64_t pieces = sig.weight.getK() * 4 / prefetchBytes;
    if (pieces > 0)
      b.ifThen(b.less(b.thread(), pieces), [&] {
        memref::PrefetchOp::create(
            b, gamma[0], ValueRange{b.mul(b.thread(), prefetchBytes / 4)},
            /*isWrite=*/false, /*localityHint=*/3, /*isDataCache=*/true);
      });
  }
  prefetch(0, earlyBytes);
  if (sig.copiesTables)
    forProduct([&](size_t first, size_t, Value, Value) { fillTables(first); });
}

void MatmulEmitter::emit() {
  if (sig.copiesTables)
    // Weights follow each other, the two halves alternate.
    scratch.push_back(b.shared(2 * b.threads));
  else
    for (size_t i = 0; i < (sig.second ? 2 : 1); ++i)
      scratch.push_back(b.shared(sig.tokens * b.threads));
  // Otherwise it happened early.
  if (sig.copiesTables && !ctx.programmatic)
    forProduct([&](size_t first, size_t, Value, Value) { fillTables(first); });
  if (sig.quantizes) {
    if (ctx.programmatic)
      prefetch(earlyBytes, inputBytes);
    activations = emitQuantizedInput(
        b, ActivationBlocks::get(sig.weight), input[0],
        sig.normEps ? Value(gamma[0]) : Value(), sig.normEps.value_or(0));
    firstToken = b.index(0);
  } else {
    activations.assign(input.begin(), input.end());
    firstToken = b.mul(b.groupY(), sig.tokens);
  }
  forProduct([&](size_t first, size_t count, Value out, Value rowBlock) {
    if (sig.copiesTables)
      productOfTables(first, count, out, rowBlock);
    else
      product(first, count, out, rowBlock);
  });
}

TableCopies MatmulEmitter::tableCopies(size_t weight) {
  LookupTables tables = tablesOf(weights[weight]);
  int64_t copies = entryBytes / 4 / tables.entryWords;
  Value bytes = mlir::gpu::DynamicSharedMemoryOp::create(
      b, MemRefType::get(
             {ShapedType::kDynamic}, b.getI8Type(), MemRefLayoutAttrInterface(),
             mlir::gpu::AddressSpaceAttr::get(
                 b.getContext(), mlir::gpu::AddressSpace::Workgroup)));
  Type words = MemRefType::get(
      {tableBytes(sig) / 4}, b.getI32Type(), MemRefLayoutAttrInterface(),
      cast<MemRefType>(bytes.getType()).getMemorySpace());
  Value memory =
      memref::ViewOp::create(b, words, bytes, b.index(0), ValueRange());
  return {tables, copies, memory, b.toI32(b.rem(b.thread(), copies))};
}

// A thread has an entry; its stores of all copies begin with another one than
// those of its neighbours, so that they do not meet in a bank.
void MatmulEmitter::fillTables(size_t weight) {
  TableCopies to = tableCopies(weight);
  int64_t words = to.tables.entryWords;
  Value blob = blobs[weight], first = b.rem(b.thread(), to.copies);
  b.loop(b.thread(), b.index(to.tables.entries), b.threads, [&](Value entry) {
    Value from = b.add(b.mul(entry, words), to.tables.offset / 4);
    SmallVector<Value> values;
    if (words == 1) {
      values = {b.load(blob, from)};
    } else {
      Value all = b.loadWide(blob, from, words);
      for (int64_t i = 0; i < words; ++i)
        values.push_back(b.element(all, i));
    }
    for (int64_t i = 0; i < to.copies; ++i) {
      Value copy = arith::XOrIOp::create(b, first, b.index(i));
      Value at = b.mul(b.add(b.mul(entry, to.copies), copy), words);
      if (words == 1)
        b.store(values[0], to.memory, at);
      else
        b.storeWide(values, to.memory, at);
    }
  });
}

// The products of a gate follow each other, since only one weight's tables fit;
// the first one's rows wait in shared memory.
void MatmulEmitter::productOfTables(size_t first, size_t count, Value out,
                                    Value own) {
  int64_t n = weights[first].getN();
  int64_t groups = weights[first].getLayout().numRowBlocks();
  int64_t workgroups = sig.workgroupsOf(weights[first]);
  int64_t rounds = llvm::divideCeil(groups, workgroups);
  Value lane = b.rem(b.thread(), rowsPerGroup);
  Value split = b.div(b.thread(), rowsPerGroup);
  Value waiting = count > 1 ? b.shared(rounds * rowsPerGroup) : Value();
  for (size_t i = 0; i < count; ++i) {
    ::qc::PackedLayout layout = weights[first + i].getLayout();
    bool isLast = i + 1 == count;
    if (i > 0) {
      b.barrier();
      fillTables(first + i);
    }
    b.barrier();
    TableCopies copies = tableCopies(first + i);
    auto body = [&](Value rowGroup, Value round) {
      Value row = b.add(b.mul(rowGroup, rowsPerGroup), lane);
      Value added = isLast ? loadResidual(n, row) : Value();
      Value rowBlock =
          b.add(b.mul(rowGroup, layout.rowBlockBytes()), layout.headerBytes);
      TileEmitter emitter(b, ctx, weights[first + i], sig.arithmetic,
                          blobs[first + i], activations, firstToken,
                          /*tokens=*/1, copies);
      // Who finishes the row block before still reads the other half, and meets
      // all others before that is written again.
      Value half = b.mul(b.rem(round, 2), b.threads);
      Value part = b.add(b.mul(split, rowsPerGroup), emitter.ownRow());
      b.store(emitter.emit(rowBlock).front(), scratch[0], b.add(half, part));
      b.barrier();
      Value isOwner = b.less(b.thread(), rowsPerGroup);
      if (n % rowsPerGroup != 0)
        isOwner = b.land(isOwner, b.less(row, n));
      b.ifThen(isOwner, [&] {
        Value slot = b.add(b.mul(round, rowsPerGroup), lane);
        Value sum = rowSum(first + i, scratch[0], b.add(half, lane), row);
        if (!isLast) {
          b.store(sum, waiting, slot);
          return;
        }
        SmallVector<Value> sums;
        if (waiting)
          sums.push_back(b.load(waiting, slot));
        sums.push_back(sum);
        finish(first, sums, out, row, b.index(0), added);
      });
    };
    if (rounds == 1) {
      body(own, b.index(0));
      continue;
    }
    b.loop(own, b.index(groups), workgroups, {b.index(0)},
           [&](Value rowGroup, ValueRange round) -> SmallVector<Value> {
             Value next = b.add(rowGroup, workgroups);
             if (ctx.programmatic)
               b.ifThen(b.less(next, groups), [&] {
                 prefetchRowBlock(first + i, next, 0,
                                  layout.rowBlockBytes() / prefetchBytes);
               });
             body(rowGroup, round[0]);
             return {b.add(round[0], 1)};
           });
  }
}

Value MatmulEmitter::loadResidual(int64_t n, Value row) {
  if (!sig.residual || sig.tokens != 1)
    return Value();
  return b.load(residual[0],
                n % rowsPerGroup ? b.min(row, b.index(n - 1)) : row);
}

void MatmulEmitter::product(size_t first, size_t count, Value out,
                            Value rowGroup) {
  int64_t n = weights[first].getN();
  Value thread = b.thread();
  Value lane = b.rem(thread, rowsPerGroup);
  Value split = b.div(thread, rowsPerGroup);
  int64_t splits = b.threads / rowsPerGroup;
  Value row = b.add(b.mul(rowGroup, rowsPerGroup), lane);
  Value added = loadResidual(n, row);
  for (size_t i = 0; i < count; ++i) {
    WeightType weight = weights[first + i];
    ::qc::PackedLayout layout = weight.getLayout();
    Value rowBlock =
        b.add(b.mul(rowGroup, layout.rowBlockBytes()), layout.headerBytes);
    TileEmitter emitter(b, ctx, weight, sig.arithmetic, blobs[first + i],
                        activations, firstToken, sig.tokens);
    Value own = b.add(b.mul(split, rowsPerGroup), emitter.ownRow());
    for (auto [m, sum] : llvm::enumerate(emitter.emit(rowBlock)))
      b.store(sum, scratch[i], b.add(own, static_cast<int64_t>(m) * b.threads));
  }
  b.barrier();
  // Thread i finishes row i % 32 of token i / 32, i / 32 + 4, ...
  auto sums = [&](Value inTile) {
    SmallVector<Value> sums;
    Value at = b.add(b.mul(inTile, b.threads), lane);
    for (size_t i = 0; i < count; ++i)
      sums.push_back(rowSum(first + i, scratch[i], at, row));
    return sums;
  };
  auto finishRow = [&] {
    if (sig.tokens == 1) {
      b.ifThen(b.less(thread, rowsPerGroup), [&] {
        finish(first, sums(b.index(0)), out, row, b.index(0), added);
      });
      return;
    }
    Value tokenCount = b.toIndex(b.load(state[0], b.index(1)));
    Value end = b.min(b.index(sig.tokens), b.sub(tokenCount, firstToken));
    b.loop(split, end, splits, [&](Value m) {
      finish(first, sums(m), out, row, b.add(firstToken, m), Value());
    });
  };
  if (n % rowsPerGroup == 0)
    finishRow();
  else
    b.ifThen(b.less(row, n), finishRow);
}

Value MatmulEmitter::rowSum(size_t weight, Value partial, Value at, Value row) {
  int64_t splits = b.threads / rowsPerGroup;
  Value sum = b.load(partial, at);
  for (int64_t s = 1; s < splits; ++s)
    sum = b.fadd(sum, b.load(partial, b.add(at, s * rowsPerGroup)));
  if (sig.bias)
    sum = b.fadd(sum, b.load(biases[weight], row));
  return sum;
}

void MatmulEmitter::finish(size_t first, ValueRange sums, Value out, Value row,
                           Value token, Value added) {
  Value y = sums[0];
  if (sig.gate)
    y = b.fmul(emitActivation(b, *sig.gate, y), sums[1]);
  Value at = b.add(b.mul(token, weights[first].getN()), row);
  if (sig.residual)
    y = b.fadd(y, added ? added : b.load(residual[0], at));
  b.store(y, out, at);
}

Kernel mlir::qc::gpu::matmulKernel(KernelContext &ctx,
                                   const MatmulSignature &sig) {
  Kernel kernel = getOrCreateKernel(
      ctx, matmulName(sig), matmulBuffers(ctx, sig),
      [&](GPUBuilder &b, ValueRange args) {
        MatmulEmitter(b, ctx, sig, args).emit();
      },
      sig.threads,
      [&](GPUBuilder &b, ValueRange args) {
        MatmulEmitter(b, ctx, sig, args).prefetchEarly();
      });
  if (sig.copiesTables)
    kernel->setAttr(sharedAttr,
                    IntegerAttr::get(IntegerType::get(kernel.getContext(), 64),
                                     tableBytes(sig)));
  return kernel;
}
