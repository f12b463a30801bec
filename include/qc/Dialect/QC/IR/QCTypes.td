//===- QCTypes.td - qc types --------------------------------*- tablegen -*-===//
#ifndef QC_DIALECT_QC_IR_QCTYPES_TD
#define QC_DIALECT_QC_IR_QCTYPES_TD

include "mlir/IR/AttrTypeBase.td"
include "qc/Dialect/QC/IR/QCAttrs.td"

def QC_WeightType : TypeDef<QC_Dialect, "Weight"> {
  let mnemonic = "weight";
  let summary = "A stored weight of a given shape and format";
  let description = [{
    A matrix `NxK` (N outputs, K inputs; y = x W^T) or a vector `N`, stored in
    `format`. With `packed<R>` it is in the physical layout of a target whose
    kernels keep R output rows in the lanes of a vector; without, it is the list
    of its format's component tensors.

    Examples: `!qc.weight<64, #qc.float<f32>>`,
    `!qc.weight<128x172, #qc.lut<nf4, group = 64, scale = f32>, packed<16>>`.

    C1: rank 1 or 2, sizes positive. C2: the format accepts the shape.
    C3: a vector has a float format and is not packed.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape,
                        "::mlir::qc::FormatAttrInterface":$format,
                        DefaultValuedParameter<"int64_t", "0">:$packedRows);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isMatrix() const { return getShape().size() == 2; }
    bool isPacked() const { return getPackedRows() != 0; }
    int64_t getN() const { return getShape().front(); }
    int64_t getK() const { return isMatrix() ? getShape()[1] : 1; }
    int64_t getNumElements() const { return getN() * getK(); }
    /// Layout of a packed weight.
    ::qc::PackedLayout getLayout() const;
    /// Byte length that each external component must have.
    ::llvm::SmallVector<int64_t> getComponentBytes() const;
  }];
}

#endif // QC_DIALECT_QC_IR_QCTYPES_TD
