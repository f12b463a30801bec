//===- TestCPUs.h - CPUs that kernels are tested for ------------*- C++ -*-===//
#ifndef QC_TEST_UNIT_TARGET_TESTCPUS_H
#define QC_TEST_UNIT_TARGET_TESTCPUS_H

#include "qc/Target/CPU/Tuning/KernelJIT.h"

namespace qc::test {

using mlir::qc::cpu::KernelJIT;

/// CPUs to generate for that this machine can run: SSE4, AVX2, AVX-512 and
/// AVX-512 VNNI levels, as far as the host has them.
std::vector<std::string> runnableCPUs();
/// The same with AMX: machine code whose AMX instructions run or fault and are
/// done in memory, and kernels rewritten by qc-emulate-amx.
std::vector<std::string> runnableAMX();
/// Every level; those that the host lacks can be compiled only.
std::vector<std::string> allCPUs();

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_TESTCPUS_H
