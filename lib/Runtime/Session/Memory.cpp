//===- Memory.cpp - Large allocations -------------------------------------===//
#include "qc/Runtime/Session/Session.h"

#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <sys/sysinfo.h>

using namespace qc::rt;

Memory::~Memory() {
  if (base)
    munmap(base, size);
}

bool Memory::allocate(size_t bytes) {
  size = std::max<size_t>(bytes, 4096);
  if (size > static_cast<size_t>(availableMemory()))
    return false;
  void *address = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED)
    return false;
  base = address;
  madvise(base, size, MADV_HUGEPAGE);
  return true;
}

int64_t qc::rt::availableMemory() {
  struct sysinfo info = {};
  if (sysinfo(&info) != 0)
    return INT64_MAX;
  // Without /proc (a bare chroot) the page cache cannot be told from used
  // memory: then the whole memory is the bound.
  int64_t available =
      static_cast<int64_t>(info.totalram) * static_cast<int64_t>(info.mem_unit);
  if (FILE *file = std::fopen("/proc/meminfo", "re")) {
    char line[128];
    long long kilobytes;
    while (std::fgets(line, sizeof line, file))
      if (std::sscanf(line, "MemAvailable: %lld", &kilobytes) == 1)
        available = kilobytes * 1024;
    std::fclose(file);
  }
  return available + static_cast<int64_t>(info.freeswap) *
                         static_cast<int64_t>(info.mem_unit);
}
