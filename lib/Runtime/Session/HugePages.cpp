//===- HugePages.cpp - Mapped weights move to huge pages ------------------===//
#include "qc/Runtime/Session/HugePages.h"

#include "qc/Runtime/Session/Session.h"

#include <cstdio>
#include <cstring>
#include <sys/mman.h>

using namespace qc::rt;

static constexpr size_t hugePage = size_t(2) << 20;

static bool systemOffersHugePages() {
  char line[64] = "";
  if (FILE *file =
          std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re")) {
    if (!std::fgets(line, sizeof line, file))
      line[0] = 0;
    std::fclose(file);
  }
  return std::strstr(line, "[madvise]") || std::strstr(line, "[always]");
}

void HugePages::begin(const void *data, size_t size) {
  // A few megabytes stay in the caches; and the copy needs as much memory
  // again while the page cache keeps the file.
  if (size < 16 * hugePage || !systemOffersHugePages() ||
      availableMemory() < static_cast<int64_t>(size + size / 4))
    return;
  auto begin = reinterpret_cast<uintptr_t>(data);
  uintptr_t aligned = (begin + hugePage - 1) / hugePage * hugePage;
  size -= aligned - begin;
  // Each piece becomes a mapping of its own, and a process may have 65530.
  pieceBytes = (size / 4096 + hugePage - 1) / hugePage * hugePage;
  first = reinterpret_cast<uint8_t *>(aligned);
  pieces = static_cast<int64_t>(size / pieceBytes);
}

bool HugePages::moveOne() {
  int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
  if (piece >= pieces)
    return false;
  uint8_t *target = first + static_cast<size_t>(piece) * pieceBytes;
  void *raw = mmap(nullptr, pieceBytes + hugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) {
    // Short of memory or mappings: the rest stays as it is.
    next.store(pieces, std::memory_order_relaxed);
    return false;
  }
  auto address = reinterpret_cast<uintptr_t>(raw);
  auto *copy = reinterpret_cast<uint8_t *>((address + hugePage - 1) / hugePage *
                                           hugePage);
  madvise(copy, pieceBytes, MADV_HUGEPAGE);
  std::memcpy(copy, target, pieceBytes);
  mprotect(copy, pieceBytes, PROT_READ);
  if (mremap(copy, pieceBytes, pieceBytes, MREMAP_MAYMOVE | MREMAP_FIXED,
             target) == MAP_FAILED) {
    munmap(raw, pieceBytes + hugePage);
    next.store(pieces, std::memory_order_relaxed);
    return false;
  }
  // What alignment left over on both sides.
  size_t before = reinterpret_cast<uintptr_t>(copy) - address;
  if (before)
    munmap(raw, before);
  if (before < hugePage)
    munmap(copy + pieceBytes, hugePage - before);
  return true;
}
