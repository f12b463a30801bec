//===- LMOps.cpp - Verifiers of lm operations -----------------------------===//
#include "qc/Dialect/LM/IR/LMDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace mlir::lm;

#define GET_OP_CLASSES
#include "qc/Dialect/LM/IR/LMOps.cpp.inc"

static int64_t dim(Value value, unsigned index) {
  return llvm::cast<RankedTensorType>(value.getType()).getDimSize(index);
}

static LogicalResult verifyEps(Operation *op, const APFloat &eps) {
  if (!eps.isFinite() || eps.isNegative() || eps.isZero())
    return op->emitOpError("eps must be positive");
  return success();
}

LogicalResult EmbeddingOp::verify() {
  if (dim(getResult(), 0) != dim(getIds(), 0) ||
      dim(getResult(), 1) != dim(getTable(), 1))
    return emitOpError() << "result is " << getType()
                         << ", expected one row for each id and "
                         << dim(getTable(), 1) << " columns";
  return success();
}

LogicalResult RMSNormOp::verify() {
  int64_t group = dim(getWeight(), 0), columns = dim(getInput(), 1);
  if (ShapedType::isDynamic(group) || ShapedType::isDynamic(columns) ||
      group == 0 || columns % group)
    return emitOpError() << "input has " << columns
                         << " columns, expected a multiple of the weight's "
                         << group;
  return verifyEps(*this, getEps());
}

LogicalResult LayerNormOp::verify() {
  int64_t columns = dim(getInput(), 1);
  if (dim(getWeight(), 0) != columns || dim(getBias(), 0) != columns)
    return emitOpError() << "weight and bias must have " << columns
                         << " values, found " << dim(getWeight(), 0) << " and "
                         << dim(getBias(), 0);
  return verifyEps(*this, getEps());
}

static LogicalResult verifyLinear(Operation *op, Value input, Value weight,
                                  Value result) {
  if (dim(weight, 1) != dim(input, 1))
    return op->emitOpError() << "weight has " << dim(weight, 1)
                             << " inputs, expected " << dim(input, 1);
  if (dim(result, 0) != dim(input, 0) || dim(result, 1) != dim(weight, 0))
    return op->emitOpError() << "result is " << result.getType()
                             << ", expected the input's rows and "
                             << dim(weight, 0) << " columns";
  return success();
}

LogicalResult LinearOp::verify() {
  if (getBias() && dim(getBias(), 0) != dim(getWeight(), 0))
    return emitOpError() << "bias has " << dim(getBias(), 0)
                         << " values, expected " << dim(getWeight(), 0);
  return verifyLinear(*this, getInput(), getWeight(), getResult());
}

LogicalResult LogitsOp::verify() {
  return verifyLinear(*this, getHidden(), getWeight(), getResult());
}

LogicalResult LastTokenOp::verify() {
  if (dim(getResult(), 0) != 1 || dim(getResult(), 1) != dim(getInput(), 1))
    return emitOpError() << "result is " << getType() << ", expected 1 row and "
                         << dim(getInput(), 1) << " columns";
  return success();
}

LogicalResult RotaryTableOp::verify() {
  if (dim(getResult(), 0) != dim(getIds(), 0) ||
      dim(getResult(), 1) != getRope().getDim())
    return emitOpError() << "result is " << getType()
                         << ", expected one row for each id and "
                         << getRope().getDim() << " columns";
  return success();
}

LogicalResult RotaryOp::verify() {
  int64_t head = getHeadDim(), columns = dim(getInput(), 1);
  if (head <= 0 || columns % head)
    return emitOpError() << "input has " << columns
                         << " columns, expected a multiple of head_dim "
                         << head;
  int64_t table = dim(getTable(), 1);
  if (table % 2 || table > head || table <= 0)
    return emitOpError() << "table has " << table
                         << " columns, expected an even number up to head_dim "
                         << head;
  return success();
}

LogicalResult CacheLayerOp::verify() {
  KVCacheType cache = getCache().getType(), layer = getType();
  if (cache.getShape().size() != 3)
    return emitOpError() << "cache is " << cache << ", expected all layers";
  if (layer.getShape() != cache.getShape().drop_front() ||
      layer.getElementType() != cache.getElementType())
    return emitOpError() << "result is " << layer << ", expected one layer of "
                         << cache;
  int64_t index = getLayer();
  if (index < 0 || index >= cache.getShape().front())
    return emitOpError() << "layer " << index << " is outside of " << cache;
  return success();
}

LogicalResult AttentionOp::verify() {
  KVCacheType cache = getCache().getType();
  if (cache.getShape().size() != 2)
    return emitOpError() << "cache is " << cache << ", expected one layer";
  int64_t keys = cache.getHeads() * cache.getHeadDim();
  if (dim(getKey(), 1) != keys)
    return emitOpError() << "keys have " << dim(getKey(), 1)
                         << " columns, expected " << keys << " for " << cache;
  if (dim(getQuery(), 1) % keys)
    return emitOpError() << "queries have " << dim(getQuery(), 1)
                         << " columns, expected a multiple of " << keys;
  if (getResult().getType() != getQuery().getType())
    return emitOpError() << "result is " << getType()
                         << ", expected the type of the queries";
  if (getWindow() && *getWindow() <= 0)
    return emitOpError() << "window must be positive, found " << *getWindow();
  return success();
}
