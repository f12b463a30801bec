//===- TestCPUs.cpp - CPUs that kernels are tested for --------------------===//
#include "TestCPUs.h"

namespace cpu = mlir::qc::cpu;

std::vector<std::string>(qc::test::allCPUs)() {
  return {"x86-64-v2",      "x86-64-v3",      "x86-64-v3-vnni", "x86-64-v4",
          "x86-64-v4-vnni", "icelake-server", "sapphirerapids"};
}

std::vector<std::string>(qc::test::runnableCPUs)() {
  std::vector<std::string> names;
  for (const std::string &name : allCPUs()) {
    llvm::Expected<cpu::CPU> wanted = cpu::CPU::get(name);
    if (!wanted)
      llvm::consumeError(wanted.takeError());
    else if (cpu::runsHere(*wanted))
      names.push_back(name);
  }
  return names;
}

std::vector<std::string>(qc::test::runnableAMX)() {
  // The host need not have tile registers, see AMXTrap.h.
  llvm::Expected<cpu::CPU> without = cpu::CPU::get("x86-64-v4-vbmi");
  if (!without || !cpu::runsHere(*without)) {
    llvm::consumeError(without.takeError());
    return {};
  }
  return {"x86-64-v4-amx", "sapphirerapids+emulation"};
}
