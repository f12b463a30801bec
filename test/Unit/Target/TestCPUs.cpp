//===- TestCPUs.cpp - CPUs that kernels are tested for --------------------===//
#include "TestCPUs.h"

namespace cpu = mlir::qc::cpu;

std::vector<std::string>(qc::test::allCPUs)() {
  return {"x86-64-v2",      "x86-64-v3",      "x86-64-v3-vnni", "x86-64-v4",
          "x86-64-v4-vnni", "icelake-server", "sapphirerapids"};
}

static bool hostHas(const std::string &name) {
  llvm::Expected<cpu::CPU> wanted = cpu::CPU::get(name);
  if (wanted)
    return cpu::runsHere(*wanted);
  llvm::consumeError(wanted.takeError());
  return false;
}

std::vector<std::string>(qc::test::runnableCPUs)() {
  std::vector<std::string> names;
  for (const std::string &name : allCPUs())
    if (hostHas(name))
      names.push_back(name);
  return names;
}

std::vector<std::string>(qc::test::runnableAMX)() {
  // The host need not have tile registers, see AMXTrap.h.
  if (!hostHas("x86-64-v4-vbmi"))
    return {};
  return {"x86-64-v4-amx", "sapphirerapids+emulation"};
}
