//===- DispatchPlan.h - Kernel launches of a step ---------------*- C++ -*-===//
//
// What qc-lower-to-gpu-kernels makes of a function besides kernels: the list of
// launches of qc/Runtime/DeviceABI.h, first on virtual buffers, then with a
// place for each of them in the arena.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_GPU_DISPATCHPLAN_H
#define QC_TARGET_GPU_DISPATCHPLAN_H

#include "mlir/IR/BuiltinAttributes.h"
#include "qc/Runtime/DeviceABI.h"

#include <optional>

namespace mlir::qc::gpu {

/// A region of a space, see QCDeviceBuffer.
struct MemoryRegion {
  uint32_t space = QC_SPACE_ARENA;
  int64_t offset = 0, offsetPerPosition = 0;
  int64_t size = 0, sizePerPosition = 0;
  /// Index of a virtual buffer: its offset in the arena comes last.
  std::optional<unsigned> buffer;
};

struct Binding {
  MemoryRegion region;
  bool written = false;
};

struct Dispatch {
  std::string kernel;
  QCDeviceExtent grid[3] = {{1, 0}, {1, 0}, {1, 0}};
  SmallVector<Binding> bindings;
  bool barrier = false;
};

/// The dispatches of one step.
class DispatchPlan {
public:
  /// A new buffer of the arena of `bytes` bytes.
  MemoryRegion allocate(int64_t bytes);
  void add(Dispatch dispatch) { dispatches.push_back(std::move(dispatch)); }

  /// Places all buffers by their lifetimes (first fit) and decides where
  /// dispatches must wait for each other. Returns the size of the arena.
  int64_t finish();

  ArrayRef<Dispatch> get() const { return dispatches; }
  ArrayAttr toAttribute(MLIRContext *context) const;

private:
  void placeBarriers();

  SmallVector<int64_t> sizes; ///< of the buffers
  SmallVector<Dispatch> dispatches;
};

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_DISPATCHPLAN_H
