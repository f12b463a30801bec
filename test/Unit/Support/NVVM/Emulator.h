//===- Emulator.h - NVVM kernels on the CPU, for tests ----------*- C++ -*-===//
//
// Takes the LLVM IR of kernels for NVPTX as the compiler's optimizer left it,
// makes it code for this CPU and runs grids: block after block, the threads of
// a block as fibers that change at barriers and warp exchanges. What the PTX
// ISA (docs.nvidia.com/cuda/parallel-thread-execution) leaves undefined is an
// error here where it can be seen: a barrier that not all threads reach, a lane
// that is missing from an exchange. Shared memory is poisoned before every
// block, asynchronous copies happen at the wait for them and no sooner.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TEST_UNIT_SUPPORT_NVVM_EMULATOR_H
#define QC_TEST_UNIT_SUPPORT_NVVM_EMULATOR_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace qc::test::nvvm {

struct Kernel {
  std::string name;
  std::vector<size_t> parameters; ///< bytes of each
  /// Threads of a block that the kernel was compiled for; 0: any.
  std::array<unsigned, 3> threads = {0, 0, 0};
  bool waits = false; ///< it calls griddepcontrol.wait
};

struct LaunchSize {
  std::array<unsigned, 3> grid = {1, 1, 1}, block = {1, 1, 1};
  size_t sharedBytes = 0; ///< of dynamic shared memory
};

class Emulator {
public:
  /// `ir`: text or bitcode. Null: `error` says why.
  static std::unique_ptr<Emulator> create(std::string_view ir,
                                          std::string &error);
  virtual ~Emulator() = default;

  virtual const std::vector<Kernel> &kernels() const = 0;
  const Kernel *find(std::string_view name) const;
  /// `parameters`: a pointer to each, as for cuLaunchKernel. One launch at a
  /// time in a process.
  virtual bool launch(const Kernel &kernel, const LaunchSize &size,
                      void **parameters, std::string &error) = 0;
};

} // namespace qc::test::nvvm

#endif // QC_TEST_UNIT_SUPPORT_NVVM_EMULATOR_H
