//===- TileRegisters.h - Permission to use AMX ------------------*- C++ -*-===//
#ifndef QC_RUNTIME_EVALUATE_TILEREGISTERS_H
#define QC_RUNTIME_EVALUATE_TILEREGISTERS_H

#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace qc {

/// Linux gives a process the 8 KiB of tile registers only when it asks
/// (Documentation/arch/x86/xstate.rst); its threads have them then. Whether it
/// may use them: without, AMX instructions are illegal.
inline bool requestTileRegisters() {
#if defined(__x86_64__)
  constexpr long requestPermission = 0x1023, tileData = 18;
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return false;
#endif
}

} // namespace qc

#endif // QC_RUNTIME_EVALUATE_TILEREGISTERS_H
