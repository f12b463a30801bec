//===- Fake.h - The state of the test libcuda -------------------*- C++ -*-===//
//
// Stands in for libcuda.so.1 (LD_LIBRARY_PATH): has the functions that the
// runtime uses, checks how they are used, and runs kernels in the emulator,
// from the LLVM IR that QC_FAKE_CUDA_KERNELS names (kernels.ll of --dump-dir)
// or that is the image itself. What is wrong goes to stderr, as "fake libcuda:
// ...".
//
// Work of a stream is done when an event behind it is queried, as late as can
// be; independent nodes of a graph run in the order that is least expected. So
// a missing wait or dependency shows. Device memory is poisoned (NaN) when it
// is allocated.
//
// QC_FAKE_CUDA_ARCH: compute capability of the device, 90. QC_FAULT:
//
//   none      there are no devices       two     there are two
//   old       the driver has CUDA 11.2   memory  the device has no memory left
//   pinned    nor has the host           weights only 4 KiB at once
//   image     PTX does not compile       ptx     PTX is newer than the driver
//   busy      another process has the device
//   hang      a graph never ends
//   error:N   a graph ends with CUresult N
//
//===----------------------------------------------------------------------===//
#ifndef QC_TEST_UNIT_SUPPORT_CUDA_FAKE_H
#define QC_TEST_UNIT_SUPPORT_CUDA_FAKE_H

#include "../../../../lib/Runtime/CUDA/Driver.h"
#include "Emulator.h"

#include <functional>
#include <map>

namespace qc::test::fakecuda {

using namespace qc::rt::cuda;
using nvvm::Emulator;

bool fault(const char *name);
/// N of error:N, else 0.
int faultNumber();

/// Says what is wrong and returns `result`.
CUresult complain(CUresult result, const std::string &what);

/// The current context and no error that lasts, else what to return.
CUresult usable(const char *function);
uint32_t deviceArch();

//===-- Memory ------------------------------------------------------------===//

CUresult allocateDevice(CUdeviceptr *pointer, size_t bytes);
CUresult freeDevice(CUdeviceptr pointer);
CUresult allocatePinned(void **pointer, size_t bytes);
CUresult freePinned(void *pointer);
bool inDevice(CUdeviceptr pointer, size_t bytes);
bool inPinned(const void *pointer, size_t bytes);

//===-- Code --------------------------------------------------------------===//

struct Module;
struct Function {
  Module *module;
  const nvvm::Kernel *kernel;
  size_t mostShared = 48 * 1024;
};
struct Module {
  std::unique_ptr<Emulator> emulator;
  bool cubin = false; ///< the IR may be for another architecture
  std::map<std::string, Function> functions;
};

/// `log`: what the JIT compiler of a driver writes.
CUresult loadImage(const void *image, std::unique_ptr<Module> &module,
                   std::string &log);

/// A launch with its parameters by value.
struct Launch {
  Function *function = nullptr;
  nvvm::LaunchSize size;
  std::vector<uint64_t> parameters;
};
CUresult readLaunch(const CUDA_KERNEL_NODE_PARAMS &params, Launch &launch);
CUresult run(Launch &launch);

//===-- Streams and graphs ------------------------------------------------===//

using Work = std::function<CUresult()>;

/// A graph never ends: what waits for the device would wait for ever. Ends the
/// process if that is so.
void mustNotHang(const char *function);

extern CUresult lasting; ///< error after which everything fails

} // namespace qc::test::fakecuda

#endif // QC_TEST_UNIT_SUPPORT_CUDA_FAKE_H
