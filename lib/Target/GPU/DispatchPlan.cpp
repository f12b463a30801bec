//===- DispatchPlan.cpp - Kernel launches of a step -----------------------===//
#include "DispatchPlan.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::qc::gpu;

static int64_t align(int64_t bytes) {
  return (bytes + QC_DEVICE_ALIGNMENT - 1) / QC_DEVICE_ALIGNMENT *
         QC_DEVICE_ALIGNMENT;
}

MemoryRegion DispatchPlan::allocate(int64_t bytes) {
  MemoryRegion region;
  region.size = align(bytes);
  region.buffer = static_cast<unsigned>(sizes.size());
  sizes.push_back(region.size);
  return region;
}

int64_t DispatchPlan::finish() {
  struct Life {
    unsigned first = ~0u, last = 0;
    int64_t offset = 0;
  };
  SmallVector<Life> lives(sizes.size());
  for (auto [i, dispatch] : llvm::enumerate(dispatches))
    for (const Binding &binding : dispatch.bindings)
      if (binding.region.buffer) {
        Life &life = lives[*binding.region.buffer];
        life.first = std::min(life.first, static_cast<unsigned>(i));
        life.last = std::max(life.last, static_cast<unsigned>(i));
      }
  int64_t total = 0;
  for (unsigned i = 0; i < lives.size(); ++i) {
    SmallVector<std::pair<int64_t, int64_t>> taken;
    for (unsigned j = 0; j < i; ++j)
      if (lives[j].last >= lives[i].first && lives[i].last >= lives[j].first)
        taken.push_back({lives[j].offset, lives[j].offset + sizes[j]});
    llvm::sort(taken);
    int64_t at = 0;
    for (auto [begin, end] : taken) {
      if (at + sizes[i] <= begin)
        break;
      at = std::max(at, end);
    }
    lives[i].offset = at;
    total = std::max(total, at + sizes[i]);
  }
  for (Dispatch &dispatch : dispatches)
    for (Binding &binding : dispatch.bindings)
      if (binding.region.buffer)
        binding.region.offset = lives[*binding.region.buffer].offset;
  placeBarriers();
  return total;
}

/// Whether two regions may share a byte, whatever the capacity is.
static bool overlap(const MemoryRegion &a, const MemoryRegion &b) {
  if (a.space != b.space)
    return false;
  if (a.offsetPerPosition || b.offsetPerPosition || a.sizePerPosition ||
      b.sizePerPosition)
    return a.offsetPerPosition < b.offsetPerPosition + b.sizePerPosition &&
           b.offsetPerPosition < a.offsetPerPosition + a.sizePerPosition;
  return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

void DispatchPlan::placeBarriers() {
  SmallVector<Binding> since; // the last barrier
  for (Dispatch &dispatch : dispatches) {
    for (const Binding &now : dispatch.bindings)
      for (const Binding &before : since)
        if ((now.written || before.written) &&
            overlap(now.region, before.region))
          dispatch.barrier = true;
    if (dispatch.barrier)
      since.clear();
    since.append(dispatch.bindings);
  }
}

ArrayAttr DispatchPlan::toAttribute(MLIRContext *context) const {
  Builder b(context);
  static constexpr StringRef names[] = {"weights", "arena",  "kv",  "tables",
                                        "state",   "logits", "top", "input"};
  SmallVector<Attribute> list;
  for (const Dispatch &dispatch : dispatches) {
    SmallVector<int32_t> grid;
    for (QCDeviceExtent extent : dispatch.grid) {
      grid.push_back(static_cast<int32_t>(extent.factor));
      grid.push_back(static_cast<int32_t>(extent.tile));
    }
    SmallVector<Attribute> buffers;
    for (const Binding &binding : dispatch.bindings) {
      const MemoryRegion &r = binding.region;
      buffers.push_back(b.getArrayAttr(
          {b.getStringAttr(names[r.space]),
           b.getStringAttr(binding.written ? "write" : "read"),
           b.getDenseI64ArrayAttr(
               {r.offset, r.offsetPerPosition, r.size, r.sizePerPosition})}));
    }
    NamedAttrList attrs;
    attrs.set("kernel", b.getStringAttr(dispatch.kernel));
    attrs.set("grid", b.getDenseI32ArrayAttr(grid));
    attrs.set("buffers", b.getArrayAttr(buffers));
    if (dispatch.barrier)
      attrs.set("barrier", b.getUnitAttr());
    list.push_back(attrs.getDictionary(context));
  }
  return b.getArrayAttr(list);
}
