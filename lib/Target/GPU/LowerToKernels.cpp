//===- LowerToKernels.cpp - lm/qc functions to GPU dispatch lists ---------===//
//
// Walks an entry point in order, calls included, and notes a launch for every
// operation: tensors become regions of the arena, weights regions of their
// section.
//
//===----------------------------------------------------------------------===//
#include "DispatchPlan.h"
#include "Kernels.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/Reproducible/Arithmetic.h"
#include "llvm/ADT/TypeSwitch.h"

#include <deque>

namespace mlir::qc::gpu {
#define GEN_PASS_DEF_LOWERTOGPUKERNELSPASS
#include "qc/Target/GPU/Passes.h.inc"
} // namespace mlir::qc::gpu

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::gpu;

namespace {

/// Rotary tables of all steps, one after the other in QC_SPACE_TABLES.
struct RotaryTables {
  struct Table {
    lm::RopeAttr rope;
    int64_t offsetPerPosition;
  };
  SmallVector<Table> tables;
  int64_t bytesPerPosition = 0;

  MemoryRegion get(lm::RopeAttr rope);
};

/// A tensor, or what else a value of the function is on the device.
struct Place {
  MemoryRegion region;
  bool perToken = false; ///< a row a token of the step, not one row
  /// The value is the RMS norm of what lies there, with these factors: its
  /// users compute it.
  std::optional<MemoryRegion> gamma;
  double eps = 0;
  /// The value is what lies there rotated: attention does it.
  std::optional<MemoryRegion> rotary;
};

/// Tokens of a tile in steps of few tokens.
constexpr int64_t fewTokensTile = 16;
static_assert(QC_FEW_TOKENS % fewTokensTile == 0);

/// Lowers one entry point.
class StepLowering {
public:
  /// `maxTokens`: of the step.
  StepLowering(KernelContext &ctx, SymbolTable &symbols, RotaryTables &tables,
               DispatchPlan &plan, bool oneToken, int64_t maxTokens)
      : ctx(ctx), symbols(symbols), tables(tables), plan(plan),
        oneToken(oneToken), maxTokens(maxTokens) {}

  LogicalResult run(func::FuncOp entry);
  /// Adds what chooses a token from the logits; false if the vocabulary is too
  /// small for it.
  bool addTop(bool advances);
  int64_t cacheBytesPerPosition() const { return cacheBytes; }
  /// Of the hidden states that the entry point takes; 0 if it begins with ids.
  int64_t inputColumns() const { return columns; }
  /// Whether it has kernels for few tokens.
  bool hasFewTokens() const { return usesFewTokens; }

private:
  using Map = DenseMap<Value, Place>;

  LogicalResult lowerBody(func::FuncOp function, Map &map);
  LogicalResult lower(Operation *op, Map &map);
  LogicalResult lower(MatmulOp op, Map &map);
  LogicalResult lower(lm::AttentionOp op, Map &map);
  LogicalResult lower(func::CallOp op, Map &map);
  /// In a step of one token, one kernel with all weights of `op`. False if it
  /// is not made for them.
  bool lowerFused(MatmulOp op, Map &map);
  bool canFuse(MatmulOp op) const;
  /// Kernels of few tokens, one where its weights group their inputs alike.
  void lowerFewTokens(MatmulOp op, Map &map);
  /// Of a kernel with `count` weights of `op` from `first` on.
  MatmulSignature signature(MatmulOp op, size_t first, size_t count) const;
  /// Notes the launch of such a kernel, `x` workgroups a tile of tokens.
  /// `activations`: with what else stands beside them in its buffers.
  void launchProduct(MatmulOp op, const MatmulSignature &sig, size_t first,
                     ArrayRef<MemoryRegion> activations, Kernel kernel,
                     int64_t x, Map &map);
  /// Whether all who use the norm can compute it themselves.
  bool canFuseNorm(lm::RMSNormOp norm) const;
  bool canFuseRotary(lm::RotaryOp rotary) const;
  LogicalResult checkRows(Operation *op, WeightType type);

  /// Memory for `tensor`, with rows like the place `like`.
  Place &allocate(Value tensor, bool perToken, Map &map);
  MemoryRegion state() const;
  /// Notes a launch of `kernel`; the last `written` regions are written.
  void launch(Kernel kernel, int64_t x, QCDeviceExtent y,
              ArrayRef<MemoryRegion> regions, size_t written = 1);
  /// The activations as a matmul in int8 arithmetic reads them.
  ArrayRef<MemoryRegion> quantize(const Place &input,
                                  const ActivationBlocks &layout);
  static std::optional<int64_t> gammaOf(const Place &place) {
    return place.gamma ? std::optional(place.gamma->offset) : std::nullopt;
  }
  /// Tokens in whole tiles: kernels read, but do not write, beyond the last
  /// one.
  int64_t tokenRows() const {
    bool onMatrices = ctx.tensorCores || ctx.cooperative;
    int64_t tile = !onMatrices                  ? tokenTile
                   : ctx.tensorCores && isFew() ? fewTokensTile
                                                : mostTensorTokens;
    return llvm::alignTo(maxTokens, tile);
  }
  /// Of several tokens, but so few that their number does not make a step
  /// longer.
  bool isFew() const { return !oneToken && maxTokens <= QC_FEW_TOKENS; }
  static QCDeviceExtent rows(const Place &place) {
    return place.perToken ? QCDeviceExtent{1, 1} : QCDeviceExtent{1, 0};
  }

  KernelContext &ctx;
  SymbolTable &symbols;
  RotaryTables &tables;
  DispatchPlan &plan;
  bool oneToken;
  int64_t maxTokens;
  bool usesFewTokens = false;
  struct Quantized {
    std::optional<unsigned> buffer; ///< none: the input of the step
    std::optional<int64_t> gamma;   ///< where its factors lie, of a norm
    ActivationBlocks layout;
    SmallVector<MemoryRegion> regions;
  };
  std::deque<Quantized> quantized;
  Value logits; ///< what the entry point returns
  int64_t cacheBytes = 0, columns = 0;
};

} // namespace

/// Steps of fewer tokens waste most of a tile of matrices.
static constexpr int64_t leastMatrixTokens = 16;

static int64_t columnsOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getDimSize(1);
}

MemoryRegion RotaryTables::get(lm::RopeAttr rope) {
  MemoryRegion region;
  region.space = QC_SPACE_TABLES;
  region.sizePerPosition = rope.getDim() * 4;
  for (const Table &table : tables)
    if (table.rope == rope) {
      region.offsetPerPosition = table.offsetPerPosition;
      return region;
    }
  region.offsetPerPosition = bytesPerPosition;
  tables.push_back({rope, bytesPerPosition});
  bytesPerPosition += region.sizePerPosition;
  return region;
}

MemoryRegion StepLowering::state() const {
  MemoryRegion region;
  region.space = QC_SPACE_STATE;
  region.size = (QC_STATE_IDS + ctx.maxTokens) * 4;
  return region;
}

Place &StepLowering::allocate(Value tensor, bool perToken, Map &map) {
  Place place;
  place.perToken = perToken;
  int64_t rows = perToken ? tokenRows() : 1;
  int64_t bytes = rows * columnsOf(tensor) * 4;
  if (tensor == logits) {
    place.region.space = QC_SPACE_LOGITS;
    place.region.size = (perToken ? maxTokens : 1) * columnsOf(tensor) * 4;
  } else {
    place.region = plan.allocate(bytes);
  }
  return map[tensor] = place;
}

void StepLowering::launch(Kernel kernel, int64_t x, QCDeviceExtent y,
                          ArrayRef<MemoryRegion> regions, size_t written) {
  Dispatch dispatch;
  dispatch.kernel = kernel.getName().str();
  dispatch.grid[0] = {static_cast<uint32_t>(x), 0};
  dispatch.grid[1] = y;
  for (auto [i, region] : llvm::enumerate(regions)) {
    dispatch.bindings.push_back({region, i + written >= regions.size()});
    if (!kernel->hasAttr(programmaticAttr))
      continue;
    // Of every launch, or the kernel may not rely on it.
    auto index = static_cast<unsigned>(i);
    auto before = kernel.getArgAttrOfType<BoolAttr>(index, constantAttr);
    bool isConstant =
        region.space == QC_SPACE_WEIGHTS && (!before || before.getValue());
    kernel.setArgAttr(index, constantAttr,
                      BoolAttr::get(kernel.getContext(), isConstant));
  }
  plan.add(std::move(dispatch));
}

LogicalResult StepLowering::checkRows(Operation *op, WeightType type) {
  if (type.getPackedRows() == packedRows)
    return success();
  return op->emitOpError() << "weight " << type << " must be packed<"
                           << packedRows << "> for a GPU";
}

ArrayRef<MemoryRegion> StepLowering::quantize(const Place &input,
                                              const ActivationBlocks &layout) {
  for (const Quantized &known : quantized)
    if (known.buffer == input.region.buffer && known.layout == layout &&
        known.gamma == gammaOf(input))
      return known.regions;
  int64_t rowCount = input.perToken ? tokenRows() : 1;
  int64_t blockBytes = rowCount * layout.blocks * 4;
  SmallVector<MemoryRegion> regions = {
      input.region,
      plan.allocate(rowCount * layout.blocks * layout.paddedBlockK),
      plan.allocate(blockBytes), plan.allocate(blockBytes)};
  if (input.gamma) {
    regions.insert(regions.begin() + 1, *input.gamma);
    launch(normQuantizeKernel(ctx, layout, input.eps), 1, {1, 0}, regions,
           /*written=*/3);
  } else {
    launch(quantizeKernel(ctx, layout), quantizeGroups(ctx, layout),
           rows(input), regions, /*written=*/3);
  }
  regions.erase(regions.begin(), regions.end() - 3);
  quantized.push_back({input.region.buffer, gammaOf(input), layout, regions});
  return quantized.back().regions;
}

/// Whether weights group their inputs alike.
static bool areAlike(MatmulOp op) {
  return llvm::all_equal(
      llvm::map_range(op.getWeights().getTypes(), [](Type type) {
        return ActivationBlocks::get(cast<WeightType>(type));
      }));
}

MatmulSignature StepLowering::signature(MatmulOp op, size_t first,
                                        size_t count) const {
  MatmulSignature sig;
  sig.arithmetic = op.getArithmetic().value_or(Arithmetic::F32);
  sig.bias = !op.getBiases().empty();
  sig.residual = static_cast<bool>(op.getResidual());
  sig.gate = op.getGate();
  SmallVector<WeightType> types;
  for (Type type : op.getWeights().slice(first, count).getTypes())
    types.push_back(cast<WeightType>(type));
  sig.weight = types[0];
  size_t own = sig.gate ? 2 : 1;
  if (sig.gate)
    sig.second = types[1];
  sig.others.assign(types.begin() + own, types.end());
  return sig;
}

void StepLowering::launchProduct(MatmulOp op, const MatmulSignature &sig,
                                 size_t first,
                                 ArrayRef<MemoryRegion> activations,
                                 Kernel kernel, int64_t x, Map &map) {
  size_t count = sig.weights().size();
  bool isTiled = sig.tokens > 1; // else the input is one token's
  SmallVector<MemoryRegion> regions;
  if (isTiled)
    regions.push_back(state());
  for (Value weight : op.getWeights().slice(first, count))
    regions.push_back(map[weight].region);
  llvm::append_range(regions, activations);
  if (sig.bias)
    for (Value bias : op.getBiases().slice(first, count))
      regions.push_back(map[bias].region);
  if (sig.residual)
    regions.push_back(map[op.getResidual()].region);
  size_t outs = 1 + sig.others.size();
  size_t firstOut = sig.gate ? first / 2 : first;
  for (Value result : op.getResults().slice(firstOut, outs))
    regions.push_back(allocate(result, isTiled, map).region);
  uint32_t tile = isTiled ? static_cast<uint32_t>(sig.tokens) : 0;
  launch(kernel, x, {1, tile}, regions, outs);
}

bool StepLowering::canFuse(MatmulOp op) const {
  if (!oneToken || !ctx.fusedSteps ||
      op.getArithmetic().value_or(Arithmetic::F32) != Arithmetic::Int8)
    return false;
  // A second product of a gate, or others with outputs of their own.
  if (op.getGate() ? op.getWeights().size() != 2
                   : op.getResidual() && op.getWeights().size() > 1)
    return false;
  auto layout = ActivationBlocks::get(
      cast<WeightType>(op.getWeights().front().getType()));
  return canQuantizeInProduct(layout) && areAlike(op);
}

bool StepLowering::canFuseNorm(lm::RMSNormOp norm) const {
  if (norm.getWeight().getType().getDimSize(0) != columnsOf(norm))
    return false;
  SmallVector<Operation *> users(norm->getUsers());
  while (!users.empty()) {
    Operation *user = users.pop_back_val();
    if (isa<lm::LastTokenOp, tensor::CastOp>(user))
      users.append(user->user_begin(), user->user_end());
    else if (auto product = dyn_cast<MatmulOp>(user);
             !product || !canFuse(product) ||
             product.getResidual() == norm.getResult())
      return false;
  }
  return true;
}

bool StepLowering::canFuseRotary(lm::RotaryOp rotary) const {
  if (!oneToken || !rotary->hasOneUse())
    return false;
  auto attention = dyn_cast<lm::AttentionOp>(*rotary->user_begin());
  return attention && attention.getValue() != rotary.getResult() &&
         canFuseAttention(ctx, CacheLayout{attention.getCache().getType()});
}

bool StepLowering::lowerFused(MatmulOp op, Map &map) {
  if (!canFuse(op))
    return false;
  Place input = map[op.getInput()];
  MatmulSignature sig = signature(op, 0, op.getWeights().size());
  bool hasTables = chooseTables(ctx, sig);
  if (!hasTables)
    sig.chooseThreads(ctx.maxThreads);
  auto layout = ActivationBlocks::get(sig.weight);
  // Every workgroup prepares the input, unless there are so many that reading
  // it would take longer than starting a kernel. With tables there are few,
  // whose other work is long, but a thread's inputs must fit its registers.
  int64_t groups = hasTables ? tableGroups(sig) : sig.groups();
  int64_t mostInputBytes = hasTables ? 8 << 20 : 4 << 20;
  sig.quantizes = groups * layout.k * (input.gamma ? 8 : 4) <= mostInputBytes;
  SmallVector<MemoryRegion> activations;
  if (sig.quantizes) {
    activations.push_back(input.region);
    if (input.gamma) {
      sig.normEps = input.eps;
      activations.push_back(*input.gamma);
    }
  } else {
    llvm::append_range(activations, quantize(input, layout));
  }
  Kernel kernel =
      hasTables ? tableMatmulKernel(ctx, sig) : matmulKernel(ctx, sig);
  launchProduct(op, sig, 0, activations, kernel, groups, map);
  return true;
}

void StepLowering::lowerFewTokens(MatmulOp op, Map &map) {
  usesFewTokens = true;
  Place input = map[op.getInput()];
  size_t count = op.getWeights().size();
  size_t perKernel = op.getGate()                        ? 2
                     : areAlike(op) && !op.getResidual() ? count
                                                         : 1;
  for (size_t first = 0; first < count; first += perKernel) {
    MatmulSignature sig = signature(op, first, perKernel);
    sig.tokens = fewTokensTile;
    sig.threads = fewTokensThreads(ctx, sig);
    ArrayRef<MemoryRegion> codes =
        quantize(input, ActivationBlocks::get(sig.weight));
    launchProduct(op, sig, first, codes, fewTokensMatmulKernel(ctx, sig),
                  sig.groups(), map);
  }
}

LogicalResult StepLowering::lower(MatmulOp op, Map &map) {
  auto arithmetic = op.getArithmetic().value_or(Arithmetic::F32);
  if (arithmetic == Arithmetic::BF16)
    return op.emitOpError("has no GPU kernel in bf16 arithmetic, expected f32");
  Place input = map[op.getInput()];
  for (Value weight : op.getWeights())
    if (failed(checkRows(op, cast<WeightType>(weight.getType()))))
      return failure();
  bool int8 = arithmetic == Arithmetic::Int8;
  if (int8 && op.getGate() && !areAlike(op))
    return op.emitOpError(
        "weights of one matmul must group their inputs alike");
  if (lowerFused(op, map))
    return success();
  bool onMatrices = input.perToken && int8;
  if (ctx.tensorCores && onMatrices && isFew()) {
    lowerFewTokens(op, map);
    return success();
  }
  bool onTensorCores = ctx.tensorCores && onMatrices;
  // A gate needs both products in one kernel; otherwise weights are
  // independent.
  size_t perKernel = op.getGate() ? 2 : 1;
  for (size_t first = 0; first < op.getWeights().size(); first += perKernel) {
    MatmulSignature sig = signature(op, first, perKernel);
    int64_t cooperative =
        ctx.cooperative && onMatrices && maxTokens >= leastMatrixTokens
            ? cooperativeTokens(ctx, sig)
            : 0;
    sig.tokens = cooperative      ? cooperative
                 : onTensorCores  ? tensorTokens(sig)
                 : input.perToken ? tokenTile
                                  : 1;
    bool hasTables = chooseTables(ctx, sig);
    if (sig.tokens == 1 && !hasTables)
      sig.chooseThreads(ctx.maxThreads);
    ArrayRef<MemoryRegion> activations = input.region;
    if (int8)
      activations = quantize(input, ActivationBlocks::get(sig.weight));
    if (cooperative)
      launchProduct(op, sig, first, activations,
                    cooperativeMatmulKernel(ctx, sig), sig.groups(), map);
    else if (hasTables)
      launchProduct(op, sig, first, activations, tableMatmulKernel(ctx, sig),
                    tableGroups(sig), map);
    else if (onTensorCores)
      launchProduct(op, sig, first, activations, tensorMatmulKernel(ctx, sig),
                    (sig.groups() + 3) / 4, map);
    else
      launchProduct(op, sig, first, activations, matmulKernel(ctx, sig),
                    sig.groups(), map);
  }
  return success();
}

LogicalResult StepLowering::lower(lm::AttentionOp op, Map &map) {
  CacheLayout cache{op.getCache().getType()};
  Type element = cache.type.getElementType();
  if (!element.isF16() && !element.isF32() && !cache.isInt8())
    return op.emitOpError() << "has no GPU kernel for a KV cache of " << element
                            << ", expected f32, f16 or i8";
  if (cache.type.getHeadDim() % cache.perWord() != 0)
    return op.emitOpError() << "heads of " << cache.type.getHeadDim()
                            << " elements do not fill words of the KV cache";
  Place query = map[op.getQuery()];
  MemoryRegion layer = map[op.getCache()].region;
  int64_t headDim = cache.type.getHeadDim();
  int64_t heads = columnsOf(op.getResult()) / headDim;
  std::optional<int64_t> window;
  if (op.getWindow())
    window = *op.getWindow();
  if (oneToken && canFuseAttention(ctx, cache)) {
    Place key = map[op.getKey()];
    AttentionStep step;
    SmallVector<MemoryRegion> regions = {state(), query.region, key.region,
                                         map[op.getValue()].region};
    for (auto [place, columns] :
         {std::pair(&query, &step.queryTable), std::pair(&key, &step.keyTable)})
      if (place->rotary) {
        regions.push_back(*place->rotary);
        *columns = place->rotary->sizePerPosition / 4;
      }
    regions.push_back(layer);
    MemoryRegion out = allocate(op.getResult(), false, map).region;
    auto parts = static_cast<uint32_t>(attentionParts(heads));
    regions.push_back(
        parts > 1 ? plan.allocate(attentionPartBytes(cache, heads)) : out);
    launch(attentionStepKernel(ctx, cache, heads,
                               op.getScale().convertToDouble(), window, step),
           heads, {parts, 0}, regions, /*written=*/2);
    if (parts > 1)
      launch(attentionCombineKernel(ctx, cache, heads), heads, {1, 0},
             {regions.back(), out});
    return success();
  }
  launch(appendKernel(ctx, cache), cache.appendGroups(), rows(query),
         {state(), map[op.getKey()].region, map[op.getValue()].region, layer});
  MemoryRegion out = allocate(op.getResult(), query.perToken, map).region;
  double scale = op.getScale().convertToDouble();
  SmallVector<MemoryRegion> regions = {state(), query.region, layer, out};
  // Few tokens waste most of a tile.
  if (query.perToken && !isFew() && canAttendOnTensorCores(ctx, cache))
    launch(tensorAttentionKernel(ctx, cache, heads, scale, window), heads,
           {1, static_cast<uint32_t>(attentionTokens)}, regions);
  else
    launch(attentionKernel(ctx, cache, heads, scale, window), heads,
           rows(query), regions);
  return success();
}

LogicalResult StepLowering::lower(func::CallOp op, Map &map) {
  auto callee = symbols.lookup<func::FuncOp>(op.getCallee());
  if (!callee || callee.isExternal())
    return op.emitOpError()
           << "calls @" << op.getCallee() << ", which has no body";
  Map inner;
  for (auto [argument, operand] :
       llvm::zip_equal(callee.getArguments(), op.getOperands()))
    if (!operand.getType().isIndex())
      inner[argument] = map[operand];
  if (failed(lowerBody(callee, inner)))
    return failure();
  auto terminator = cast<func::ReturnOp>(callee.front().getTerminator());
  for (auto [result, value] :
       llvm::zip_equal(op.getResults(), terminator.getOperands()))
    map[result] = inner[value];
  return success();
}

LogicalResult StepLowering::lower(Operation *op, Map &map) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<MatmulOp, lm::AttentionOp, func::CallOp>(
          [&](auto concrete) { return lower(concrete, map); })
      .Case<func::ReturnOp, arith::ConstantOp>([&](auto) { return success(); })
      .Case([&](GetWeightOp get) -> LogicalResult {
        auto weight = symbols.lookup<WeightOp>(get.getWeight());
        WeightType type = get.getType();
        if (type.isMatrix() && !type.isPacked())
          return get.emitOpError("must be packed: run qc-pack-weights");
        MemoryRegion region;
        region.space = QC_SPACE_WEIGHTS;
        region.offset = weight.getComponent(0).getOffset();
        region.size = weight.getComponent(0).getLength();
        if (region.offset % QC_DEVICE_ALIGNMENT)
          return get.emitOpError()
                 << "lies at byte " << region.offset
                 << ", expected a multiple of " << QC_DEVICE_ALIGNMENT
                 << ": run qc-pack-weights{alignment=" << QC_DEVICE_ALIGNMENT
                 << "}";
        map[get].region = region;
        return success();
      })
      .Case([&](DequantizeOp dequantize) -> LogicalResult {
        WeightType type = dequantize.getWeight().getType();
        if (type.isMatrix())
          return dequantize.emitOpError(
              "of a matrix was not fused: run qc-fuse-dequant-matmul");
        if (formatSpelling(type.getFormat()) != "float<f32>")
          return dequantize.emitOpError(
              "of a vector must be f32: run qc-pack-weights");
        map[dequantize.getResult()] = Place(map[dequantize.getWeight()]);
        return success();
      })
      .Case([&](EmbeddingOp embedding) -> LogicalResult {
        WeightType type = embedding.getWeight().getType();
        if (failed(checkRows(embedding, type)))
          return failure();
        MemoryRegion weight = map[embedding.getWeight()].region;
        Place out = allocate(embedding.getResult(), !oneToken, map);
        launch(embeddingKernel(ctx, type), 1, rows(out),
               {state(), weight, out.region});
        return success();
      })
      .Case([&](lm::RMSNormOp norm) {
        int64_t group = norm.getWeight().getType().getDimSize(0);
        Place in = map[norm.getInput()];
        MemoryRegion gamma = map[norm.getWeight()].region;
        if (canFuseNorm(norm)) {
          Place &place = map[norm] = in;
          place.gamma = gamma;
          place.eps = norm.getEps().convertToDouble();
          return success();
        }
        Place out = allocate(norm, in.perToken, map);
        launch(rmsNormKernel(ctx, columnsOf(norm), group,
                             norm.getEps().convertToDouble()),
               columnsOf(norm) / group, rows(in),
               {in.region, gamma, out.region});
        return success();
      })
      .Case([&](lm::LayerNormOp norm) {
        Place in = map[norm.getInput()];
        MemoryRegion gamma = map[norm.getWeight()].region;
        MemoryRegion beta = map[norm.getBias()].region;
        Place out = allocate(norm, in.perToken, map);
        launch(layerNormKernel(ctx, columnsOf(norm),
                               norm.getEps().convertToDouble()),
               1, rows(in), {in.region, gamma, beta, out.region});
        return success();
      })
      .Case([&](lm::GatedActivationOp gated) {
        Place gate = map[gated.getGate()];
        MemoryRegion up = map[gated.getUp()].region;
        Place out = allocate(gated, gate.perToken, map);
        launch(gateKernel(ctx, columnsOf(gated), gated.getActivation()),
               elementGroups(columnsOf(gated)), rows(gate),
               {gate.region, up, out.region});
        return success();
      })
      .Case([&](arith::AddFOp add) -> LogicalResult {
        if (!isa<RankedTensorType>(add.getType()))
          return add.emitOpError("of scalars cannot be lowered");
        Place lhs = map[add.getLhs()];
        MemoryRegion rhs = map[add.getRhs()].region;
        Place out = allocate(add, lhs.perToken, map);
        launch(addKernel(ctx, columnsOf(add)), elementGroups(columnsOf(add)),
               rows(lhs), {lhs.region, rhs, out.region});
        return success();
      })
      .Case([&](lm::LastTokenOp last) {
        Place in = map[last.getInput()];
        if (!in.perToken) {
          map[last] = in;
          return success();
        }
        Place out = allocate(last, false, map);
        launch(lastTokenKernel(ctx, columnsOf(last)),
               elementGroups(columnsOf(last)), rows(out),
               {state(), in.region, out.region});
        return success();
      })
      .Case([&](lm::RotaryTableOp table) {
        map[table].region = tables.get(table.getRope());
        return success();
      })
      .Case([&](lm::RotaryOp rotary) {
        Place in = map[rotary.getInput()];
        MemoryRegion table = map[rotary.getTable()].region;
        if (canFuseRotary(rotary)) {
          (map[rotary] = in).rotary = table;
          return success();
        }
        Place out = allocate(rotary, in.perToken, map);
        launch(rotaryKernel(ctx, columnsOf(rotary), rotary.getHeadDim(),
                            columnsOf(rotary.getTable())),
               elementGroups(columnsOf(rotary)), rows(in),
               {state(), in.region, table, out.region});
        return success();
      })
      .Case([&](lm::CacheLayerOp layer) {
        int64_t bytes = CacheLayout{layer.getType()}.bytesPerPosition();
        MemoryRegion region;
        region.space = QC_SPACE_KV;
        region.offsetPerPosition = bytes * layer.getLayer();
        region.sizePerPosition = bytes;
        map[layer].region = region;
        return success();
      })
      .Case([&](tensor::CastOp cast) {
        map[cast] = Place(map[cast.getSource()]);
        return success();
      })
      .Default([](Operation *other) {
        return other->emitOpError("has no GPU kernel");
      });
}

LogicalResult StepLowering::lowerBody(func::FuncOp function, Map &map) {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitError("cannot lower control flow between operations");
  for (Operation &op : function.front())
    if (failed(lower(&op, map)))
      return failure();
  return success();
}

bool StepLowering::addTop(bool advances) {
  int64_t vocabulary = columnsOf(logits);
  if (vocabulary <= QC_TOP_CANDIDATES)
    return false;
  MemoryRegion from;
  from.space = QC_SPACE_LOGITS;
  from.size = vocabulary * 4;
  int64_t groups = topGroups(vocabulary);
  Kernel kernel = topKernel(ctx, vocabulary);
  for (;;) {
    MemoryRegion to;
    to.space = QC_SPACE_TOP;
    to.size = sizeof(QCDeviceTop);
    if (groups > 1)
      to = plan.allocate(groups * static_cast<int64_t>(sizeof(QCDeviceTop)));
    launch(kernel, groups, {1, 0}, {from, to});
    from = to;
    if (groups == 1)
      break;
    kernel = mergeTopKernel(ctx, groups);
    groups = topGroups(groups * QC_TOP_CANDIDATES);
  }
  if (advances)
    launch(advanceKernel(ctx), 1, {1, 0}, {from, state()});
  return true;
}

LogicalResult StepLowering::run(func::FuncOp entry) {
  FunctionType type = entry.getFunctionType();
  unsigned numInputs = type.getNumInputs();
  auto cache = numInputs == 3 || numInputs == 4
                   ? dyn_cast<lm::KVCacheType>(type.getInput(2))
                   : lm::KVCacheType();
  // Behind lm-place-layers the first layers are the CPU's.
  auto hidden = numInputs == 4 ? dyn_cast<RankedTensorType>(type.getInput(3))
                               : RankedTensorType();
  if (!cache || type.getNumResults() != 1 || (numInputs == 4 && !hidden) ||
      !isa<RankedTensorType>(type.getInput(0)) || !type.getInput(1).isIndex())
    return entry.emitError()
           << "has type " << type
           << ", expected (tensor<?xi32>, index, !lm.kv_cache<...>[, "
              "tensor<?xHxf32>]) -> tensor<?xVxf32>";
  auto terminator = cast<func::ReturnOp>(entry.front().getTerminator());
  logits = terminator.getOperand(0);
  while (auto cast = logits.getDefiningOp<tensor::CastOp>())
    logits = cast.getSource();
  if (!isa_and_nonnull<MatmulOp>(logits.getDefiningOp()))
    return terminator.emitOpError("must return the result of a qc.matmul");
  Map map;
  if (hidden) {
    columns = hidden.getDimSize(1);
    int64_t rows =
        (ctx.maxTokens + QC_INPUT_TILE - 1) / QC_INPUT_TILE * QC_INPUT_TILE;
    Place &input = map[entry.getArgument(3)];
    input.perToken = !oneToken;
    input.region.space = QC_SPACE_INPUT;
    input.region.size = rows * columns * 4;
  }
  if (failed(lowerBody(entry, map)))
    return failure();
  auto layer =
      lm::KVCacheType::get(entry.getContext(), cache.getShape().drop_front(),
                           cache.getElementType());
  cacheBytes = CacheLayout{layer}.bytesPerPosition() * cache.getShape().front();
  return success();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct LowerToGPUKernelsPass
    : mlir::qc::gpu::impl::LowerToGPUKernelsPassBase<LowerToGPUKernelsPass> {
  using LowerToGPUKernelsPassBase::LowerToGPUKernelsPassBase;
  void runOnOperation() override;
};
} // namespace

/// QCDeviceTest of each format that the kernels decode.
static ArrayAttr addTests(KernelContext &ctx) {
  Builder b(ctx.module.getContext());
  llvm::SetVector<Attribute> formats;
  for (auto weight : ctx.module.getOps<WeightOp>())
    if (WeightType type = weight.getWeightType(); type.isPacked())
      formats.insert(type.getFormat());
  SmallVector<Attribute> list;
  for (Attribute attribute : formats) {
    auto format = cast<FormatAttrInterface>(attribute);
    ::qc::HostWeight weight =
        format.getHostFormat()->exhaustiveWeight(/*quick=*/true);
    auto type = WeightType::get(b.getContext(), {weight.n, weight.k}, format,
                                packedRows);
    NamedAttrList attrs;
    attrs.set("format", b.getStringAttr(formatSpelling(format)));
    attrs.set("n", b.getI64IntegerAttr(weight.n));
    attrs.set("k", b.getI64IntegerAttr(weight.k));
    attrs.set("rows", b.getI64IntegerAttr(packedRows));
    attrs.set("kernel", b.getStringAttr(decodeKernel(ctx, type).getName()));
    list.push_back(attrs.getDictionary(b.getContext()));
  }
  return b.getArrayAttr(list);
}

static ArrayAttr describe(mlir::gpu::GPUModuleOp kernels) {
  Builder b(kernels.getContext());
  SmallVector<Attribute> list;
  for (auto kernel : kernels.getOps<Kernel>()) {
    NamedAttrList attrs;
    attrs.set("name", b.getStringAttr(kernel.getName()));
    attrs.set("threads", b.getI64IntegerAttr((*kernel.getKnownBlockSize())[0]));
    attrs.set("buffers", b.getI64IntegerAttr(kernel.getNumArguments()));
    if (kernel->hasAttr(programmaticAttr))
      attrs.set("waits", b.getUnitAttr());
    if (auto subgroup =
            kernel->getAttrOfType<IntegerAttr>(subgroupSizeAttrName))
      attrs.set("subgroup", subgroup);
    if (auto bytes = kernel->getAttrOfType<IntegerAttr>(sharedAttr))
      attrs.set("shared", bytes);
    list.push_back(attrs.getDictionary(b.getContext()));
  }
  return b.getArrayAttr(list);
}

void LowerToGPUKernelsPass::runOnOperation() {
  ModuleOp module = getOperation();
  MLIRContext *context = &getContext();
  if (maxTokens < 1 || maxTokens > 65536) {
    module.emitError() << "max-tokens must lie in [1, 65536], found "
                       << static_cast<int64_t>(maxTokens);
    return signalPassFailure();
  }
  auto dot = llvm::StringSwitch<std::optional<IntegerDot>>(integerDot)
                 .Case("emulated", IntegerDot::Emulated)
                 .Case("spirv", IntegerDot::SPIRV)
                 .Case("nvvm", IntegerDot::NVVM)
                 .Default(std::nullopt);
  if (!dot) {
    module.emitError() << "integer-dot must be emulated, spirv or nvvm, found '"
                       << integerDot << "'";
    return signalPassFailure();
  }
  if (maxThreads < workgroupThreads || maxThreads > 1024 ||
      !llvm::isPowerOf2_64(maxThreads)) {
    module.emitError() << "max-threads must be a power of two from "
                       << workgroupThreads << " to 1024, found "
                       << static_cast<int64_t>(maxThreads);
    return signalPassFailure();
  }
  if (warpSize != 0 && warpSize != rowsPerGroup) {
    module.emitError() << "warp-size must be 0 or " << rowsPerGroup
                       << ", found " << static_cast<int64_t>(warpSize);
    return signalPassFailure();
  }
  std::optional<CooperativeShape> cooperative;
  if (ArrayRef<int64_t> sizes(*cooperativeMatrix); !sizes.empty()) {
    if (!isCooperativeShape(sizes)) {
      module.emitError()
          << "cooperative-matrix must be M,N,K and the size of a subgroup that "
             "tile 32 rows, 32 tokens and 64 inputs evenly";
      return signalPassFailure();
    }
    cooperative = {sizes[0], sizes[1], sizes[2], sizes[3]};
  }
  OpBuilder b(context);
  b.setInsertionPointToEnd(module.getBody());
  auto kernels = mlir::gpu::GPUModuleOp::create(b, module.getLoc(), "kernels");
  TargetFeatures target;
  target.lanes = 1;
  target.fma = true;
  target.words = true;
  target.f16 = target.permute = *dot == IntegerDot::NVVM;
  target.reproducible = reproducible;
  KernelContext ctx{module, kernels, target, maxTokens, *dot};
  // Both add up the parts of K in another order.
  if (!reproducible) {
    ctx.maxThreads = maxThreads;
    ctx.tensorCores = tensorCores;
    ctx.sharedBytes = sharedBytes;
    ctx.wideLoads = wideLoads;
    ctx.warpSize = warpSize;
    ctx.fusedSteps = ctx.hasWarps() && fuseSteps;
    ctx.cooperative = cooperative;
    ctx.subgroupReductions = subgroupReductions;
    ctx.target.wideLoads = wideLoads;
  }
  SymbolTable symbols(module);
  RotaryTables tables;
  NamedAttrList steps;
  int64_t arena = QC_DEVICE_ALIGNMENT, cacheBytes = 0, inputColumns = 0;
  SmallVector<func::FuncOp> functions;
  for (auto function : module.getOps<func::FuncOp>())
    functions.push_back(function);
  for (StringRef name : {"decode", "prefill_few", "score_few", "prefill",
                         "score", "decode_top", "decode_greedy"}) {
    bool chooses = name.starts_with("decode_"), isFew = name.ends_with("_few");
    auto entry = symbols.lookup<func::FuncOp>(name.split('_').first);
    if (!entry || (isFew && (!ctx.tensorCores || maxTokens <= QC_FEW_TOKENS)))
      continue;
    DispatchPlan plan;
    bool oneToken = name.starts_with("decode");
    // Kernels of many tokens run long enough to be started one by one.
    ctx.programmatic = programmaticLaunch && (oneToken || isFew);
    StepLowering lowering(ctx, symbols, tables, plan, oneToken,
                          isFew ? QC_FEW_TOKENS
                                : static_cast<int64_t>(maxTokens));
    if (failed(lowering.run(entry)))
      return signalPassFailure();
    if (isFew && !lowering.hasFewTokens())
      continue;
    inputColumns = lowering.inputColumns();
    bool advances = name == "decode_greedy";
    // What follows a token begins on the CPU, if the first layers are there.
    if (chooses && ((advances && inputColumns) || !lowering.addTop(advances)))
      continue;
    arena = std::max(arena, plan.finish());
    cacheBytes = lowering.cacheBytesPerPosition();
    steps.set(name, plan.toAttribute(context));
    numDispatches += plan.get().size();
  }
  bool int8 = false;
  for (func::FuncOp function : functions) {
    function.walk(
        [&](MatmulOp op) { int8 |= op.getArithmetic() == Arithmetic::Int8; });
    function.erase();
  }
  ctx.programmatic = false;
  ArrayAttr tests = addTests(ctx);

  // Targets have no erf.
  RewritePatternSet patterns(context);
  if (reproducible)
    populateReproducibleArithmeticPatterns(patterns);
  else
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return name == math::ErfOp::getOperationName();
    });
  if (failed(applyPatternsGreedily(kernels, std::move(patterns))))
    return signalPassFailure();
  if (reproducible && failed(verifyReproducible(kernels)))
    return signalPassFailure();

  SmallVector<Attribute> rotary;
  for (const RotaryTables::Table &table : tables.tables) {
    SmallVector<float> frequencies;
    for (double f : table.rope.getInverseFrequencies())
      frequencies.push_back(static_cast<float>(f));
    NamedAttrList attrs;
    attrs.set("offset_per_position",
              b.getI64IntegerAttr(table.offsetPerPosition));
    attrs.set("frequencies", b.getDenseF32ArrayAttr(frequencies));
    rotary.push_back(attrs.getDictionary(context));
  }
  NamedAttrList device;
  device.set("kernels", describe(kernels));
  device.set("steps", steps.getDictionary(context));
  device.set("rotary", b.getArrayAttr(rotary));
  device.set("tests", tests);
  device.set("arena_bytes", b.getI64IntegerAttr(arena));
  if (int8)
    device.set("int8_activations", b.getUnitAttr());
  device.set("kv_bytes_per_position", b.getI64IntegerAttr(cacheBytes));
  device.set("table_bytes_per_position",
             b.getI64IntegerAttr(tables.bytesPerPosition));
  device.set("input_columns", b.getI64IntegerAttr(inputColumns));
  device.set("max_tokens", b.getI64IntegerAttr(maxTokens));
  module->setAttr("qc.device", device.getDictionary(context));
  module->setAttr("qc.max_tokens", b.getI64IntegerAttr(maxTokens));
  module->setAttr("qc.kv_bytes_per_token", b.getI64IntegerAttr(cacheBytes));
  module->setAttr("qc.arena_bytes", b.getI64IntegerAttr(arena));
  module->setAttr(mlir::gpu::GPUDialect::getContainerModuleAttrName(),
                  b.getUnitAttr());
  numKernels += llvm::range_size(kernels.getOps<Kernel>());
}
