//===- HugePages.h - Mapped weights move to huge pages ----------*- C++ -*-===//
#ifndef QC_RUNTIME_SESSION_HUGEPAGES_H
#define QC_RUNTIME_SESSION_HUGEPAGES_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace qc::rt {

/// Replaces a read-only file mapping, piece by piece and at the same addresses,
/// by anonymous copies in huge pages. With the page cache's 4 KiB pages a step
/// of decoding spends a quarter of its time on page table walks (measured on
/// Zen 4); copying everything before the first token would delay that. Readers
/// may go on meanwhile: the kernel swaps a piece atomically.
class HugePages {
public:
  /// Of the mapping [data, data + size). Does nothing where the system has no
  /// huge pages to offer, the mapping is small or memory would become short.
  void begin(const void *data, size_t size);
  bool isDone() const { return next.load(std::memory_order_relaxed) >= pieces; }
  /// Moves one piece; several threads may. False when none is left.
  bool moveOne();
  /// Pieces to move after a step, so that all are moved in some 32 steps.
  int64_t piecesPerStep() const { return (pieces + 31) / 32; }

private:
  uint8_t *first = nullptr; ///< aligned to a huge page
  size_t pieceBytes = 0;
  int64_t pieces = 0;
  std::atomic<int64_t> next{0};
};

} // namespace qc::rt

#endif // QC_RUNTIME_SESSION_HUGEPAGES_H
