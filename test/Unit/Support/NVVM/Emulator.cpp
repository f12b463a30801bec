//===- Emulator.cpp - NVVM kernels on the CPU, for tests ------------------===//
#include "Emulator.h"

#include "Rewrite.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"

#include <bit>
#include <cmath>
#include <cstring>

using namespace llvm;
using namespace qc::test::nvvm;

const Kernel *Emulator::find(std::string_view name) const {
  for (const Kernel &kernel : kernels())
    if (kernel.name == name)
      return &kernel;
  return nullptr;
}

namespace {

class HostEmulator final : public Emulator {
public:
  bool open(std::string_view ir, std::string &error);
  const std::vector<Kernel> &kernels() const override {
    return rewritten.kernels;
  }
  bool launch(const Kernel &kernel, const LaunchSize &size, void **parameters,
              std::string &error) override;

private:
  bool addSymbols();

  IntrinsicTable table;
  Rewritten rewritten;
  std::vector<void *> shared;
  std::unique_ptr<orc::LLJIT> jit;
};

} // namespace

static std::string inOneLine(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  for (char &c : text)
    if (c == '\n')
      c = ' ';
  return text;
}

/// What code may call, whatever the process has linked: libm and the functions
/// of libdevice (__nv_...) that upstream's lowering of the math dialect calls.
bool HostEmulator::addSymbols() {
  orc::SymbolMap symbols;
  auto add = [&](const char *name, auto *function) {
    symbols[jit->mangleAndIntern(name)] = {orc::ExecutorAddr::fromPtr(function),
                                           JITSymbolFlags::Exported |
                                               JITSymbolFlags::Callable};
  };
  add("qc_call_intrinsic", &callIntrinsic);
  symbols[jit->mangleAndIntern("qc_registers")] = {
      orc::ExecutorAddr::fromPtr(&registers), JITSymbolFlags::Exported};
#define QC_MATH(name)                                                          \
  (add(#name "f", static_cast<float (*)(float)>(&::name##f)),                  \
   add("__nv_" #name "f", static_cast<float (*)(float)>(&::name##f)),          \
   add(#name, static_cast<double (*)(double)>(&::name)))
  QC_MATH(exp);
  QC_MATH(exp2);
  QC_MATH(log);
  QC_MATH(log2);
  QC_MATH(sin);
  QC_MATH(cos);
  QC_MATH(tanh);
  QC_MATH(floor);
  QC_MATH(ceil);
  QC_MATH(trunc);
  QC_MATH(round);
  QC_MATH(roundeven);
  QC_MATH(rint);
  QC_MATH(nearbyint);
  QC_MATH(sqrt);
  QC_MATH(fabs);
#undef QC_MATH
  add("fmaf", static_cast<float (*)(float, float, float)>(&::fmaf));
  add("fma", static_cast<double (*)(double, double, double)>(&::fma));
  add("fmodf", static_cast<float (*)(float, float)>(&::fmodf));
  add("powf", static_cast<float (*)(float, float)>(&::powf));
  add("fminf", static_cast<float (*)(float, float)>(&::fminf));
  add("fmaxf", static_cast<float (*)(float, float)>(&::fmaxf));
  add("memcpy", static_cast<void *(*)(void *, const void *, size_t)>(&memcpy));
  add("memset", static_cast<void *(*)(void *, int, size_t)>(&memset));
  add("memmove",
      static_cast<void *(*)(void *, const void *, size_t)>(&memmove));
  add("__nv_fmaf", static_cast<float (*)(float, float, float)>(&::fmaf));
  add("__nv_powf", static_cast<float (*)(float, float)>(&::powf));
  add("__nv_rsqrtf", +[](float value) { return 1 / std::sqrt(value); });
  // Of compiler-rt, for CPUs without conversions of f16 and bf16.
  add(
      "__extendhfsf2",
      +[](_Float16 value) { return static_cast<float>(value); });
  add(
      "__truncsfhf2",
      +[](float value) { return static_cast<_Float16>(value); });
  add(
      "__truncsfbf2", +[](float value) {
        auto bits = std::bit_cast<uint32_t>(value);
        bits += (bits >> 16 & 1) + 0x7fff; // to the nearest, ties to even
        if (std::isnan(value))
          bits = 0x7fc00000;
        return std::bit_cast<__bf16>(static_cast<uint16_t>(bits >> 16));
      });
  Error failure =
      jit->getMainJITDylib().define(orc::absoluteSymbols(std::move(symbols)));
  bool good = !failure;
  consumeError(std::move(failure));
  return good;
}

bool HostEmulator::open(std::string_view ir, std::string &error) {
  InitializeNativeTarget();
  InitializeNativeTargetAsmPrinter();
  auto context = std::make_unique<LLVMContext>();
  SMDiagnostic diagnostic;
  auto buffer = MemoryBuffer::getMemBufferCopy(StringRef(ir), "kernels");
  std::unique_ptr<Module> module =
      parseIR(buffer->getMemBufferRef(), diagnostic, *context);
  if (!module) {
    error = "line " + std::to_string(diagnostic.getLineNo()) + ": " +
            diagnostic.getMessage().str();
    return false;
  }
  auto fail = [&](Error reason) {
    error = inOneLine(toString(std::move(reason)));
    return false;
  };
  auto builder = orc::JITTargetMachineBuilder::detectHost();
  if (!builder)
    return fail(builder.takeError());
  builder->setCodeGenOptLevel(CodeGenOptLevel::Less);
  auto machine = builder->createTargetMachine();
  if (!machine)
    return fail(machine.takeError());
  auto made = orc::LLJITBuilder().setJITTargetMachineBuilder(*builder).create();
  if (!made)
    return fail(made.takeError());
  jit = std::move(*made);
  if (!rewriteForHost(*module, **machine, table, rewritten, error)) {
    error = inOneLine(error);
    return false;
  }
  if (!addSymbols()) {
    error = "the emulator's functions cannot be defined";
    return false;
  }
  if (Error failed = jit->addIRModule(
          orc::ThreadSafeModule(std::move(module), std::move(context))))
    return fail(std::move(failed));
  for (const std::string &name : rewritten.shared) {
    auto address = jit->lookup(name);
    if (!address)
      return fail(address.takeError());
    shared.push_back(address->toPtr<void *>());
  }
  return true;
}

bool HostEmulator::launch(const Kernel &kernel, const LaunchSize &size,
                          void **parameters, std::string &error) {
  for (size_t i = 0; i < 3; ++i)
    if (kernel.threads[0] && kernel.threads[i] != size.block[i]) {
      error = kernel.name + ": blocks of " + std::to_string(size.block[0]) +
              "x" + std::to_string(size.block[1]) + "x" +
              std::to_string(size.block[2]) +
              " threads, the kernel was compiled for " +
              std::to_string(kernel.threads[0]) + "x" +
              std::to_string(kernel.threads[1]) + "x" +
              std::to_string(kernel.threads[2]);
      return false;
    }
  if (size.sharedBytes > maxDynamicShared) {
    error = kernel.name + ": " + std::to_string(size.sharedBytes) +
            " bytes of dynamic shared memory";
    return false;
  }
  auto address = jit->lookup(Rewritten::wrapperName(kernel.name));
  if (!address) {
    error = inOneLine(toString(address.takeError()));
    return false;
  }
  auto *code = address->toPtr<void (*)(void **)>();
  for (int i = 0; i < 3; ++i) {
    registers.ntid[i] = size.block[static_cast<size_t>(i)];
    registers.nctaid[i] = size.grid[static_cast<size_t>(i)];
  }
  for (unsigned z = 0; z < size.grid[2]; ++z)
    for (unsigned y = 0; y < size.grid[1]; ++y)
      for (unsigned x = 0; x < size.grid[0]; ++x) {
        unsigned block[] = {x, y, z};
        std::memcpy(registers.ctaid, block, sizeof(block));
        for (size_t i = 0; i < shared.size(); ++i)
          std::memset(shared[i], 0xff,
                      rewritten.sharedBytes[i] ? rewritten.sharedBytes[i]
                                               : size.sharedBytes);
        if (!runBlock(code, parameters, kernel.name, error))
          return false;
      }
  return true;
}

std::unique_ptr<Emulator> Emulator::create(std::string_view ir,
                                           std::string &error) {
  auto emulator = std::make_unique<HostEmulator>();
  if (!emulator->open(ir, error))
    return nullptr;
  return emulator;
}
