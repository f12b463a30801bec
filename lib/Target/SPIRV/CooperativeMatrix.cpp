//===- CooperativeMatrix.cpp - Shapes of devices' matrices ----------------===//
#include "qc/Target/SPIRV/CooperativeMatrix.h"

#include "qc/Runtime/DeviceABI.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using mlir::qc::spirv::CooperativeMatrix;

uint32_t CooperativeMatrix::arch() const {
  return QC_COOPERATIVE_SHAPE(m, n, k, subgroup);
}

std::string CooperativeMatrix::spelling() const {
  return llvm::formatv("{0}x{1}x{2}/{3}", m, n, k, subgroup);
}

llvm::Expected<SmallVector<CooperativeMatrix>>
mlir::qc::spirv::parseCooperativeMatrices(StringRef list) {
  SmallVector<CooperativeMatrix> result;
  if (list == "none")
    return result;
  for (StringRef item : llvm::split(list, ',')) {
    CooperativeMatrix matrix = {};
    StringRef rest = item;
    bool bad = rest.consumeInteger(10, matrix.m) || !rest.consume_front("x") ||
               rest.consumeInteger(10, matrix.n) || !rest.consume_front("x") ||
               rest.consumeInteger(10, matrix.k) || !rest.consume_front("/") ||
               rest.consumeInteger(10, matrix.subgroup) || !rest.empty();
    if (bad || !mlir::qc::gpu::isCooperativeShape(matrix.sizes()))
      return llvm::createStringError(
          "'" + item.str() +
          "': expected none or M x N x K and the size of a subgroup that tile "
          "32 rows, 32 tokens and 64 inputs evenly, as 16x16x32/32");
    result.push_back(matrix);
  }
  return result;
}
