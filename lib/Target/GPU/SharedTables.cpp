//===- SharedTables.cpp - Tables in shared memory -------------------------===//
#include "SharedTables.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::GPUBuilder;
using mlir::qc::gpu::KernelContext;
using mlir::qc::gpu::MatmulSignature;
using mlir::qc::gpu::rowsPerGroup;
using mlir::qc::gpu::SharedTables;
using mlir::qc::gpu::TableShares;
using mlir::qc::gpu::tableThreadRows;
using mlir::qc::gpu::warpThreads;
using mlir::qc::gpu::workgroupThreads;

/// One on each multiprocessor of an H100 or H200.
static constexpr int64_t mostGroups = 132;
/// Two workgroups on a multiprocessor leave 64 registers a thread: room for
/// words of codes that are loaded a step ahead, and for activations.
static constexpr int64_t mostThreads = 512, mostStepWords = 8,
                         mostKeptWords = 8, mostKeptSteps = 2;

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

SharedTables::SharedTables(GPUBuilder &b, WeightType weight)
    : tables(*weight.getFormat().getLookupTables()), b(b) {
  memory = mlir::gpu::DynamicSharedMemoryOp::create(
      b, MemRefType::get(
             {ShapedType::kDynamic}, b.getI8Type(), MemRefLayoutAttrInterface(),
             mlir::gpu::AddressSpaceAttr::get(
                 b.getContext(), mlir::gpu::AddressSpace::Workgroup)));
}

SmallVector<Value> SharedTables::load(Value blob) {
  SmallVector<Value> entries;
  for (int64_t i = 0; i < tables.entries; i += b.threads) {
    Value entry = b.add(b.thread(), i);
    if (i + b.threads > tables.entries)
      entry = b.min(entry, b.index(tables.entries - 1));
    Value at = b.add(b.mul(entry, tables.entryWords), tables.offset / 4);
    entries.push_back(
        tables.entryWords == 1
            ? vector::BroadcastOp::create(
                  b, VectorType::get({1}, b.getI32Type()), b.load(blob, at))
                  .getResult()
            : b.loadWide(blob, at, tables.entryWords));
  }
  return entries;
}

// A thread's stores begin with another copy than those of its neighbours, so
// that they do not meet in a bank.
void SharedTables::fill(ValueRange entries) {
  auto type = VectorType::get({bytes()}, b.getI8Type());
  Value first = b.rem(b.thread(), numCopies());
  for (auto [i, words] : llvm::enumerate(entries)) {
    int64_t begin = static_cast<int64_t>(i) * b.threads;
    Value entry = b.add(b.thread(), begin);
    Value value = vector::BitCastOp::create(b, type, words);
    auto store = [&] {
      Value at = b.mul(entry, TableCopies::entryBytes);
      for (int64_t copy = 0; copy < numCopies(); ++copy) {
        Value own = arith::XOrIOp::create(b, first, b.index(copy));
        vector::StoreOp::create(
            b, value, memory, ValueRange{b.add(at, b.mul(own, bytes()))},
            /*nontemporal=*/false, llvm::MaybeAlign(bytes()));
      }
    };
    if (begin + b.threads <= tables.entries)
      store();
    else
      b.ifThen(b.less(entry, tables.entries), store);
  }
}

TableCopies SharedTables::copies() {
  return {tables, memory,
          b.toI32(b.mul(b.rem(b.thread(), numCopies()), bytes()))};
}

//===----------------------------------------------------------------------===//
// Shares
//===----------------------------------------------------------------------===//

TableShares::TableShares(const MatmulSignature &sig) {
  auto input = ActivationBlocks::get(sig.weight);
  ::qc::PackedLayout layout = sig.weight.getLayout();
  lanes = sig.tableRows / tableThreadRows;
  parts = sig.threads / lanes;
  blocks = input.blocks;
  chunks = input.paddedBlockK / layout.chunkK;
  chunkWords = layout.chunkK / 4;
  tableWords = layout.chunkBytes / (rowsPerGroup / tableThreadRows) / 4;
  // The longest part, in words; a block takes about two more.
  int64_t best = INT64_MAX;
  for (int64_t ways = 1; ways <= parts && chunks % ways == 0; ways *= 2) {
    int64_t words = chunks / ways * tableWords;
    int64_t longest =
        llvm::divideCeilSigned(blocks, parts / ways) * (words + 2);
    bool fits = words <= mostStepWords;
    if (fits ? longest < best : best == INT64_MAX)
      chunkWays = ways;
    if (fits)
      best = std::min(best, longest);
  }
  blockWays = parts / chunkWays;
  steps = llvm::divideCeilSigned(blocks, blockWays);
  stepChunks = chunks / chunkWays;
}

bool TableShares::isKept() const {
  return steps <= mostKeptSteps &&
         steps * stepChunks * chunkWords <= mostKeptWords;
}

int64_t mlir::qc::gpu::tableUnits(const MatmulSignature &sig,
                                  WeightType weight) {
  return llvm::divideCeilSigned(weight.getN(), sig.tableRows);
}

int64_t mlir::qc::gpu::tableGroups(const MatmulSignature &sig,
                                   WeightType weight) {
  int64_t own = tableUnits(sig, weight), all = tableUnits(sig, sig.weight);
  for (WeightType other : sig.others)
    all += tableUnits(sig, other);
  return all <= mostGroups ? own : std::max<int64_t>(1, own * mostGroups / all);
}

int64_t mlir::qc::gpu::tableRounds(const MatmulSignature &sig,
                                   WeightType weight) {
  return llvm::divideCeilSigned(tableUnits(sig, weight),
                                tableGroups(sig, weight));
}

int64_t mlir::qc::gpu::tableGroups(const MatmulSignature &sig) {
  int64_t groups = tableGroups(sig, sig.weight);
  for (WeightType other : sig.others)
    groups += tableGroups(sig, other);
  return groups;
}

static bool hasTables(const KernelContext &ctx, const MatmulSignature &sig) {
  FormatAttrInterface format = sig.weight.getFormat();
  auto tables = format.getLookupTables();
  return sig.arithmetic == Arithmetic::Int8 && sig.tokens == 1 &&
         ctx.hasWarps() && ctx.integerDot == mlir::qc::gpu::IntegerDot::NVVM &&
         tables && llvm::is_contained({1, 2, 4}, tables->entryWords) &&
         llvm::all_of(sig.weights(), [&](WeightType weight) {
           ::qc::PackedLayout layout = weight.getLayout();
           return weight.getFormat() == format &&
                  mlir::qc::gpu::isWide(layout) && layout.blockParamBytes == 0;
         });
}

bool mlir::qc::gpu::chooseTables(const KernelContext &ctx,
                                 MatmulSignature &sig) {
  if (!hasTables(ctx, sig))
    return false;
  MatmulSignature own = sig;
  // The fewest rows of the workgroup that has most. Half of a row block reads
  // sectors of the cache that another workgroup may read, too.
  int64_t least = INT64_MAX, rounds = 0;
  for (int64_t rows : {rowsPerGroup, rowsPerGroup / 2}) {
    own.tableRows = rows;
    int64_t most = 0;
    for (WeightType weight : sig.weights())
      most = std::max(most, tableRounds(own, weight));
    if (most * rows < least) {
      least = most * rows;
      rounds = most;
      sig.tableRows = rows;
    }
  }
  own = sig;
  auto input = ActivationBlocks::get(sig.weight);
  int64_t chunks =
      input.blocks * input.paddedBlockK / sig.weight.getLayout().chunkK;
  own.threads = std::min(ctx.maxThreads, mostThreads);
  while (own.threads > workgroupThreads &&
         own.threads / (own.tableRows / tableThreadRows) > chunks)
    own.threads /= 2;
  // Tables, input, two times partial sums, sums of a gate's first product.
  int64_t sums = (2 * own.threads / warpThreads + rounds) * own.tableRows * 4;
  int64_t others = input.k + 8 * input.blocks + (1 << 10);
  LookupTables tables = *sig.weight.getFormat().getLookupTables();
  if (SharedTables::bytes(tables) + sums + others > ctx.sharedBytes) {
    sig.tableRows = 0;
    return false;
  }
  sig.threads = own.threads;
  return true;
}
