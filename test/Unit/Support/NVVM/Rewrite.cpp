//===- Rewrite.cpp - NVVM IR as IR for this CPU ---------------------------===//
#include "Rewrite.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace qc::test::nvvm;

namespace {

class Rewriter {
public:
  Rewriter(Module &module, IntrinsicTable &table, Rewritten &result,
           std::string &error)
      : module(module), table(table), result(result), error(error),
        context(module.getContext()) {}

  bool run();

private:
  void findKernels();
  bool prepareGlobals();
  bool rewriteFunction(Function &function);
  /// The value of a simple intrinsic as plain IR; null: it is not one.
  Value *expand(IRBuilder<> &builder, CallInst &call, StringRef name);
  Value *dot4(IRBuilder<> &builder, CallInst &call, StringRef signs);
  Value *permute(IRBuilder<> &builder, CallInst &call);
  /// A call of callIntrinsic.
  bool callDefinition(CallInst &call, StringRef name);
  void makeWrapper(Function &kernel);

  Module &module;
  IntrinsicTable &table;
  Rewritten &result;
  std::string &error;
  LLVMContext &context;
};

} // namespace

/// A text attribute "128,1,1" as three numbers.
static std::array<unsigned, 3> threeNumbers(StringRef text) {
  std::array<unsigned, 3> numbers = {1, 1, 1};
  SmallVector<StringRef> parts;
  text.split(parts, ',');
  for (size_t i = 0; i < std::min<size_t>(3, parts.size()); ++i)
    parts[i].trim().getAsInteger(10, numbers[i]);
  return numbers;
}

void Rewriter::findKernels() {
  SmallVector<Function *> kernels;
  for (Function &function : module)
    if (!function.isDeclaration() &&
        function.getCallingConv() == CallingConv::PTX_Kernel)
      kernels.push_back(&function);
  for (Function *function : kernels) {
    Kernel kernel;
    kernel.name = function->getName().str();
    for (Argument &argument : function->args())
      kernel.parameters.push_back(
          module.getDataLayout().getTypeAllocSize(argument.getType()));
    if (function->hasFnAttribute("nvvm.reqntid"))
      kernel.threads = threeNumbers(
          function->getFnAttribute("nvvm.reqntid").getValueAsString());
    for (Instruction &instruction : instructions(*function))
      if (auto *call = dyn_cast<CallInst>(&instruction);
          call && call->getCalledFunction() &&
          call->getCalledFunction()->getName() ==
              "llvm.nvvm.griddepcontrol.wait")
        kernel.waits = true;
    result.kernels.push_back(kernel);
    makeWrapper(*function);
  }
}

/// void wrapper(ptr parameters): loads each parameter and calls the kernel.
void Rewriter::makeWrapper(Function &kernel) {
  Type *pointer = PointerType::get(context, 0);
  auto *function = Function::Create(
      FunctionType::get(Type::getVoidTy(context), {pointer}, false),
      GlobalValue::ExternalLinkage,
      Rewritten::wrapperName(kernel.getName().str()), module);
  IRBuilder<> builder(BasicBlock::Create(context, "", function));
  SmallVector<Value *> values;
  for (Argument &argument : kernel.args()) {
    Value *slot = builder.CreateConstInBoundsGEP1_64(
        pointer, function->getArg(0), argument.getArgNo());
    values.push_back(builder.CreateLoad(argument.getType(),
                                        builder.CreateLoad(pointer, slot)));
  }
  builder.CreateCall(kernel.getFunctionType(), &kernel, values);
  builder.CreateRetVoid();
}

bool Rewriter::prepareGlobals() {
  for (GlobalVariable &global : module.globals()) {
    if (global.getName().starts_with("llvm."))
      continue;
    if (global.getAddressSpace() == 3) {
      auto bytes = static_cast<size_t>(
          module.getDataLayout().getTypeAllocSize(global.getValueType()));
      if (global.isDeclaration() || bytes == 0) {
        // Dynamic shared memory: as large as it can be.
        Type *array =
            ArrayType::get(Type::getInt8Ty(context), maxDynamicShared);
        auto *memory = new GlobalVariable(module, array, false,
                                          GlobalValue::ExternalLinkage,
                                          UndefValue::get(array), "", nullptr,
                                          GlobalValue::NotThreadLocal, 3);
        memory->setAlignment(Align(128));
        global.replaceAllUsesWith(memory);
        memory->setName("qc_dynamic_" + global.getName());
        result.shared.push_back(memory->getName().str());
        result.sharedBytes.push_back(0);
        continue;
      }
      if (!global.hasName())
        global.setName("qc_shared");
      global.setLinkage(GlobalValue::ExternalLinkage);
      global.setInitializer(UndefValue::get(global.getValueType()));
      result.shared.push_back(global.getName().str());
      result.sharedBytes.push_back(bytes);
    } else if (global.isDeclaration()) {
      error = "variable '" + global.getName().str() + "' is not defined";
      return false;
    }
  }
  return true;
}

Value *Rewriter::dot4(IRBuilder<> &builder, CallInst &call, StringRef signs) {
  // "s.u": the first operand is signed, the second is not.
  Value *sum = call.getArgOperand(2);
  auto byte = [&](unsigned operand, unsigned index) {
    Value *value = call.getArgOperand(operand);
    value = builder.CreateShl(value, 24 - 8 * index);
    return signs[2 * operand] == 's' ? builder.CreateAShr(value, 24)
                                     : builder.CreateLShr(value, 24);
  };
  for (unsigned i = 0; i < 4; ++i)
    sum = builder.CreateAdd(sum, builder.CreateMul(byte(0, i), byte(1, i)));
  return sum;
}

/// prmt.b32 without mode: bytes of b:a by the selectors in c; bit 3 of one
/// repeats the byte's sign.
Value *Rewriter::permute(IRBuilder<> &builder, CallInst &call) {
  Type *word = builder.getInt32Ty(), *both = builder.getInt64Ty();
  Value *bytes = builder.CreateOr(
      builder.CreateShl(builder.CreateZExt(call.getArgOperand(1), both), 32),
      builder.CreateZExt(call.getArgOperand(0), both));
  Value *result = builder.getInt32(0);
  for (unsigned i = 0; i < 4; ++i) {
    Value *selector = builder.CreateLShr(call.getArgOperand(2), 4 * i);
    Value *at = builder.CreateShl(builder.CreateAnd(selector, 7), 3);
    Value *byte = builder.CreateTrunc(
        builder.CreateLShr(bytes, builder.CreateZExt(at, both)),
        builder.getInt8Ty());
    Value *repeats = builder.CreateTrunc(builder.CreateLShr(selector, 3),
                                         builder.getInt1Ty());
    byte = builder.CreateSelect(repeats, builder.CreateAShr(byte, 7), byte);
    result = builder.CreateOr(
        result, builder.CreateShl(builder.CreateZExt(byte, word), 8 * i));
  }
  return result;
}

Value *Rewriter::expand(IRBuilder<> &builder, CallInst &call, StringRef name) {
  auto argument = [&](unsigned i) { return call.getArgOperand(i); };
  auto unary = [&](llvm::Intrinsic::ID id) {
    return builder.CreateUnaryIntrinsic(id, argument(0));
  };
  auto one = [&] { return ConstantFP::get(call.getType(), 1.0); };
  if (name.consume_front("read.ptx.sreg.")) {
    static const std::pair<StringRef, size_t> fields[] = {
        {"tid.x", offsetof(Registers, tid)},
        {"ntid.x", offsetof(Registers, ntid)},
        {"ctaid.x", offsetof(Registers, ctaid)},
        {"nctaid.x", offsetof(Registers, nctaid)},
        {"laneid", offsetof(Registers, laneid)},
        {"warpid", offsetof(Registers, warpid)}};
    if (name == "warpsize")
      return builder.getInt32(32);
    size_t axis = 0;
    std::string text = name.str();
    if (name.ends_with(".y") || name.ends_with(".z")) {
      axis = static_cast<size_t>(name.back() - 'x');
      text.back() = 'x';
    }
    for (auto [field, offset] : fields)
      if (text == field) {
        Value *base = module.getOrInsertGlobal(
            "qc_registers",
            ArrayType::get(builder.getInt8Ty(), sizeof(Registers)));
        return builder.CreateLoad(
            builder.getInt32Ty(),
            builder.CreateConstInBoundsGEP1_64(builder.getInt8Ty(), base,
                                               offset + 4 * axis));
      }
    return nullptr;
  }
  if (name.consume_front("idp4a."))
    return dot4(builder, call, name);
  if (name == "prmt")
    return permute(builder, call);
  if (name == "fma.rn.f" || name == "fma.rn.ftz.f" || name == "fma.rn.d" ||
      name == "fma.rn.f16" || name == "fma.rn.f16x2")
    return builder.CreateIntrinsic(llvm::Intrinsic::fma, {call.getType()},
                                   {argument(0), argument(1), argument(2)});
  // Approximations: the exact value lies within what PTX promises.
  if (name.starts_with("ex2.approx"))
    return unary(llvm::Intrinsic::exp2);
  if (name.starts_with("lg2.approx"))
    return unary(llvm::Intrinsic::log2);
  if (name.starts_with("rsqrt.approx"))
    return builder.CreateFDiv(one(), unary(llvm::Intrinsic::sqrt));
  if (name.starts_with("rcp.approx") || name.starts_with("rcp.rn"))
    return builder.CreateFDiv(one(), argument(0));
  if (name.starts_with("div.approx") || name.starts_with("div.full") ||
      name.starts_with("div.rn"))
    return builder.CreateFDiv(argument(0), argument(1));
  // Conversions saturate, NaN becomes 0.
  if (name == "f2i.rn" || name == "f2i.rn.ftz")
    return builder.CreateIntrinsic(
        llvm::Intrinsic::fptosi_sat, {call.getType(), argument(0)->getType()},
        {builder.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven,
                                      argument(0))});
  if (name == "f2i.rz" || name == "f2i.rz.ftz")
    return builder.CreateIntrinsic(llvm::Intrinsic::fptosi_sat,
                                   {call.getType(), argument(0)->getType()},
                                   {argument(0)});
  if (name == "i2f.rn")
    return builder.CreateSIToFP(argument(0), call.getType());
  if (name.starts_with("sqrt.approx") || name.starts_with("sqrt.rn") ||
      name == "sqrt.f")
    return unary(llvm::Intrinsic::sqrt);
  if (name == "fabs" || name.starts_with("fabs."))
    return unary(llvm::Intrinsic::fabs);
  if (name == "fmin.f" || name == "fmin.d" || name == "fmin.ftz.f")
    return builder.CreateMinNum(argument(0), argument(1));
  if (name == "fmax.f" || name == "fmax.d" || name == "fmax.ftz.f")
    return builder.CreateMaxNum(argument(0), argument(1));
  if (name.starts_with("saturate."))
    return builder.CreateMinNum(
        builder.CreateMaxNum(argument(0), ConstantFP::getZero(call.getType())),
        one());
  if (name.starts_with("ldu.global."))
    return builder.CreateAlignedLoad(call.getType(), argument(0), Align(1));
  return nullptr;
}

bool Rewriter::callDefinition(CallInst &call, StringRef name) {
  std::unique_ptr<Definition> &definition = table[name.str()];
  if (!definition) {
    definition = std::make_unique<Definition>();
    if (!findIntrinsic(name.str(), *definition)) {
      error = "kernel or function '" + call.getFunction()->getName().str() +
              "': the emulator does not know " + name.str();
      return false;
    }
  }
  auto fits = [&](Type *type) {
    return type->isSized() &&
           module.getDataLayout().getTypeStoreSize(type) <= 8;
  };
  SmallVector<Type *> results;
  if (auto *structure = dyn_cast<StructType>(call.getType()))
    llvm::append_range(results, structure->elements());
  else if (!call.getType()->isVoidTy())
    results.push_back(call.getType());
  SmallVector<Value *> arguments(call.args());
  for (Type *type : results)
    if (!fits(type))
      arguments.clear();
  for (Value *value : arguments)
    if (!fits(value->getType())) {
      error = name.str() + ": an operand or result has more than 8 bytes";
      return false;
    }
  IRBuilder<> builder(
      &*call.getFunction()->getEntryBlock().getFirstInsertionPt());
  Type *word = builder.getInt64Ty();
  uint64_t count = std::max<uint64_t>(1, arguments.size() + results.size());
  Value *slots = builder.CreateAlloca(ArrayType::get(word, count));
  builder.SetInsertPoint(&call);
  auto slot = [&](uint64_t index) {
    return builder.CreateConstInBoundsGEP1_64(word, slots, index);
  };
  for (auto [i, value] : llvm::enumerate(arguments))
    builder.CreateAlignedStore(value, slot(i), Align(8));
  // The address of the definition: the code lives as long as the table.
  Value *address = builder.CreateIntToPtr(
      builder.getInt64(reinterpret_cast<uintptr_t>(definition.get())),
      builder.getPtrTy());
  FunctionCallee callee =
      module.getOrInsertFunction("qc_call_intrinsic", builder.getVoidTy(),
                                 builder.getPtrTy(), builder.getPtrTy());
  builder.CreateCall(callee, {address, slots});
  Value *value = nullptr;
  if (call.getType()->isStructTy()) {
    value = PoisonValue::get(call.getType());
    for (auto [i, type] : llvm::enumerate(results))
      value = builder.CreateInsertValue(
          value,
          builder.CreateAlignedLoad(type, slot(arguments.size() + i), Align(8)),
          static_cast<unsigned>(i));
  } else if (!results.empty()) {
    value =
        builder.CreateAlignedLoad(results[0], slot(arguments.size()), Align(8));
  }
  if (value)
    call.replaceAllUsesWith(value);
  call.eraseFromParent();
  return true;
}

bool Rewriter::rewriteFunction(Function &function) {
  SmallVector<CallInst *> calls;
  for (Instruction &instruction : instructions(function))
    if (auto *call = dyn_cast<CallInst>(&instruction))
      calls.push_back(call);
  for (CallInst *call : calls) {
    if (call->isInlineAsm()) {
      error = "kernel or function '" + function.getName().str() +
              "' has PTX of its own: " +
              cast<InlineAsm>(call->getCalledOperand())->getAsmString().str();
      return false;
    }
    call->setCallingConv(CallingConv::C);
    Function *callee = call->getCalledFunction();
    if (!callee || !callee->getName().starts_with("llvm.nvvm."))
      continue;
    StringRef name = callee->getName();
    IRBuilder<> builder(call);
    StringRef tail = name.drop_front(10);
    // Order of memory: one thread runs at a time.
    if (tail.starts_with("membar.") || tail.starts_with("fence.")) {
      call->eraseFromParent();
      continue;
    }
    if (Value *value = expand(builder, *call, tail)) {
      call->replaceAllUsesWith(value);
      call->eraseFromParent();
    } else if (!callDefinition(*call, name)) {
      return false;
    }
  }
  return true;
}

bool Rewriter::run() {
  findKernels();
  if (!prepareGlobals())
    return false;
  for (Function &function : module) {
    function.setCallingConv(CallingConv::C);
    for (const char *attribute : {"target-cpu", "target-features", "tune-cpu"})
      function.removeFnAttr(attribute);
    function.setComdat(nullptr);
  }
  SmallVector<Function *> defined;
  for (Function &function : module)
    if (!function.isDeclaration())
      defined.push_back(&function);
  for (Function *function : defined)
    if (!rewriteFunction(*function))
      return false;
  return true;
}

bool qc::test::nvvm::rewriteForHost(Module &module,
                                    const TargetMachine &machine,
                                    IntrinsicTable &table, Rewritten &result,
                                    std::string &error) {
  if (!module.getTargetTriple().isNVPTX()) {
    error = "IR for NVPTX expected, not for '" +
            module.getTargetTriple().str() + "'";
    return false;
  }
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  Rewriter rewriter(module, table, result, error);
  if (!rewriter.run())
    return false;
  raw_string_ostream out(error);
  return !verifyModule(module, &out);
}
