//===- Memory.cpp - Memory of the test libcuda ----------------------------===//
#include "Fake.h"

#include <cstring>
#include <sys/mman.h>

using namespace qc::test::fakecuda;

namespace {
struct Block {
  size_t bytes;
  void *mapping;
  size_t mapped;
};
} // namespace

static std::map<uintptr_t, Block> device, pinned;

/// A block that ends, but for its alignment, at a page that faults.
static bool map(size_t bytes, uintptr_t &address, Block &block) {
  constexpr size_t page = 4096;
  size_t rounded = (bytes + 255) / 256 * 256;
  size_t mapped = (rounded + page - 1) / page * page + page;
  void *memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return false;
  char *guard = static_cast<char *>(memory) + mapped - page;
  mprotect(guard, page, PROT_NONE);
  address = reinterpret_cast<uintptr_t>(guard - rounded);
  std::memset(guard - rounded, 0xff, rounded);
  block = {bytes, memory, mapped};
  return true;
}

static CUresult release(std::map<uintptr_t, Block> &blocks, uintptr_t address,
                        const char *what) {
  auto it = blocks.find(address);
  if (it == blocks.end())
    return complain(CUDA_ERROR_INVALID_VALUE,
                    std::string(what) + " of memory that is not allocated");
  munmap(it->second.mapping, it->second.mapped);
  blocks.erase(it);
  return CUDA_SUCCESS;
}

static bool contains(const std::map<uintptr_t, Block> &blocks,
                     uintptr_t address, size_t bytes) {
  auto it = blocks.upper_bound(address);
  if (it == blocks.begin())
    return false;
  --it;
  return address + bytes <= it->first + it->second.bytes &&
         address < it->first + it->second.bytes;
}

CUresult qc::test::fakecuda::allocateDevice(CUdeviceptr *pointer,
                                            size_t bytes) {
  if (bytes == 0)
    return complain(CUDA_ERROR_INVALID_VALUE, "cuMemAlloc of 0 bytes");
  if (fault("memory") || (fault("weights") && bytes > 4096))
    return CUDA_ERROR_OUT_OF_MEMORY;
  uintptr_t address = 0;
  Block block;
  if (!map(bytes, address, block))
    return CUDA_ERROR_OUT_OF_MEMORY;
  device[address] = block;
  *pointer = address;
  return CUDA_SUCCESS;
}

CUresult qc::test::fakecuda::freeDevice(CUdeviceptr pointer) {
  return release(device, pointer, "cuMemFree");
}

CUresult qc::test::fakecuda::allocatePinned(void **pointer, size_t bytes) {
  uintptr_t address = 0;
  Block block;
  if (fault("pinned") || !map(bytes, address, block))
    return CUDA_ERROR_OUT_OF_MEMORY;
  pinned[address] = block;
  *pointer = reinterpret_cast<void *>(address);
  return CUDA_SUCCESS;
}

CUresult qc::test::fakecuda::freePinned(void *pointer) {
  return release(pinned, reinterpret_cast<uintptr_t>(pointer), "cuMemFreeHost");
}

bool qc::test::fakecuda::inDevice(CUdeviceptr pointer, size_t bytes) {
  return contains(device, pointer, bytes);
}

bool qc::test::fakecuda::inPinned(const void *pointer, size_t bytes) {
  return contains(pinned, reinterpret_cast<uintptr_t>(pointer), bytes);
}
