//===- CooperativeMatmulKernel.cpp - Tokens by cooperative matrices -------===//
//
// int8 products of several tokens by SPV_KHR_cooperative_matrix:
//
//   C [M rows, N tokens] i32 += A [M rows, K inputs] s8
//                             * B [K inputs, N tokens] s8
//
// A workgroup computes a row block of 32 rows for a tile of tokens, each of its
// subgroups some of the M x N tiles of it. K is taken in stages: all threads
// unpack codes to shared memory and copy activations there, then the subgroups
// multiply. Where an element of a matrix lies is the driver's secret, so
// nothing is done to single elements. With codes c, zero point z, scale s of a
// row and block, activations sx * a of a token and block, and c' = c - 128,
// which is signed as the devices' products want it,
//
//   sum w x = s sx (sum c' a + 128 sum a - z sum a):
//
// the sums of a, times 128 less a zero point that is the same integer
// everywhere, start C; other zero points and the scales are matrices of equal
// columns or rows, loaded from a vector with a stride of 0.
//
//===----------------------------------------------------------------------===//
#include "Kernels.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "qc/Target/GPU/Passes.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::CooperativeShape;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::Kernel;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::rowsPerGroup;
namespace sp = mlir::spirv;

namespace {

/// What a stage has in shared memory.
struct CooperativePlan {
  int64_t planes; ///< of codes, whose products with the activations add up
  int64_t chunks; ///< of a stage
  int64_t stages; ///< of a block of the activations
  int64_t inputs; ///< of a stage, a multiple of K
  int64_t tokens;

  /// Words from one row to the next; rows begin at multiples of 16 bytes, as
  /// loads of matrices must, and not all in the same bank.
  int64_t stride() const { return (inputs + 15) / 16 * 4 + 4; }
  int64_t words() const { return (planes * rowsPerGroup + tokens) * stride(); }

  /// Nothing where a stage does not fit the shared memory that Vulkan promises.
  static std::optional<CooperativePlan>
  make(WeightType weight, const CooperativeShape &shape, int64_t tokens);
};

/// Shared memory of a workgroup.
struct SharedMemory {
  Value codes;                   ///< i32: activations, codes; the results
  Value rowFactors, rowZeros;    ///< f32 [32]
  Value tokenFactors, tokenSums; ///< f32 [tokens]
  Value tokenStarts;             ///< i32 [tokens]
};

/// Emits the products of a workgroup's row block with a tile of tokens.
class CooperativeEmitter {
public:
  CooperativeEmitter(GPUBuilder &b, const KernelContext &ctx, WeightType weight,
                     Value blob, ValueRange activations, Value firstToken,
                     const CooperativePlan &plan, const SharedMemory &shared);

  /// The subgroup's matrices of sums, f32.
  SmallVector<Value> emit(Value rowBlock);
  /// Stores them as [tokens][32 rows] at `word` of the shared words.
  void store(ValueRange sums, int64_t word);

private:
  void writeFactors(Value index, Value at);
  void writeStage(Value index, Value stage, Value chunks);
  /// ints + products of the stage.
  SmallVector<Value> multiply(ValueRange ints);
  SmallVector<Value> emitBlock(Value index, Value blocks, ValueRange sums);
  /// sums + the block's sums, scaled.
  SmallVector<Value> accumulate(ValueRange ints, ValueRange sums);

  /// First row and token of matrix `j` of the subgroup.
  Value tileRow(int64_t j);
  Value tileToken(int64_t j);
  int64_t numTiles() const {
    return rowsPerGroup / shape.rows * (plan.tokens / shape.tokens) /
           numSubgroups();
  }
  int64_t numSubgroups() const { return b.threads / shape.subgroup; }

  Type matrix(Type element) {
    return sp::CooperativeMatrixType::get(
        element, shape.rows, shape.tokens, sp::Scope::Subgroup,
        sp::CooperativeMatrixUseKHR::MatrixAcc);
  }
  Value load(Type type, Value memory, Value at, int64_t stride,
             sp::CooperativeMatrixLayoutKHR layout);
  /// The matrix whose columns, or rows, are all `vector` from `at` on.
  Value columns(Value vector, Value at);
  Value rows(Value vector, Value at);
  Value pointer(Value memory, Value at);
  Value toF32(Value ints) {
    return sp::ConvertSToFOp::create(b, matrix(b.getF32Type()), ints);
  }
  template <typename Op>
  Value apply(Value x, Value y) {
    return Op::create(b, x.getType(), x, y);
  }

  GPUBuilder &b;
  CooperativeShape shape;
  ::qc::PackedLayout layout;
  FormatAttrInterface format;
  mlir::qc::ActivationBlocks input;
  DecodeEmitter e;
  ValueRange activations; ///< codes, scales, sums
  Value firstToken, subgroup;
  CooperativePlan plan;
  SharedMemory shared;
  SmallVector<Value> rowParams;
  std::optional<int64_t> zero; ///< an integer that all zero points are
};

} // namespace

static int64_t numChunks(WeightType weight) {
  return ActivationBlocks::get(weight).paddedBlockK / weight.getLayout().chunkK;
}

/// Planes of codes, one a codebook: as many as a format emits.
static int64_t countPlanes(WeightType weight) {
  MLIRContext *context = weight.getContext();
  auto format = cast<FormatAttrInterface>(weight.getFormat());
  TargetFeatures target;
  target.words = true;
  Location loc = UnknownLoc::get(context);
  Block scratch;
  OpBuilder b(context);
  b.setInsertionPointToStart(&scratch);
  Value blob = scratch.addArgument(
      MemRefType::get({ShapedType::kDynamic}, b.getI32Type()), loc);
  Value at = arith::ConstantIndexOp::create(b, loc, 0);
  DecodeEmitter e{b, loc, blob, 1, weight.getLayout().rows, at, target};
  SmallVector<Value> rowParams = format.emitRowParams(e, at, at);
  auto words = static_cast<int64_t>(format.emitCodes(e, at, rowParams).size());
  return words / (weight.getLayout().chunkK / 4);
}

std::optional<CooperativePlan>
CooperativePlan::make(WeightType weight, const CooperativeShape &shape,
                      int64_t tokens) {
  constexpr int64_t mostInputs = 128, mostBytes = 15 * 1024;
  int64_t count = numChunks(weight), chunkK = weight.getLayout().chunkK;
  CooperativePlan plan{countPlanes(weight), 0, 0, 0, tokens};
  for (int64_t inputs = mostInputs; inputs >= 16; inputs /= 2) {
    int64_t most = std::clamp<int64_t>(inputs / chunkK, 1, count);
    plan.stages = llvm::divideCeil(count, most);
    plan.chunks = llvm::divideCeil(count, plan.stages);
    plan.inputs = llvm::alignTo(plan.chunks * chunkK, shape.inputs);
    if (plan.words() * 4 <= mostBytes)
      return plan;
  }
  return std::nullopt;
}

CooperativeEmitter::CooperativeEmitter(GPUBuilder &b, const KernelContext &ctx,
                                       WeightType weight, Value blob,
                                       ValueRange activations, Value firstToken,
                                       const CooperativePlan &plan,
                                       const SharedMemory &shared)
    : b(b), shape(*ctx.cooperative), layout(weight.getLayout()),
      format(weight.getFormat()), input(ActivationBlocks::get(weight)),
      e{b,         b.getLoc(),  blob,
        1,         layout.rows, b.rem(b.thread(), rowsPerGroup),
        ctx.target},
      activations(activations), firstToken(firstToken), plan(plan),
      shared(shared) {
  subgroup = mlir::gpu::SubgroupIdOp::create(b, IntegerAttr());
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

// The conversion to SPIR-V makes it an access chain.
Value CooperativeEmitter::pointer(Value memory, Value at) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  auto type = sp::PointerType::get(element, sp::StorageClass::Workgroup);
  return UnrealizedConversionCastOp::create(b, type, ValueRange{memory, at})
      .getResult(0);
}

static sp::ConstantOp word(GPUBuilder &b, int64_t value) {
  return sp::ConstantOp::create(
      b, b.getI32Type(), b.getI32IntegerAttr(static_cast<int32_t>(value)));
}

Value CooperativeEmitter::load(Type type, Value memory, Value at,
                               int64_t stride,
                               sp::CooperativeMatrixLayoutKHR layout) {
  return sp::KHRCooperativeMatrixLoadOp::create(b, type, pointer(memory, at),
                                                word(b, stride), layout);
}

/// Of a matrix of what lies in `memory`: drivers tell signed from unsigned.
static Type elementOf(Value memory) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  if (element.isInteger())
    return IntegerType::get(memory.getContext(), 32, IntegerType::Signed);
  return element;
}

Value CooperativeEmitter::columns(Value vector, Value at) {
  return load(matrix(elementOf(vector)), vector, at, 0,
              sp::CooperativeMatrixLayoutKHR::ColumnMajor);
}

Value CooperativeEmitter::rows(Value vector, Value at) {
  return load(matrix(elementOf(vector)), vector, at, 0,
              sp::CooperativeMatrixLayoutKHR::RowMajor);
}

// Matrix j of subgroup s is number s + j * subgroups, rows first, so that a
// subgroup's matrices have the same rows where there are enough subgroups.
Value CooperativeEmitter::tileRow(int64_t j) {
  int64_t perColumn = rowsPerGroup / shape.rows;
  Value tile = b.add(subgroup, j * numSubgroups());
  if (numSubgroups() % perColumn == 0)
    tile = subgroup;
  return b.mul(b.rem(tile, perColumn), shape.rows);
}

Value CooperativeEmitter::tileToken(int64_t j) {
  Value tile = b.add(subgroup, j * numSubgroups());
  return b.mul(b.div(tile, rowsPerGroup / shape.rows), shape.tokens);
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

void CooperativeEmitter::writeFactors(Value index, Value at) {
  // The first threads have rows, the last ones tokens.
  b.ifThen(b.less(b.thread(), rowsPerGroup), [&] {
    SmallVector<Value> params = format.emitBlockParams(e, at);
    Value zeros = format.emitZero(e, params);
    zero = mlir::qc::gpu::matchInteger(zeros);
    b.store(b.scalar(format.emitIntegerScale(e, rowParams, params)),
            shared.rowFactors, b.thread());
    if (!zero)
      b.store(b.scalar(zeros), shared.rowZeros, b.thread());
  });
  int64_t first = b.threads - plan.tokens;
  b.ifThen(
      b.compare(arith::CmpIPredicate::sge, b.thread(), b.index(first)), [&] {
        Value token = b.sub(b.thread(), b.index(first));
        Value item =
            b.add(b.mul(b.add(firstToken, token), input.blocks), index);
        b.store(b.load(activations[1], item), shared.tokenFactors, token);
        Value sum = b.load(activations[2], item);
        int64_t factor = 128 * plan.planes - zero.value_or(0);
        b.store(b.mul(sum, b.i32(factor)), shared.tokenStarts, token);
        if (!zero)
          b.store(arith::SIToFPOp::create(b, b.getF32Type(), sum).getResult(),
                  shared.tokenSums, token);
      });
}

void CooperativeEmitter::writeStage(Value index, Value stage, Value chunks) {
  int64_t stride = plan.stride(), perPlane = layout.chunkK / 4;
  int64_t count = input.paddedBlockK / layout.chunkK;
  int64_t parts = b.threads / rowsPerGroup;
  // Codes: a row a thread, a part of the chunks each.
  Value firstChunk = b.mul(stage, plan.chunks);
  Value part = b.div(b.thread(), rowsPerGroup);
  b.loop(part, b.index(plan.chunks), parts, [&](Value chunk) {
    auto unpack = [&] {
      Value at =
          b.add(chunks, b.mul(b.add(firstChunk, chunk), layout.chunkBytes));
      Value row = b.mul(b.add(e.firstRow, plan.tokens), stride);
      Value to = b.add(row, b.mul(chunk, perPlane));
      for (auto [i, codes] :
           llvm::enumerate(format.emitCodes(e, at, rowParams))) {
        auto plane = static_cast<int64_t>(i) / perPlane,
             inPlane = static_cast<int64_t>(i) % perPlane;
        // c - 128 in each byte.
        Value bytes =
            arith::XOrIOp::create(b, b.scalar(codes), b.i32(0x80808080));
        b.store(bytes, shared.codes,
                b.add(to, plane * rowsPerGroup * stride + inPlane));
      }
    };
    // What a ragged stage leaves there is multiplied by zeros.
    if (plan.stages * plan.chunks == count)
      unpack();
    else
      b.ifThen(b.less(b.add(firstChunk, chunk), count), unpack);
  });
  // Activations, zeros behind the block's.
  int64_t words = plan.inputs / 4, blockWords = input.paddedBlockK / 4;
  Value firstWord = b.mul(firstChunk, perPlane);
  b.loop(b.thread(), b.index(plan.tokens * words), b.threads, [&](Value i) {
    Value token = b.div(i, words), inStage = b.rem(i, words);
    Value inBlock = b.add(firstWord, inStage);
    Value from =
        b.add(b.mul(b.add(firstToken, token), input.blocks * blockWords),
              b.mul(index, blockWords));
    Value value;
    bool isWhole = plan.stages * words == blockWords &&
                   plan.chunks * layout.chunkK == plan.inputs;
    if (isWhole) {
      value = b.load(activations[0], b.add(from, inBlock));
    } else {
      // Neither the next stage's inputs, which K rounds up to.
      Value valid = b.less(inBlock, blockWords);
      if (plan.chunks * perPlane != words)
        valid = b.land(valid, b.less(inStage, plan.chunks * perPlane));
      Value at = b.select(valid, inBlock, b.index(0));
      value =
          b.select(valid, b.load(activations[0], b.add(from, at)), b.i32(0));
    }
    b.store(value, shared.codes, b.add(b.mul(token, stride), inStage));
  });
}

SmallVector<Value> CooperativeEmitter::multiply(ValueRange ints) {
  int64_t stride = plan.stride(), steps = plan.inputs / shape.inputs;
  Type byte = b.getIntegerType(8, /*isSigned=*/true);
  Type aType = sp::CooperativeMatrixType::get(
      byte, shape.rows, shape.inputs, sp::Scope::Subgroup,
      sp::CooperativeMatrixUseKHR::MatrixA);
  Type bType = sp::CooperativeMatrixType::get(
      byte, shape.inputs, shape.tokens, sp::Scope::Subgroup,
      sp::CooperativeMatrixUseKHR::MatrixB);
  using Operands = sp::CooperativeMatrixOperandsKHR;
  auto isSigned = sp::CooperativeMatrixOperandsKHRAttr::get(
      b.getContext(), Operands::ASigned | Operands::BSigned |
                          Operands::CSigned | Operands::ResultSigned);
  auto step = [&](Value k, ValueRange carried) {
    SmallVector<Value> next(carried);
    Value word = b.mul(k, shape.inputs / 4);
    bool sameRows = numSubgroups() % (rowsPerGroup / shape.rows) == 0;
    SmallVector<Value> rows; // of each plane
    for (int64_t j = 0; j < numTiles(); ++j) {
      if (j == 0 || !sameRows) {
        rows.clear();
        for (int64_t plane = 0; plane < plan.planes; ++plane) {
          Value row = b.add(tileRow(j), plan.tokens + plane * rowsPerGroup);
          rows.push_back(load(aType, shared.codes,
                              b.add(b.mul(row, stride), word), stride,
                              sp::CooperativeMatrixLayoutKHR::RowMajor));
        }
      }
      Value tokens =
          load(bType, shared.codes, b.add(b.mul(tileToken(j), stride), word),
               stride, sp::CooperativeMatrixLayoutKHR::ColumnMajor);
      for (Value plane : rows)
        next[j] = sp::KHRCooperativeMatrixMulAddOp::create(
            b, next[j].getType(), plane, tokens, next[j], isSigned);
    }
    return next;
  };
  // Drivers that unroll products themselves (mesa's) take long to compile many.
  if (steps > 4)
    return b.loop(b.index(0), b.index(steps), 1, ints, step);
  SmallVector<Value> next(ints);
  for (int64_t k = 0; k < steps; ++k)
    next = step(b.index(k), next);
  return next;
}

SmallVector<Value> CooperativeEmitter::accumulate(ValueRange ints,
                                                  ValueRange sums) {
  SmallVector<Value> next;
  for (auto [j, sum] : llvm::enumerate(sums)) {
    Value row = tileRow(static_cast<int64_t>(j)),
          token = tileToken(static_cast<int64_t>(j));
    Value value = toF32(ints[j]);
    if (!zero)
      value = apply<sp::FSubOp>(
          value, apply<sp::FMulOp>(columns(shared.rowZeros, row),
                                   rows(shared.tokenSums, token)));
    Value factor = apply<sp::FMulOp>(columns(shared.rowFactors, row),
                                     rows(shared.tokenFactors, token));
    next.push_back(apply<sp::FAddOp>(sum, apply<sp::FMulOp>(value, factor)));
  }
  return next;
}

SmallVector<Value> CooperativeEmitter::emitBlock(Value index, Value blocks,
                                                 ValueRange sums) {
  int64_t perBlock = input.blocks / layout.numBlocks();
  int64_t count = input.paddedBlockK / layout.chunkK;
  Value at = b.add(blocks, b.mul(b.div(index, perBlock), layout.blockBytes()));
  Value chunks = b.add(at, layout.blockParamBytes);
  if (perBlock > 1)
    chunks =
        b.add(chunks, b.mul(b.rem(index, perBlock), count * layout.chunkBytes));
  // The matrices of the stage before have been loaded.
  b.barrier();
  writeFactors(index, at);
  writeStage(index, b.index(0), chunks);
  b.barrier();
  SmallVector<Value> ints;
  for (int64_t j = 0; j < numTiles(); ++j)
    ints.push_back(rows(shared.tokenStarts, tileToken(j)));
  ints = multiply(ints);
  if (plan.stages > 1)
    ints = b.loop(b.index(1), b.index(plan.stages), 1, ints,
                  [&](Value stage, ValueRange carried) {
                    b.barrier();
                    writeStage(index, stage, chunks);
                    b.barrier();
                    return multiply(carried);
                  });
  return accumulate(ints, sums);
}

SmallVector<Value> CooperativeEmitter::emit(Value rowBlock) {
  rowParams = format.emitRowParams(e, b.index(0), rowBlock);
  Value blocks = b.add(rowBlock, layout.rowHeaderBytes);
  Value none = sp::CompositeConstructOp::create(b, matrix(b.getF32Type()),
                                                ValueRange{b.f32(0.0)});
  SmallVector<Value> sums(numTiles(), none);
  sums = b.loop(b.index(0), b.index(input.blocks), 1, sums,
                [&](Value index, ValueRange carried) {
                  return emitBlock(index, blocks, carried);
                });
  Value scale = format.emitRowScale(e, rowParams);
  if (!scale)
    return sums;
  b.barrier();
  b.ifThen(b.less(b.thread(), rowsPerGroup),
           [&] { b.store(b.scalar(scale), shared.rowFactors, b.thread()); });
  b.barrier();
  for (auto [j, sum] : llvm::enumerate(sums))
    sum = apply<sp::FMulOp>(
        sum, columns(shared.rowFactors, tileRow(static_cast<int64_t>(j))));
  return sums;
}

void CooperativeEmitter::store(ValueRange sums, int64_t word) {
  for (auto [j, sum] : llvm::enumerate(sums)) {
    Value row = tileRow(static_cast<int64_t>(j)),
          token = tileToken(static_cast<int64_t>(j));
    Value at = b.add(b.add(b.mul(token, rowsPerGroup), row), word);
    sp::KHRCooperativeMatrixStoreOp::create(
        b, pointer(shared.codes, at), sum, ::word(b, rowsPerGroup),
        sp::CooperativeMatrixLayoutKHR::ColumnMajor);
  }
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

bool mlir::qc::gpu::isCooperativeShape(ArrayRef<int64_t> sizes) {
  if (sizes.size() != 4)
    return false;
  int64_t rows = sizes[0], tokens = sizes[1], inputs = sizes[2],
          subgroup = sizes[3];
  auto divides = [](int64_t a, int64_t b) { return a > 0 && b % a == 0; };
  // Matrices of the smallest tile are shared out evenly.
  return divides(rows, rowsPerGroup) && divides(tokens, 32) && inputs >= 4 &&
         divides(inputs, 64) && inputs % 4 == 0 &&
         divides(subgroup, workgroupThreads) &&
         divides(workgroupThreads / subgroup,
                 rowsPerGroup / rows * (32 / tokens));
}

// Two weights have two sets of results in shared memory.
int64_t mlir::qc::gpu::cooperativeTokens(const KernelContext &ctx,
                                         const MatmulSignature &sig) {
  for (int64_t tokens = sig.gate ? 32 : 64; tokens >= 32; tokens /= 2)
    if (CooperativePlan::make(sig.weight, *ctx.cooperative, tokens) &&
        (!sig.second ||
         CooperativePlan::make(*sig.second, *ctx.cooperative, tokens)))
      return tokens;
  return 0;
}

Kernel mlir::qc::gpu::cooperativeMatmulKernel(KernelContext &ctx,
                                              const MatmulSignature &sig) {
  SmallVector<WeightType> weights = {sig.weight};
  if (sig.second)
    weights.push_back(*sig.second);
  Kernel kernel = getOrCreateKernel(
      ctx, matmulName(sig) + "_coop", matmulBuffers(ctx, sig),
      [&](GPUBuilder &b, ValueRange args) {
        size_t next = 1;
        Value state = args[0];
        ValueRange blobs = args.slice(next, weights.size());
        next += weights.size();
        ValueRange activations = args.slice(next, 3);
        next += 3;
        ValueRange biases = args.slice(next, sig.bias ? weights.size() : 0);
        next += biases.size();
        Value residual = sig.residual ? args[next++] : Value();
        Value out = args[next];

        int64_t n = sig.weight.getN(), resultWords = sig.tokens * rowsPerGroup;
        Value firstToken = b.mul(b.groupY(), sig.tokens);
        SmallVector<CooperativePlan> plans;
        int64_t words = resultWords * static_cast<int64_t>(weights.size());
        for (WeightType weight : weights) {
          plans.push_back(
              *CooperativePlan::make(weight, *ctx.cooperative, sig.tokens));
          words = std::max(words, plans.back().words());
        }
        SharedMemory shared{b.shared(words, b.getI32Type()),
                            b.shared(rowsPerGroup),
                            b.shared(rowsPerGroup),
                            b.shared(sig.tokens),
                            b.shared(sig.tokens),
                            b.shared(sig.tokens, b.getI32Type())};
        SmallVector<CooperativeEmitter, 0> emitters;
        SmallVector<SmallVector<Value>> sums;
        for (auto [weight, blob, plan] :
             llvm::zip_equal(weights, blobs, plans)) {
          ::qc::PackedLayout layout = weight.getLayout();
          emitters.emplace_back(b, ctx, weight, blob, activations, firstToken,
                                plan, shared);
          sums.push_back(emitters.back().emit(b.add(
              b.mul(b.groupX(), layout.rowBlockBytes()), layout.headerBytes)));
        }
        b.barrier();
        for (auto [i, emitter] : llvm::enumerate(emitters))
          emitter.store(sums[i], static_cast<int64_t>(i) * resultWords);
        b.barrier();
        // Thread i finishes row i % 32 of token i / 32, i / 32 + 4, ...
        Value lane = b.rem(b.thread(), rowsPerGroup);
        Value row = b.add(b.mul(b.groupX(), rowsPerGroup), lane);
        auto finish = [&](Value m) {
          SmallVector<Value> results;
          for (size_t i = 0; i < weights.size(); ++i) {
            Value at = b.add(b.add(b.mul(m, rowsPerGroup), lane),
                             static_cast<int64_t>(i) * resultWords);
            Value sum = b.asF32(b.load(shared.codes, at));
            if (sig.bias)
              sum = b.fadd(sum, b.load(biases[i], row));
            results.push_back(sum);
          }
          Value y = results[0];
          if (sig.gate)
            y = b.fmul(emitActivation(b, *sig.gate, y), results[1]);
          Value at = b.add(b.mul(b.add(firstToken, m), n), row);
          if (residual)
            y = b.fadd(y, b.load(residual, at));
          b.store(y, out, at);
        };
        auto finishRow = [&] {
          Value count = b.toIndex(b.load(state, b.index(1)));
          Value end = b.min(b.index(sig.tokens), b.sub(count, firstToken));
          b.loop(b.div(b.thread(), rowsPerGroup), end, b.threads / rowsPerGroup,
                 finish);
        };
        if (n % rowsPerGroup == 0)
          finishRow();
        else
          b.ifThen(b.less(row, n), finishRow);
      });
  kernel->setAttr(subgroupSizeAttrName,
                  Builder(kernel.getContext())
                      .getI64IntegerAttr(ctx.cooperative->subgroup));
  return kernel;
}
