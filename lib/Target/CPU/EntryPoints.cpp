//===- EntryPoints.cpp - C entry points of a compiled model ---------------===//
#include "EntryPoints.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

/// memref<?xi8> over `size` bytes at a raw pointer.
static Value wrapPointer(KernelBuilder &b, Value pointer, Value size) {
  auto pointerType = LLVM::LLVMPointerType::get(b.getContext());
  auto i64 = b.getI64Type();
  auto array = LLVM::LLVMArrayType::get(i64, 1);
  auto type = LLVM::LLVMStructType::getLiteral(
      b.getContext(), {pointerType, pointerType, i64, array, array});
  Value bytes = arith::IndexCastOp::create(b, i64, size);
  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, i64, b.getI64IntegerAttr(value));
  };
  Value descriptor = LLVM::PoisonOp::create(b, type);
  auto insert = [&](Value value, ArrayRef<int64_t> at) {
    descriptor = LLVM::InsertValueOp::create(b, descriptor, value, at);
  };
  insert(pointer, {0});
  insert(pointer, {1});
  insert(constant(0), {2});
  insert(bytes, {3, 0});
  insert(constant(1), {4, 0});
  return UnrealizedConversionCastOp::create(b, TypeRange{b.bytes()},
                                            ValueRange{descriptor})
      .getResult(0);
}

void EntryPointList::collectInterface(ArrayRef<func::FuncOp> functions) {
  for (func::FuncOp function : functions)
    if (StringRef name = function.getName();
        name == "prefill" || name == "decode" || name == "score")
      steps.push_back({name.str(), function.getFunctionType()});
}

void EntryPointList::addWeight(WeightType weight, Arithmetic arithmetic) {
  for (const Kernel &kernel : kernels)
    if (kernel.weight == weight && kernel.arithmetic == arithmetic)
      return;
  kernels.push_back({weight, arithmetic});
}

void EntryPointList::addDecode(WeightType weight) {
  if (!llvm::is_contained(decoded, weight))
    decoded.push_back(weight);
}

/// A public function of the C ABI; `body` gets its arguments.
static void emitPublic(KernelContext &ctx, StringRef name, TypeRange types,
                       function_ref<void(KernelBuilder &, ValueRange)> body) {
  Location loc = NameLoc::get(StringAttr::get(ctx.module.getContext(), name));
  KernelBuilder b(loc, ctx.module.getContext(), ctx.target);
  b.setInsertionPointToEnd(ctx.module.getBody());
  auto function =
      func::FuncOp::create(b, name, b.getFunctionType(types, TypeRange{}));
  b.setInsertionPointToStart(function.addEntryBlock());
  body(b, function.getArguments());
  func::ReturnOp::create(b);
}

static Value toIndex(KernelBuilder &b, Value i64) {
  return arith::IndexCastOp::create(b, b.getIndexType(), i64);
}

/// QCStepFn, see ModelABI.h.
static LogicalResult emitStep(KernelContext &ctx, StringRef name,
                              FunctionType type) {
  auto ids = type.getNumInputs() == 3 && type.getNumResults() == 1
                 ? dyn_cast<RankedTensorType>(type.getInput(0))
                 : RankedTensorType();
  auto cache =
      ids ? dyn_cast<lm::KVCacheType>(type.getInput(2)) : lm::KVCacheType();
  auto logits =
      ids ? dyn_cast<RankedTensorType>(type.getResult(0)) : RankedTensorType();
  if (!ids || !type.getInput(1).isIndex() || !cache || !logits)
    return ctx.module.emitError()
           << "entry point @" << name << " has type " << type
           << ", expected (tensor<?xi32>, index, !lm.kv_cache<...>) -> "
              "tensor<?xVxf32>";
  MLIRContext *context = ctx.module.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64);
  emitPublic(
      ctx, ("qc_step_" + name).str(),
      {pointer, pointer, pointer, i64, pointer, i64, i64, pointer, i64, i64,
       pointer},
      [&](KernelBuilder &b, ValueRange args) {
        // The sizes of whole sections do not matter to generated code.
        Value unbounded = b.index(int64_t(1) << 62);
        Value zero = b.index(0);
        Value weights = wrapPointer(b, args[0], unbounded);
        Value arena = wrapPointer(b, args[1], unbounded);
        Value kv = wrapPointer(b, args[2], unbounded);
        Value capacity = toIndex(b, args[3]);
        Value count = toIndex(b, args[5]);
        Value idBytes = wrapPointer(b, args[4], b.mul(count, 4));
        SmallVector<Value> idSizes, logitSizes;
        if (ids.isDynamicDim(0))
          idSizes.push_back(count);
        if (logits.isDynamicDim(0))
          logitSizes.push_back(count);
        Value idBuffer = memref::ViewOp::create(
            b, MemRefType::get(ids.getShape(), b.getI32Type()), idBytes, zero,
            idSizes);
        int64_t elementBytes =
            cache.getElementType().getIntOrFloatBitWidth() / 8;
        Value memory = memref::ViewOp::create(
            b, MemRefType::get({ShapedType::kDynamic}, cache.getElementType()),
            kv, zero, ValueRange{b.index((int64_t(1) << 62) / elementBytes)});
        Value logitBytes = wrapPointer(b, args[7], unbounded);
        Value out = memref::ViewOp::create(
            b, MemRefType::get(logits.getShape(), b.getF32Type()), logitBytes,
            zero, logitSizes);
        func::CallOp::create(b, name, TypeRange{},
                             ValueRange{idBuffer, toIndex(b, args[6]), memory,
                                        zero, capacity, out, weights, arena,
                                        zero, toIndex(b, args[8]),
                                        toIndex(b, args[9]), args[10]});
      });
  return success();
}

/// void (weight, x, m, y, scratch): the whole product in one thread.
static void emitMatmulTest(KernelContext &ctx, StringRef name,
                           WeightType weight, Arithmetic arithmetic,
                           std::optional<TableLayout> tables,
                           int64_t tablesAt) {
  MLIRContext *context = ctx.module.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64);
  const KernelTuning &tuning = ctx.tuning.get(weight, arithmetic);
  auto input = ActivationLayout::get(weight, arithmetic, tuning);
  func::FuncOp prepare;
  if (input.needsPreparation())
    prepare = prepareKernel(ctx, input);
  func::FuncOp matmul = matmulKernel(ctx, weight, arithmetic, tuning);
  emitPublic(
      ctx, name, {pointer, pointer, i64, pointer, pointer},
      [&](KernelBuilder &b, ValueRange args) {
        Value unbounded = b.index(int64_t(1) << 62), zero = b.index(0);
        Value weights = wrapPointer(b, args[0], unbounded);
        Value m = toIndex(b, args[2]);
        Value x = b.view(wrapPointer(b, args[1], unbounded), zero, m,
                         weight.getK(), b.getF32Type());
        Value y = b.view(wrapPointer(b, args[3], unbounded), zero, m,
                         weight.getN(), b.getF32Type());
        SmallVector<Value> inputs = {x};
        if (prepare) {
          Value scratch = wrapPointer(b, args[4], unbounded);
          Value rows = activationRows(b, m);
          inputs.clear();
          if (arithmetic == Arithmetic::Int8) {
            // Codes last: their rows need no alignment.
            Value sums = b.mul(rows, 4 * input.numBlocks());
            Value codes = b.mul(rows, 8 * input.numBlocks());
            inputs = {
                b.view(scratch, codes, rows, input.paddedK(), b.getI8Type()),
                b.view(scratch, zero, rows, input.numBlocks(), b.getF32Type()),
                b.view(scratch, sums, rows, input.numBlocks(), b.getI32Type())};
          } else {
            inputs = {b.view(scratch, zero, rows, input.paddedK(),
                             arithmetic == Arithmetic::BF16
                                 ? Type(b.getBF16Type())
                                 : Type(b.getF32Type()))};
          }
          SmallVector<Value> operands = {x};
          operands.append(inputs);
          operands.append({zero, b.index(1)});
          func::CallOp::create(b, prepare, operands);
        }
        Value rowBlocks = b.index(weight.getLayout().numRowBlocks());
        SmallVector<Value> operands = {weights, zero};
        operands.append(inputs);
        operands.append({y, zero, rowBlocks});
        if (!tables) {
          func::CallOp::create(b, matmul, operands);
          return;
        }
        Value isOne =
            arith::CmpIOp::create(b, arith::CmpIPredicate::eq, m, b.index(1));
        auto branch = scf::IfOp::create(b, isOne, /*withElseRegion=*/true);
        b.setInsertionPointToStart(branch.elseBlock());
        func::CallOp::create(b, matmul, operands);
        b.setInsertionPointToStart(branch.thenBlock());
        Value memory = wrapPointer(b, args[4], unbounded);
        Value bytes =
            memref::ViewOp::create(b, b.bytes(), memory, b.index(tablesAt),
                                   ValueRange{b.index(tables->totalBytes())});
        operands.assign({weights, zero});
        operands.append(inputs);
        operands.append({bytes, zero, y, zero, b.index(1)});
        func::CallOp::create(b, lookupKernel(ctx, weight), operands);
        b.setInsertionPointAfter(branch);
      });
}

/// void (weight, row, out)
static void emitDecodeTest(KernelContext &ctx, StringRef name,
                           WeightType weight) {
  MLIRContext *context = ctx.module.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64);
  func::FuncOp decode = decodeRowKernel(ctx, weight);
  emitPublic(ctx, name, {pointer, i64, pointer},
             [&](KernelBuilder &b, ValueRange args) {
               Value unbounded = b.index(int64_t(1) << 62), zero = b.index(0);
               Value weights = wrapPointer(b, args[0], unbounded);
               Value out = b.view(wrapPointer(b, args[2], unbounded), zero,
                                  b.index(1), weight.getK(), b.getF32Type());
               func::CallOp::create(
                   b, decode,
                   ValueRange{weights, zero, toIndex(b, args[1]), out, zero});
             });
}

LogicalResult EntryPointList::emit(KernelContext &ctx, SymbolTable &symbols,
                                   int64_t maxTokens) {
  OpBuilder b(ctx.module.getContext());
  for (const Step &step : steps) {
    if (failed(emitStep(ctx, step.name, step.type)))
      return failure();
    auto cache = cast<lm::KVCacheType>(step.type.getInput(2));
    int64_t bytes = 2 * cacheTileElements(cache) *
                    cache.getElementType().getIntOrFloatBitWidth() / 8 /
                    cacheTile;
    for (int64_t size : cache.getShape().drop_back())
      bytes *= size;
    ctx.module->setAttr("qc.kv_bytes_per_token", b.getI64IntegerAttr(bytes));
  }
  auto offsetOf = [&](WeightType type) {
    for (auto weight : ctx.module.getOps<WeightOp>())
      if (weight.getWeightType() == type)
        return weight.getComponent(0).getOffset();
    return int64_t(0);
  };
  auto describe = [&](StringRef name, WeightType type) {
    NamedAttrList attrs;
    attrs.set("name", b.getStringAttr(name));
    attrs.set("format", b.getStringAttr(formatSpelling(type.getFormat())));
    attrs.set("n", b.getI64IntegerAttr(type.getN()));
    attrs.set("k", b.getI64IntegerAttr(type.getK()));
    attrs.set("rows", b.getI64IntegerAttr(type.getPackedRows()));
    return attrs;
  };

  SmallVector<Attribute> list;
  // Tests are packed like the model's own weights, maybe for wider vectors.
  llvm::MapVector<FormatAttrInterface, int64_t> formats;
  auto addFormat = [&](WeightType type) {
    formats.insert({type.getFormat(), type.getPackedRows()});
  };
  for (const Kernel &kernel : kernels) {
    std::string name = llvm::formatv("qc_kernel_{0}", list.size());
    auto input =
        ActivationLayout::get(kernel.weight, kernel.arithmetic,
                              ctx.tuning.get(kernel.weight, kernel.arithmetic));
    bool int8 = kernel.arithmetic == Arithmetic::Int8;
    int64_t rowBytes = 0;
    if (int8)
      rowBytes = 8 * input.numBlocks() + input.paddedK();
    else if (input.needsPreparation())
      rowBytes =
          (kernel.arithmetic == Arithmetic::BF16 ? 2 : 4) * input.paddedK();
    int64_t scratch =
        llvm::alignTo(rowBytes * llvm::alignTo(maxTokens, amxTokens), 64);
    auto tables =
        TableLayout::get(ctx.target, kernel.weight, kernel.arithmetic);
    emitMatmulTest(ctx, name + "_matmul", kernel.weight, kernel.arithmetic,
                   tables, scratch);
    if (tables)
      scratch += tables->totalBytes();
    emitDecodeTest(ctx, name + "_decode", kernel.weight);
    NamedAttrList attrs = describe(name, kernel.weight);
    attrs.set("arithmetic",
              b.getI64IntegerAttr(static_cast<int64_t>(kernel.arithmetic)));
    attrs.set("int8_block", b.getI64IntegerAttr(int8 ? input.blockK : 0));
    attrs.set("offset", b.getI64IntegerAttr(offsetOf(kernel.weight)));
    attrs.set("bytes",
              b.getI64IntegerAttr(kernel.weight.getLayout().totalBytes()));
    attrs.set("scratch", b.getI64IntegerAttr(scratch));
    int64_t roundings =
        int8 ? kernel.weight.getFormat().getHostFormat()->int8Roundings() : 0;
    attrs.set("weight_roundings", b.getI64IntegerAttr(roundings));
    attrs.set("table_lookups",
              b.getI64IntegerAttr(tables ? tables->blocks * tables->vectors *
                                               tables->books.books
                                         : 0));
    list.push_back(attrs.getDictionary(b.getContext()));
    addFormat(kernel.weight);
  }
  ctx.module->setAttr("qc.kernels", b.getArrayAttr(list));

  SmallVector<Attribute> tests;
  for (WeightType type : decoded)
    addFormat(type);
  for (auto [format, rows] : formats) {
    std::string name = llvm::formatv("qc_format_{0}_decode", tests.size());
    ::qc::HostWeight weight =
        format.getHostFormat()->exhaustiveWeight(/*quick=*/true);
    auto type =
        WeightType::get(b.getContext(), {weight.n, weight.k}, format, rows);
    emitDecodeTest(ctx, name, type);
    tests.push_back(describe(name, type).getDictionary(b.getContext()));
  }
  ctx.module->setAttr("qc.format_tests", b.getArrayAttr(tests));
  ctx.module->setAttr("qc.max_tokens", b.getI64IntegerAttr(maxTokens));
  return success();
}
