//===- Memory.h - Memory to measure kernels with ----------------*- C++ -*-===//
#ifndef QC_TARGET_CPU_TUNING_MEMORY_H
#define QC_TARGET_CPU_TUNING_MEMORY_H

#include <cstdint>
#include <cstdlib>
#include <sys/mman.h>

namespace mlir::qc::cpu {

/// Memory for std::free(), in pages of 2 MiB where Linux has them: those that
/// executables read weights from. Null where there is none.
inline void *allocateHugePages(int64_t bytes) {
  constexpr size_t page = 2 << 20;
  size_t size = (static_cast<size_t>(bytes) + page - 1) / page * page;
  void *memory = std::aligned_alloc(page, size);
  if (memory)
    madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_TUNING_MEMORY_H
