//===- WideLoads.cpp - Vector loads as views of the same buffer -----------===//
//
// A storage buffer of SPIR-V has one element type, and upstream's conversion
// has no vector.load. But two variables may have one binding: a buffer of i32
// whose words are loaded by two or four gets a second argument, the same
// binding as an array of vectors.
//
//   %v = vector.load %w[%i] : memref<?xi32>, vector<4xi32>
// becomes
//   %v = memref.load %w4[%i / 4] : memref<?xvector<4xi32>>
//
// The variables alias, which matters to nobody: such a buffer is only read.
//
//===----------------------------------------------------------------------===//
#include "WideLoads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVAttributes.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
namespace sp = mlir::spirv;

/// A view needs loads from its beginning, whole vectors, and no store.
static LogicalResult verifyLoad(vector::LoadOp load) {
  auto buffer = dyn_cast<BlockArgument>(load.getBase());
  int64_t count = load.getVectorType().getNumElements();
  if (!buffer || !buffer.getOwner()->isEntryBlock() ||
      load.getVectorType().getRank() != 1 || (count != 2 && count != 4) ||
      load.getAlignment().value_or(0) < static_cast<uint64_t>(4 * count))
    return load.emitOpError("must load two or four words of a buffer, aligned");
  for (Operation *user : buffer.getUsers())
    if (isa<memref::StoreOp, vector::StoreOp>(user))
      return user->emitOpError("stores to a buffer that is loaded by vectors");
  return success();
}

LogicalResult mlir::qc::spirv::viewWideLoads(mlir::gpu::GPUFuncOp kernel) {
  llvm::MapVector<std::pair<unsigned, Type>, SmallVector<vector::LoadOp>> views;
  WalkResult result = kernel.walk([&](vector::LoadOp load) {
    if (failed(verifyLoad(load)))
      return WalkResult::interrupt();
    unsigned buffer = cast<BlockArgument>(load.getBase()).getArgNumber();
    views[{buffer, load.getVectorType()}].push_back(load);
    return WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  if (views.empty())
    return success();
  // With views the bindings must be spelled out.
  MLIRContext *context = kernel.getContext();
  auto bind = [&](unsigned argument, unsigned binding) {
    kernel.setArgAttr(argument, sp::getInterfaceVarABIAttrName(),
                      sp::getInterfaceVarABIAttr(/*descriptorSet=*/0, binding,
                                                 /*storageClass=*/std::nullopt,
                                                 context));
  };
  for (unsigned i = 0, e = kernel.getNumArguments(); i < e; ++i)
    bind(i, i);
  for (auto &[key, loads] : views) {
    auto [buffer, vectorType] = key;
    unsigned argument = kernel.getNumArguments();
    auto type = MemRefType::get({ShapedType::kDynamic}, vectorType);
    if (failed(kernel.insertArgument(argument, type, {}, kernel.getLoc())))
      return failure();
    Value view = kernel.getArgument(argument);
    bind(argument, buffer);
    for (vector::LoadOp load : loads) {
      OpBuilder b(load);
      Location loc = load.getLoc();
      Value count = arith::ConstantIndexOp::create(
          b, loc, cast<VectorType>(vectorType).getNumElements());
      Value at = arith::DivUIOp::create(b, loc, load.getIndices()[0], count);
      Value loaded = memref::LoadOp::create(b, loc, view, at);
      load.replaceAllUsesWith(loaded);
      load.erase();
    }
  }
  return success();
}
