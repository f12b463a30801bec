//===- SharedTables.h - Tables in shared memory -----------------*- C++ -*-===//
//
// What TableMatmulKernel.cpp is made of: copies of a weight's tables, and how
// workgroups and their threads share a product.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_GPU_SHAREDTABLES_H
#define QC_TARGET_GPU_SHAREDTABLES_H

#include "Kernels.h"

namespace mlir::qc::gpu {

/// Copies of the tables of one weight at a time, in dynamic shared memory.
class SharedTables {
public:
  /// `weight`: or another one of its format.
  SharedTables(GPUBuilder &b, WeightType weight);
  static int64_t bytes(const LookupTables &tables) {
    return tables.entries * TableCopies::entryBytes;
  }

  /// The entries that the thread copies, of a packed weight.
  SmallVector<Value> load(Value blob);
  void fill(ValueRange entries);
  /// For the look-ups of this thread.
  TableCopies copies();

  const LookupTables tables;

private:
  /// Bytes of an entry, and its copies.
  int64_t bytes() const { return 4 * tables.entryWords; }
  int64_t numCopies() const { return TableCopies::entryBytes / bytes(); }

  GPUBuilder &b;
  Value memory;
};

/// Rows of a thread.
inline constexpr int64_t tableThreadRows = 4;

/// How threads share K. Lanes that hold the rows of a unit are one of `parts`,
/// which has every blockWays'th block of the activations, a step each, and of
/// those every chunkWays'th chunk.
struct TableShares {
  explicit TableShares(const MatmulSignature &sig);

  int64_t lanes, parts;
  int64_t blocks, chunks;         ///< of the activations, chunks of each
  int64_t chunkWords, tableWords; ///< of activations, of a thread's codes
  int64_t chunkWays = 1, blockWays, steps, stepChunks;

  /// Whether some parts have no block in the last step.
  bool isRagged() const { return blocks % blockWays != 0; }
  /// Whether a thread's activations fit its registers.
  bool isKept() const;
};

/// Units of a product, of sig.tableRows rows; the workgroups that share them,
/// and the most that one has.
int64_t tableUnits(const MatmulSignature &sig, WeightType weight);
int64_t tableGroups(const MatmulSignature &sig, WeightType weight);
int64_t tableRounds(const MatmulSignature &sig, WeightType weight);

} // namespace mlir::qc::gpu

#endif // QC_TARGET_GPU_SHAREDTABLES_H
