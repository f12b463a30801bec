//===- Block.h - The threads of a block as fibers ---------------*- C++ -*-===//
#ifndef QC_TEST_UNIT_SUPPORT_NVVM_BLOCK_H
#define QC_TEST_UNIT_SUPPORT_NVVM_BLOCK_H

#include "Emulator.h"

#include <deque>
#include <functional>

namespace qc::test::nvvm {

/// What special registers hold for the running thread; generated code loads
/// from it.
struct Registers {
  uint32_t tid[3], ntid[3], ctaid[3], nctaid[3];
  uint32_t laneid, warpid;
};
extern Registers registers;

/// Arguments of an intrinsic, 8 bytes each, and then its results.
using Slots = uint64_t *;

/// Of the lanes of a warp that take part; null for the others.
using Lanes = std::array<Slots, 32>;

/// How an intrinsic that is not expanded in the IR is computed.
struct Definition {
  enum class Kind { Local, Warp, Barrier };
  std::string name;
  Kind kind = Kind::Local;
  std::function<void(Slots)> local;
  /// Warp: all lanes of the mask have arrived. False if one reads from a lane
  /// that does not take part.
  std::function<bool(const Lanes &)> warp;
  int mask = -1; ///< Warp: argument with the lanes; -1: all 32
  /// Barrier: arguments with its number and its number of threads; -1: all.
  int barrier = 0, count = -1;
  /// Barrier with a reduction of the argument behind these: result of all.
  std::function<uint64_t(uint64_t, uint64_t)> reduce;
};

/// The definition of `name` (llvm.nvvm...); false if it has none.
bool findIntrinsic(const std::string &name, Definition &intrinsic);

/// Called by generated code: runs an intrinsic, and other threads meanwhile.
void callIntrinsic(const Definition *intrinsic, Slots slots);

/// A copy that cp.async has begun.
struct AsyncCopy {
  void *to;
  const void *from;
  size_t bytes, filled; ///< bytes behind the first `bytes` that become 0
};

/// Of the running thread: the copies of its group that is open, and the closed
/// groups, oldest first.
struct AsyncCopies {
  std::vector<AsyncCopy> open;
  std::deque<std::vector<AsyncCopy>> groups;
  /// Copies until at most `most` groups are left.
  void wait(size_t most);
};
AsyncCopies &asyncCopies();

/// Runs code(parameters) in all threads of the block that `registers` name.
/// `what`: the kernel, for messages.
bool runBlock(void (*code)(void **), void **parameters, const std::string &what,
              std::string &error);

} // namespace qc::test::nvvm

#endif // QC_TEST_UNIT_SUPPORT_NVVM_BLOCK_H
