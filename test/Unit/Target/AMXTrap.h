//===- AMXTrap.h - AMX instructions on CPUs without them --------*- C++ -*-===//
#ifndef QC_TEST_UNIT_TARGET_AMXTRAP_H
#define QC_TEST_UNIT_TARGET_AMXTRAP_H

#include <cstdint>

namespace qc::test {

/// Makes AMX instructions work in this process: asks the kernel for the tile
/// registers or, on a CPU without AMX, catches the fault of each instruction
/// and does in memory what the Intel SDM says. Anything that would fault on
/// real hardware (tiles that are not configured, sizes that do not fit each
/// other) ends the process with a message.
void enableAMX();

/// Instructions that were done in memory so far; 0 on a CPU with AMX.
int64_t numTrappedAMX();
/// Whether AMX instructions are done in memory.
bool trapsAMX();

} // namespace qc::test

#endif // QC_TEST_UNIT_TARGET_AMXTRAP_H
