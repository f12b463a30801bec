//===- TargetMachine.cpp - CPUs to generate for ---------------------------===//
#include "qc/Target/CPU/TargetMachine.h"
#include "qc/Runtime/Evaluate/TileRegisters.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>

using namespace mlir;
using namespace mlir::qc::cpu;

static llvm::Triple triple() {
  return llvm::Triple(llvm::sys::getDefaultTargetTriple());
}

static llvm::Expected<const llvm::Target *> lookupTarget() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
  });
  std::string error;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple(), error);
  if (!target)
    return llvm::createStringError(error);
  return target;
}

// Everything that LLVM may select instructions of. The runtime tests the same
// names with cpuid.
static constexpr StringRef checkedFeatures[] = {"sse3",
                                                "ssse3",
                                                "sse4.1",
                                                "sse4.2",
                                                "popcnt",
                                                "cx16",
                                                "movbe",
                                                "lzcnt",
                                                "bmi",
                                                "bmi2",
                                                "avx",
                                                "f16c",
                                                "fma",
                                                "avx2",
                                                "avxvnni",
                                                "gfni",
                                                "vaes",
                                                "vpclmulqdq",
                                                "avx512f",
                                                "avx512cd",
                                                "avx512bw",
                                                "avx512dq",
                                                "avx512vl",
                                                "avx512vnni",
                                                "avx512ifma",
                                                "avx512vbmi",
                                                "avx512vbmi2",
                                                "avx512bitalg",
                                                "avx512vpopcntdq",
                                                "avx512bf16",
                                                "avx512fp16",
                                                "amx-tile",
                                                "amx-int8",
                                                "amx-bf16"};

llvm::Expected<CPU> CPU::get(StringRef name) {
  llvm::Expected<const llvm::Target *> target = lookupTarget();
  if (!target)
    return target.takeError();
  if (name == "x86-64-multi")
    return llvm::createStringError(
        "'x86-64-multi' stands for several CPUs, expected one");
  CPU cpu;
  cpu.name = name.str();
  if (name == "native") {
    cpu.llvmName = llvm::sys::getHostCPUName().str();
    cpu.name = cpu.llvmName;
    llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
    // LLVM asks the CPU, but Linux must agree, too.
    if (features.lookup("amx-tile") && !::qc::requestTileRegisters())
      for (auto &feature : features)
        if (feature.getKey().starts_with("amx-"))
          feature.setValue(false);
    for (const auto &feature : features) {
      if (!cpu.features.empty())
        cpu.features += ',';
      cpu.features += (feature.getValue() ? "+" : "-") + feature.getKey().str();
    }
  } else if (name.ends_with("-vnni")) {
    cpu.llvmName = name.drop_back(5).str();
    cpu.features = cpu.llvmName == "x86-64-v4" ? "+avx512vnni" : "+avxvnni";
  } else if (name == "x86-64-v4-vbmi") {
    cpu.llvmName = "x86-64-v4";
    cpu.features = "+avx512vnni,+avx512vbmi,+gfni";
  } else if (name == "x86-64-v4-amx") {
    cpu.llvmName = "x86-64-v4";
    cpu.features = "+avx512vnni,+avx512vbmi,+gfni,+avx512bf16,+amx-tile,"
                   "+amx-int8,+amx-bf16";
  } else {
    cpu.llvmName = name.str();
  }
  std::unique_ptr<llvm::MCSubtargetInfo> known(
      (*target)->createMCSubtargetInfo(triple(), "", ""));
  if (!known->isCPUStringValid(cpu.llvmName))
    return llvm::createStringError(
        "unknown CPU '" + name.str() +
        "', expected native, x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4-vnni, "
        "x86-64-v4-vbmi, x86-64-v4-amx, x86-64-multi or a name that llc "
        "-mcpu=help lists");
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      (*target)->createMCSubtargetInfo(triple(), cpu.llvmName, cpu.features));
  auto has = [&](StringRef feature) {
    return info->checkFeatures(("+" + feature).str());
  };
  if (triple().isX86()) {
    if (!has("ssse3") || !has("sse4.1"))
      return llvm::createStringError("CPU '" + name.str() +
                                     "' lacks SSE4.1, which generated kernels "
                                     "need; the least is x86-64-v2");
    for (StringRef feature : checkedFeatures)
      if (has(feature))
        cpu.required.push_back(feature.str());
    cpu.vectors.fma = has("fma");
    cpu.vectors.sse4a = has("sse4a");
    cpu.vectors.avx2 = has("avx2");
    cpu.vectors.avx512 =
        has("avx512f") && has("avx512bw") && has("avx512vl") && has("avx512dq");
    cpu.vectors.vnni512 = cpu.vectors.avx512 && has("avx512vnni");
    cpu.vectors.vnni256 = has("avxvnni") || cpu.vectors.vnni512;
    cpu.vectors.vbmi = cpu.vectors.avx512 && has("avx512vbmi");
    cpu.vectors.gfni = cpu.vectors.avx512 && has("gfni");
    cpu.vectors.bf16 = cpu.vectors.avx512 && has("avx512bf16");
    cpu.vectors.amx = cpu.vectors.vnni512 && has("amx-tile") && has("amx-int8");
    cpu.vectors.amxBF16 =
        cpu.vectors.bf16 && has("amx-tile") && has("amx-bf16");
    cpu.vectors.lanes = cpu.vectors.avx512 ? 16 : cpu.vectors.avx2 ? 8 : 4;
  }
  return cpu;
}

llvm::Expected<std::vector<CPU>> CPU::list(StringRef name) {
  std::vector<CPU> cpus;
  // By what kernels differ in: Sapphire Rapids, Ice Lake and Zen 4, Cascade
  // Lake, Skylake-SP, Alder Lake, Haswell and Zen, Nehalem.
  SmallVector<StringRef> names = {name};
  if (name == "x86-64-multi")
    names = {"x86-64-v4-amx",  "x86-64-v4-vbmi", "x86-64-v4-vnni", "x86-64-v4",
             "x86-64-v3-vnni", "x86-64-v3",      "x86-64-v2"};
  for (StringRef one : names) {
    llvm::Expected<CPU> cpu = get(one);
    if (!cpu)
      return cpu.takeError();
    cpus.push_back(std::move(*cpu));
  }
  return cpus;
}

std::unique_ptr<llvm::TargetMachine> CPU::createTargetMachine() const {
  llvm::Expected<const llvm::Target *> target = lookupTarget();
  if (!target) {
    llvm::consumeError(target.takeError());
    return nullptr;
  }
  llvm::TargetOptions options;
  // Kernels say where to contract; everything else keeps its rounding.
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>((*target)->createTargetMachine(
      triple(), llvmName, features, options, llvm::Reloc::PIC_, std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
}
