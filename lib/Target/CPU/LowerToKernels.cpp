//===- LowerToKernels.cpp - lm/qc functions to kernel calls ---------------===//
//
// A lowered function takes its tensors as memrefs (results become trailing
// output arguments), KV caches as memory, element offset and capacity,
// weights as byte offsets, and then its environment:
//   weights memref<?xi8>, arena memref<?xi8>, frame index (byte offset of its
//   buffers in the arena), thread, threads index, team !llvm.ptr
//
//===----------------------------------------------------------------------===//
#include "EntryPoints.h"
#include "Kernels.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "qc/Target/CPU/Passes.h"
#include "qc/Target/CPU/TargetMachine.h"
#include "qc/Target/Reproducible/Arithmetic.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::qc::cpu {
#define GEN_PASS_DEF_LOWERTOCPUKERNELSPASS
#include "qc/Target/CPU/Passes.h.inc"
} // namespace mlir::qc::cpu

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

namespace {

/// Lowers one function.
class FunctionLowering {
public:
  FunctionLowering(KernelContext &ctx, func::FuncOp source,
                   SymbolTable &symbols, EntryPointList &entries,
                   int64_t &calls, bool useOneDNN)
      : ctx(ctx), source(source), symbols(symbols), entries(entries),
        calls(calls), useOneDNN(useOneDNN),
        b(source.getLoc(), source.getContext(), ctx.target) {}

  LogicalResult run();

private:
  struct Cache {
    Value memory, offset, capacity;
  };
  struct Prepared {
    Value input;
    ActivationLayout layout;
    SmallVector<Value> buffers;
  };

  LogicalResult createFunction();
  LogicalResult lower(Operation *op);
  LogicalResult checkRows(Operation *op, WeightType type);
  LogicalResult lower(MatmulOp op);
  SmallVector<Value> lookUp(MatmulOp op, const MatmulSignature &sig,
                            ValueRange activations);
  LogicalResult lower(lm::AttentionOp op);
  LogicalResult lower(func::CallOp op);

  Value buffer(Value tensor) { return map.lookup(tensor); }
  /// Where to write `tensor`: an output argument or a new buffer.
  Value destination(Value tensor);
  Value allocate(Value rows, int64_t columns, Type type, int64_t rowTile = 1);
  SmallVector<Value> prepare(Value input, const ActivationLayout &layout);
  /// Calls a kernel with this thread's share and meets the other threads.
  void call(func::FuncOp kernel, SmallVector<Value> operands);
  void barrier();
  void allocateTables();

  KernelContext &ctx;
  func::FuncOp source;
  SymbolTable &symbols;
  EntryPointList &entries;
  int64_t &calls;
  bool useOneDNN;
  KernelBuilder b;
  func::FuncOp function;
  DenseMap<Value, Value>
      map; ///< tensors to memrefs, weights and vectors to offsets
  DenseMap<Value, Cache> caches;
  DenseMap<Value, Value> outputs;
  SmallVector<Prepared> prepared;
  Value tokens, weights, arena, frame, thread, threads, team;
  /// Memory for tables of partial sums, and where the thread's own begin: the
  /// same for all weights, so that they stay in its core's cache.
  struct {
    Value memory, offset;
  } tables;
};

} // namespace

static MemRefType bufferType(RankedTensorType tensor) {
  return MemRefType::get(tensor.getShape(), tensor.getElementType());
}

LogicalResult FunctionLowering::createFunction() {
  SmallVector<Type> types;
  Type idx = b.getIndexType();
  for (Type type : source.getArgumentTypes()) {
    if (auto tensor = dyn_cast<RankedTensorType>(type))
      types.push_back(bufferType(tensor));
    else if (auto cache = dyn_cast<lm::KVCacheType>(type))
      types.append(
          {MemRefType::get({ShapedType::kDynamic}, cache.getElementType()), idx,
           idx});
    else if (isa<WeightType>(type) || type.isIndex())
      types.push_back(idx);
    else
      return source.emitError() << "cannot lower an argument of type " << type;
  }
  for (Type type : source.getResultTypes()) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor)
      return source.emitError() << "cannot lower a result of type " << type;
    types.push_back(bufferType(tensor));
  }
  types.append({b.bytes(), b.bytes(), idx, idx, idx,
                LLVM::LLVMPointerType::get(b.getContext())});

  std::string name = source.getName().str();
  symbols.remove(source);
  source.setName(name + "$tensors");
  b.setInsertionPoint(source);
  function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
  function.setPrivate();
  b.setInsertionPointToStart(function.addEntryBlock());

  unsigned next = 0;
  auto argument = [&] { return function.getArgument(next++); };
  for (BlockArgument old : source.getArguments()) {
    if (isa<lm::KVCacheType>(old.getType())) {
      Value memory = argument(), offset = argument();
      caches[old] = {memory, offset, argument()};
      continue;
    }
    Value value = argument();
    map[old] = value;
    if (auto tensor = dyn_cast<RankedTensorType>(old.getType()))
      if (tensor.isDynamicDim(0) && !tokens)
        tokens = b.dim(value, 0);
  }
  auto terminator = cast<func::ReturnOp>(source.front().getTerminator());
  for (Value result : terminator.getOperands()) {
    Value out = argument();
    if (isa<BlockArgument>(result) || !outputs.try_emplace(result, out).second)
      return terminator.emitError(
          "cannot return an argument, or a value twice");
  }
  weights = argument();
  arena = argument();
  frame = argument();
  thread = argument();
  threads = argument();
  team = argument();
  function.setArgAttr(function.getNumArguments() - 5, "qc.arena",
                      b.getUnitAttr());
  function.setArgAttr(function.getNumArguments() - 4, "qc.frame",
                      b.getUnitAttr());
  if (!tokens)
    tokens = b.index(1);
  return success();
}

/// `rows` is a multiple of `rowTile`.
Value FunctionLowering::allocate(Value rows, int64_t columns, Type type,
                                 int64_t rowTile) {
  auto alloc =
      memref::AllocOp::create(b, b.matrix(columns, type), ValueRange{rows});
  if (rowTile > 1)
    alloc->setAttr("qc.row_tile", b.getI64IntegerAttr(rowTile));
  return alloc;
}

Value FunctionLowering::destination(Value tensor) {
  auto it = outputs.find(tensor);
  Value memory;
  if (it != outputs.end()) {
    memory = it->second;
  } else {
    auto type = bufferType(cast<RankedTensorType>(tensor.getType()));
    SmallVector<Value> sizes;
    if (type.isDynamicDim(0))
      sizes.push_back(tokens);
    memory = memref::AllocOp::create(b, type, sizes);
  }
  map[tensor] = memory;
  return memory;
}

void FunctionLowering::allocateTables() {
  int64_t largest = 0, maxBlocks = 0, maxBytes = 0;
  source.walk([&](MatmulOp op) {
    for (Value weight : op.getWeights())
      if (auto t =
              TableLayout::get(ctx.target, cast<WeightType>(weight.getType()),
                               op.getArithmetic().value_or(Arithmetic::F32))) {
        largest = std::max(largest, t->totalBytes());
        maxBlocks = std::max(maxBlocks, t->blocks);
        maxBytes = std::max(maxBytes, t->blockBytes());
      }
  });
  if (largest == 0)
    return;
  int64_t bytes =
      TableLayout::maxShares * (maxBlocks + TableLayout::maxParts) * maxBytes;
  tables.memory = memref::CastOp::create(
      b, b.bytes(),
      memref::AllocOp::create(b, MemRefType::get({bytes}, b.getI8Type())));
  Value parts = b.min(threads, b.index(TableLayout::maxParts));
  // No weight has more K blocks a part: it has maxBlocks or fewer of them.
  Value slot =
      b.div(b.add(b.index(maxBlocks), b.sub(parts, b.index(1))), parts);
  tables.offset = b.mul(b.mul(slot, maxBytes), thread);
}

void FunctionLowering::barrier() {
  func::CallOp::create(b, "qc_barrier", TypeRange{}, ValueRange{team});
}

void FunctionLowering::call(func::FuncOp kernel, SmallVector<Value> operands) {
  operands.append({thread, threads});
  // Kernels are generic in the number of tokens.
  for (auto [operand, type] :
       llvm::zip_equal(operands, kernel.getArgumentTypes()))
    if (operand.getType() != type)
      operand = memref::CastOp::create(b, type, operand);
  func::CallOp::create(b, kernel, operands);
  barrier();
  ++calls;
}

SmallVector<Value> FunctionLowering::prepare(Value input,
                                             const ActivationLayout &layout) {
  Value x = buffer(input);
  if (!layout.needsPreparation())
    return {x};
  for (const Prepared &p : prepared)
    if (p.input == input && p.layout == layout)
      return p.buffers;
  bool isDynamic = cast<RankedTensorType>(input.getType()).isDynamicDim(0);
  Value rows = activationRows(b, isDynamic ? tokens : b.index(1));
  auto add = [&, tile = activationRowTile(ctx.target)](int64_t columns,
                                                       Type type) {
    return allocate(rows, columns, type, tile);
  };
  SmallVector<Value> buffers;
  if (layout.arithmetic == Arithmetic::Int8)
    buffers = {add(layout.paddedK(), b.getI8Type()),
               add(layout.numBlocks(), b.getF32Type()),
               add(layout.numBlocks(), b.getI32Type())};
  else
    buffers = {add(layout.paddedK(), layout.arithmetic == Arithmetic::BF16
                                         ? Type(b.getBF16Type())
                                         : Type(b.getF32Type()))};
  SmallVector<Value> operands = {x};
  operands.append(buffers);
  call(prepareKernel(ctx, layout), operands);
  prepared.push_back({input, layout, buffers});
  return buffers;
}

LogicalResult FunctionLowering::checkRows(Operation *op, WeightType type) {
  int64_t rows = type.getPackedRows();
  if (rows > 0 && rows % ctx.target.lanes == 0)
    return success();
  return op->emitOpError() << "weight " << type << " must be packed<"
                           << type.getFormat().getRowsPerBlock(ctx.target.lanes)
                           << "> for this CPU";
}

/// One token: partial outputs of each weight; more tokens do without.
SmallVector<Value> FunctionLowering::lookUp(MatmulOp op,
                                            const MatmulSignature &sig,
                                            ValueRange activations) {
  SmallVector<Value> partials;
  Value isOne =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, tokens, b.index(1));
  for (WeightType type : sig.weights)
    partials.push_back(memref::CastOp::create(
        b, b.matrix(type.getN()),
        memref::AllocOp::create(
            b, MemRefType::get({TableLayout::maxParts, type.getN()},
                               b.getF32Type()))));
  b.ifThen(isOne, [&] {
    for (auto [weight, type, partial] :
         llvm::zip_equal(op.getWeights(), sig.weights, partials)) {
      SmallVector<Value> operands = {weights, buffer(weight)};
      operands.append(activations.begin(), activations.end());
      operands.append({tables.memory, tables.offset, partial, thread, threads});
      func::CallOp::create(b, lookupKernel(ctx, type), operands);
      ++calls;
    }
    barrier();
  });
  return partials;
}

LogicalResult FunctionLowering::lower(MatmulOp op) {
  MatmulSignature sig;
  sig.arithmetic = supported(
      op.getArithmetic().value_or(Arithmetic::F32),
      cast<WeightType>(op.getWeights().front().getType()), ctx.target);
  sig.bias = !op.getBiases().empty();
  sig.residual = static_cast<bool>(op.getResidual());
  sig.gate = op.getGate();
  for (Value weight : op.getWeights()) {
    auto type = cast<WeightType>(weight.getType());
    if (failed(checkRows(op, type)))
      return failure();
    sig.weights.push_back(type);
    entries.addWeight(type, sig.arithmetic);
  }
  sig.tables = llvm::all_of(sig.weights, [&](WeightType type) {
    return TableLayout::get(ctx.target, type, sig.arithmetic).has_value();
  });
  // Formats in one matmul share a tile of tokens: the first one's.
  sig.tuning = ctx.tuning.get(sig.weights.front(), sig.arithmetic);
  auto layout =
      ActivationLayout::get(sig.weights.front(), sig.arithmetic, sig.tuning);
  for (WeightType type : sig.weights)
    if (ActivationLayout::get(type, sig.arithmetic, sig.tuning) != layout)
      return op.emitOpError(
          "weights of one matmul must group their inputs alike");
  sig.oneDNN = useOneDNN && llvm::any_of(sig.weights, [&](WeightType type) {
                 return hasOneDNNLayout(type, sig.arithmetic);
               });
  SmallVector<Value> operands = {weights};
  operands.append(prepare(op.getInput(), layout));
  size_t numInputs = operands.size() - 1;
  if (sig.oneDNN)
    operands.push_back(buffer(op.getInput()));
  for (Value weight : op.getWeights())
    operands.push_back(buffer(weight));
  if (sig.tables)
    operands.append(lookUp(op, sig, ArrayRef(operands).slice(1, numInputs)));
  for (Value bias : op.getBiases())
    operands.push_back(buffer(bias));
  if (sig.residual)
    operands.push_back(buffer(op.getResidual()));
  for (Value result : op.getResults())
    operands.push_back(destination(result));
  if (sig.gate)
    operands.push_back(allocate(tokens, sig.weights[1].getN(), b.getF32Type()));
  operands.push_back(team);
  call(fusedMatmulKernel(ctx, sig), operands);
  return success();
}

LogicalResult FunctionLowering::lower(lm::AttentionOp op) {
  Cache cache = caches.lookup(op.getCache());
  auto type = op.getCache().getType();
  Value position = buffer(op.getPosition());
  call(appendKernel(ctx, type),
       {buffer(op.getKey()), buffer(op.getValue()), cache.memory, cache.offset,
        cache.capacity, position});
  int64_t heads =
      cast<RankedTensorType>(op.getType()).getDimSize(1) / type.getHeadDim();
  std::optional<int64_t> window;
  if (op.getWindow())
    window = *op.getWindow();
  call(attentionKernel(ctx, type, heads, op.getScale().convertToDouble(),
                       window),
       {buffer(op.getQuery()), cache.memory, cache.offset, cache.capacity,
        position, destination(op.getResult())});
  return success();
}

LogicalResult FunctionLowering::lower(func::CallOp op) {
  SmallVector<Value> operands;
  for (Value operand : op.getOperands()) {
    if (isa<lm::KVCacheType>(operand.getType())) {
      Cache cache = caches.lookup(operand);
      operands.append({cache.memory, cache.offset, cache.capacity});
    } else {
      operands.push_back(buffer(operand));
    }
  }
  for (Value result : op.getResults())
    operands.push_back(destination(result));
  // qc-plan-memory moves the callee's frame behind this one.
  operands.append({weights, arena, frame, thread, threads, team});
  func::CallOp::create(b, op.getCallee(), TypeRange{}, operands);
  return success();
}

LogicalResult FunctionLowering::lower(Operation *op) {
  auto columns = [](Value v) {
    return cast<RankedTensorType>(v.getType()).getDimSize(1);
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<MatmulOp, lm::AttentionOp, func::CallOp>(
          [&](auto concrete) { return lower(concrete); })
      .Case([&](func::ReturnOp) {
        func::ReturnOp::create(b);
        return success();
      })
      .Case([&](arith::ConstantOp constant) {
        map[constant] = b.clone(*constant)->getResult(0);
        return success();
      })
      .Case([&](GetWeightOp get) -> LogicalResult {
        auto weight = symbols.lookup<WeightOp>(get.getWeight());
        WeightType type = get.getType();
        if (type.isMatrix() && !type.isPacked())
          return get.emitOpError("must be packed: run qc-pack-weights");
        map[get] = b.index(weight.getComponent(0).getOffset());
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
        map[dequantize.getResult()] = buffer(dequantize.getWeight());
        return success();
      })
      .Case([&](EmbeddingOp embedding) -> LogicalResult {
        WeightType type = embedding.getWeight().getType();
        if (failed(checkRows(embedding, type)))
          return failure();
        entries.addDecode(type);
        call(embeddingKernel(ctx, type), {buffer(embedding.getIds()), weights,
                                          buffer(embedding.getWeight()),
                                          destination(embedding.getResult())});
        return success();
      })
      .Case([&](lm::RMSNormOp norm) {
        call(rmsNormKernel(ctx, columns(norm),
                           norm.getWeight().getType().getDimSize(0),
                           norm.getEps().convertToDouble()),
             {buffer(norm.getInput()), weights, buffer(norm.getWeight()),
              destination(norm)});
        return success();
      })
      .Case([&](lm::LayerNormOp norm) {
        call(layerNormKernel(ctx, columns(norm),
                             norm.getEps().convertToDouble()),
             {buffer(norm.getInput()), weights, buffer(norm.getWeight()),
              buffer(norm.getBias()), destination(norm)});
        return success();
      })
      .Case([&](lm::GatedActivationOp gated) {
        call(gateKernel(ctx, columns(gated), gated.getActivation()),
             {buffer(gated.getGate()), buffer(gated.getUp()),
              destination(gated)});
        return success();
      })
      .Case([&](arith::AddFOp add) -> LogicalResult {
        if (!isa<RankedTensorType>(add.getType()))
          return add.emitOpError("of scalars cannot be lowered");
        call(addKernel(ctx, columns(add)),
             {buffer(add.getLhs()), buffer(add.getRhs()), destination(add)});
        return success();
      })
      .Case([&](lm::LastTokenOp last) {
        call(lastTokenKernel(ctx, columns(last)),
             {buffer(last.getInput()), destination(last)});
        return success();
      })
      .Case([&](lm::RotaryTableOp table) {
        call(rotaryTableKernel(ctx, table.getRope()),
             {buffer(table.getPosition()), destination(table)});
        return success();
      })
      .Case([&](lm::RotaryOp rotary) {
        call(rotaryKernel(ctx, columns(rotary), rotary.getHeadDim(),
                          columns(rotary.getTable())),
             {buffer(rotary.getInput()), buffer(rotary.getTable()),
              destination(rotary)});
        return success();
      })
      .Case([&](lm::CacheLayerOp layer) {
        Cache cache = caches.lookup(layer.getCache());
        auto type = layer.getType();
        // Keys and values of all heads.
        Value size = b.mul(b.div(cache.capacity, cacheTile),
                           2 * type.getHeads() * cacheTileElements(type));
        caches[layer] = {cache.memory,
                         b.add(cache.offset, b.mul(size, layer.getLayer())),
                         cache.capacity};
        return success();
      })
      .Case([&](tensor::CastOp cast) {
        auto to = bufferType(llvm::cast<RankedTensorType>(cast.getType()));
        Value value = buffer(cast.getSource());
        map[cast] = memref::CastOp::create(b, to, value);
        return success();
      })
      .Default([](Operation *other) {
        return other->emitOpError("has no CPU kernel");
      });
}

LogicalResult FunctionLowering::run() {
  if (!llvm::hasSingleElement(source.getBody()))
    return source.emitError("cannot lower control flow between operations");
  if (failed(createFunction()))
    return failure();
  b.setInsertionPointToEnd(&function.front());
  allocateTables();
  for (Operation &op : source.front()) {
    b.setLoc(op.getLoc());
    b.setInsertionPointToEnd(&function.front());
    if (failed(lower(&op)))
      return failure();
  }
  return success();
}

namespace {

/// Without the instruction, math.fma would become a call of libm.
struct ExpandFma : OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::FmaOp op,
                                PatternRewriter &rewriter) const override {
    Value product =
        arith::MulFOp::create(rewriter, op.getLoc(), op.getA(), op.getB());
    rewriter.replaceOpWithNewOp<arith::AddFOp>(op, product, op.getC());
    return success();
  }
};

struct LowerToCPUKernelsPass
    : cpu::impl::LowerToCPUKernelsPassBase<LowerToCPUKernelsPass> {
  using LowerToCPUKernelsPassBase::LowerToCPUKernelsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::Expected<CPU> cpu = CPU::get(mcpu);
    if (!cpu) {
      module.emitError() << llvm::toString(cpu.takeError());
      return signalPassFailure();
    }
    if (maxTokens < 1 || maxTokens > 65536) {
      module.emitError() << "max-tokens must lie in [1, 65536], found "
                         << static_cast<int64_t>(maxTokens);
      return signalPassFailure();
    }
    if (prefillBackend != "generated" && prefillBackend != "onednn") {
      module.emitError() << "prefill-backend must be generated or onednn, "
                            "found '"
                         << prefillBackend << "'";
      return signalPassFailure();
    }
    bool useOneDNN = prefillBackend == "onednn";
    if (useOneDNN && reproducible) {
      module.emitError("prefill-backend=onednn sums in another order: expected "
                       "generated with reproducible");
      return signalPassFailure();
    }
    if (reproducible) {
      cpu->vectors.reproducible = true;
      cpu->vectors.amx = cpu->vectors.amxBF16 = cpu->vectors.bf16 = false;
    }
    llvm::Expected<TuningTable> table =
        TuningTable::parse(tuning, cpu->vectors);
    if (!table) {
      module.emitError() << llvm::toString(table.takeError());
      return signalPassFailure();
    }
    KernelContext ctx{module, cpu->vectors, std::move(*table)};
    SymbolTable symbols(module);
    EntryPointList entries;
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    if (!symbols.lookup("qc_barrier"))
      func::FuncOp::create(b, module.getLoc(), "qc_barrier",
                           b.getFunctionType({pointer}, {}))
          .setPrivate();
    if (!symbols.lookup("qc_claim")) {
      Type i64 = b.getI64Type();
      func::FuncOp::create(
          b, module.getLoc(), "qc_claim",
          b.getFunctionType({pointer, i64, i64, i64, i64}, {i64}))
          .setPrivate();
    }

    SmallVector<func::FuncOp> sources;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isExternal())
        sources.push_back(function);
    int64_t calls = 0;
    entries.collectInterface(sources);
    for (func::FuncOp source : sources)
      if (failed(
              FunctionLowering(ctx, source, symbols, entries, calls, useOneDNN)
                  .run()))
        return signalPassFailure();
    if (useOneDNN && !module.lookupSymbol("qc_onednn_matmul_f32")) {
      module.emitError("prefill-backend=onednn: no matmul has f32 weights with "
                       "a multiple of 16 inputs, packed<16> (AVX-512)");
      return signalPassFailure();
    }
    if (failed(entries.emit(ctx, symbols, maxTokens)))
      return signalPassFailure();
    for (func::FuncOp source : sources)
      source.erase();

    // exp, tanh and erf in vector registers; sin and cos stay exact calls.
    RewritePatternSet patterns(&getContext());
    auto approximated = [](StringRef name) {
      return name == math::ExpOp::getOperationName() ||
             name == math::TanhOp::getOperationName() ||
             name == math::ErfOp::getOperationName();
    };
    populateMathPolynomialApproximationPatterns(patterns, approximated);
    if (!ctx.target.fma)
      patterns.add<ExpandFma>(&getContext());
    if (reproducible) {
      patterns.clear();
      populateReproducibleArithmeticPatterns(patterns);
    }
    if (failed(applyPatternsGreedily(module, std::move(patterns))))
      return signalPassFailure();
    if (reproducible && failed(verifyReproducible(module)))
      return signalPassFailure();
    module->setAttr("qc.mcpu", StringAttr::get(&getContext(), cpu->name));
    numCalls += calls;
    for (auto function : module.getOps<func::FuncOp>())
      numKernels += !function.isExternal() && function.isPrivate();
  }
};
} // namespace
