//===- QCOps.cpp - Verifiers and folders of qc operations -----------------===//
#include "qc/Dialect/QC/IR/QCDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace mlir::qc;

#define GET_OP_CLASSES
#include "qc/Dialect/QC/IR/QCOps.cpp.inc"

LogicalResult WeightOp::verify() {
  SmallVector<int64_t> bytes = getWeightType().getComponentBytes();
  if (getComponents().size() != bytes.size())
    return emitOpError() << "has " << getComponents().size()
                         << " components, expected " << bytes.size() << " for "
                         << getWeightType();
  for (auto [i, expected] : llvm::enumerate(bytes))
    if (getComponent(i).getLength() != expected)
      return emitOpError() << "component " << i << " has "
                           << getComponent(i).getLength() << " bytes, expected "
                           << expected << " for " << getWeightType();
  return success();
}

LogicalResult GetWeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto weight =
      symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError() << "references " << getWeightAttr()
                         << ", which is not a qc.weight";
  if (weight.getWeightType() != getType())
    return emitOpError() << "has type " << getType() << " but "
                         << getWeightAttr() << " is " << weight.getWeightType();
  return success();
}

static LogicalResult verifyShape(Operation *op, WeightType weight,
                                 RankedTensorType tensor, StringRef what) {
  if (weight.getShape() != tensor.getShape())
    return op->emitOpError()
           << what << " is " << tensor << ", expected the shape of " << weight;
  return success();
}

LogicalResult DequantizeOp::verify() {
  return verifyShape(*this, getWeight().getType(),
                     llvm::cast<RankedTensorType>(getType()), "result");
}

LogicalResult QuantizeOp::verify() {
  if (getType().isPacked())
    return emitOpError("result must not be packed: qc-pack-weights packs");
  return verifyShape(*this, getType(),
                     llvm::cast<RankedTensorType>(getInput().getType()),
                     "operand");
}

OpFoldResult QuantizeOp::fold(FoldAdaptor) {
  auto dequantize = getInput().getDefiningOp<DequantizeOp>();
  if (dequantize && dequantize.getWeight().getType() == getType())
    return dequantize.getWeight();
  return {};
}

LogicalResult MatmulOp::verify() {
  size_t count = getWeights().size();
  auto input = llvm::cast<RankedTensorType>(getInput().getType());
  if (count == 0)
    return emitOpError("needs at least one weight");
  for (auto [i, value] : llvm::enumerate(getWeights())) {
    auto type = llvm::cast<WeightType>(value.getType());
    if (!type.isMatrix() || type.getK() != input.getDimSize(1))
      return emitOpError() << "weight " << i << " is " << type
                           << ", expected a matrix of " << input.getDimSize(1)
                           << " inputs";
    if (getArithmetic() == Arithmetic::Int8 &&
        type.getFormat().getIntegerBits() == 0)
      return emitOpError()
             << "int8 arithmetic needs formats with integer codes, weight " << i
             << " is " << type;
    auto floats = llvm::dyn_cast<FloatFormatAttr>(Attribute(type.getFormat()));
    if (getArithmetic() == Arithmetic::BF16 &&
        (!floats || !floats.getType().isBF16()))
      return emitOpError() << "bf16 arithmetic needs weights in bf16, weight "
                           << i << " is " << type;
  }
  if (!getBiases().empty() && getBiases().size() != count)
    return emitOpError() << "has " << getBiases().size() << " biases for "
                         << count << " weights, expected none or one each";
  for (auto [i, value] : llvm::enumerate(getBiases())) {
    auto type = llvm::cast<RankedTensorType>(value.getType());
    int64_t n = llvm::cast<WeightType>(getWeights()[i].getType()).getN();
    if (type.getDimSize(0) != n)
      return emitOpError() << "bias " << i << " is " << type << ", expected "
                           << n << " values";
  }
  if (getResidual() && (count != 1 || getGate()))
    return emitOpError("residual needs exactly one weight and no gate");
  if (getGate()) {
    if (count != 2)
      return emitOpError() << "gate needs two weights, found " << count;
    if (llvm::cast<WeightType>(getWeights()[0].getType()).getN() !=
        llvm::cast<WeightType>(getWeights()[1].getType()).getN())
      return emitOpError("gate needs two weights of equal N");
  }
  size_t expectedResults = getGate() ? 1 : count;
  if (getNumResults() != expectedResults)
    return emitOpError() << "has " << getNumResults() << " results, expected "
                         << expectedResults;
  for (auto [i, result] : llvm::enumerate(getResults())) {
    auto type = llvm::cast<RankedTensorType>(result.getType());
    int64_t n = llvm::cast<WeightType>(getWeights()[i].getType()).getN();
    if (type.getDimSize(0) != input.getDimSize(0) || type.getDimSize(1) != n)
      return emitOpError() << "result " << i << " is " << type
                           << ", expected the input's rows and " << n
                           << " columns";
  }
  if (getResidual() && getResidual().getType() != getResult(0).getType())
    return emitOpError() << "residual is " << getResidual().getType()
                         << ", expected " << getResult(0).getType();
  return success();
}

LogicalResult EmbeddingOp::verify() {
  WeightType weight = getWeight().getType();
  auto ids = llvm::cast<RankedTensorType>(getIds().getType());
  auto result = llvm::cast<RankedTensorType>(getType());
  if (!weight.isMatrix())
    return emitOpError() << "weight is " << weight << ", expected a matrix";
  if (result.getDimSize(0) != ids.getDimSize(0) ||
      result.getDimSize(1) != weight.getK())
    return emitOpError() << "result is " << result
                         << ", expected one row for each id and "
                         << weight.getK() << " columns";
  return success();
}
