//===- QCOps.td - qc operations -----------------------------*- tablegen -*-===//
#ifndef QC_DIALECT_QC_IR_QCOPS_TD
#define QC_DIALECT_QC_IR_QCOPS_TD

include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "qc/Dialect/QC/IR/QCTypes.td"

class QC_Op<string mnemonic, list<Trait> traits = []>
    : Op<QC_Dialect, mnemonic, traits>;

def QC_F32Matrix : 2DTensorOf<[F32]>;
def QC_F32Tensor : RankedTensorOf<[F32]>;

def QC_WeightOp : QC_Op<"weight", [Symbol]> {
  let summary = "Declares a stored weight";
  let description = [{
    Names a weight and says where the bytes of its components are, in the order
    of the format's components. A packed weight has one component, its blob.

    C1: as many components as the format has for this shape (1 if packed).
    C2: each component has exactly the length that its type and shape need.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       TypeAttrOf<QC_WeightType>:$type,
                       TypedArrayAttrBase<QC_ExternalAttr, "external components">:$components);
  let assemblyFormat = "$sym_name `:` $type `=` $components attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    WeightType getWeightType() { return ::llvm::cast<WeightType>(getType()); }
    ExternalAttr getComponent(unsigned i) {
      return ::llvm::cast<ExternalAttr>(getComponents()[i]);
    }
  }];
}

def QC_GetWeightOp : QC_Op<"get_weight",
    [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "References a stored weight";
  let description = [{
    C1: the symbol is a `qc.weight`. C2: of the same type.
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs QC_WeightType:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def QC_DequantizeOp : QC_Op<"dequantize", [Pure]> {
  let summary = "Decodes a weight to a dense float tensor";
  let description = [{
    The exact meaning of a weight's format, rounded once to f32. Left in a
    program it costs a full-size float copy of the weight, so
    `qc-fuse-dequant-matmul` folds it into its users and reports what it could
    not fold.

    C1: the result has the weight's shape.
  }];
  let arguments = (ins QC_WeightType:$weight);
  let results = (outs QC_F32Tensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($weight) `->` type($result)";
  let hasVerifier = 1;
}

def QC_QuantizeOp : QC_Op<"quantize", [Pure]> {
  let summary = "Encodes a dense float tensor by rounding to nearest";
  let description = [{
    Encodes a constant dense tensor in a format with the format's
    round-to-nearest rule. `quantize(dequantize(w))` of the same format folds to
    w: every decoded value is its own nearest representable value.

    C1: the operand has the weight's shape. C2: the result is not packed.
  }];
  let arguments = (ins QC_F32Tensor:$input);
  let results = (outs QC_WeightType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def QC_MatmulOp : QC_Op<"matmul", [Pure, AttrSizedOperandSegments]> {
  let summary = "Multiplies activations with stored weights";
  let description = [{
    For each weight i: `y_i = x W_i^T + bias_i`; all weights read the same
    activations in one pass. Without `gate` there is one result for each weight, and
    `residual` (one weight only) is added to it. With `gate` there are two
    weights and one result, `gate(y_0) * y_1`.

    The weights are decoded inside the kernel; no dense copy exists.

    ```mlir
    %q, %k = qc.matmul %x, [%wq, %wk] bias(%bq, %bk) : (...) -> (...)
    %y = qc.matmul %x, [%w] residual(%r) : (...) -> tensor<?x64xf32>
    %h = qc.matmul %x, [%wg, %wu] gate(<silu>) : (...) -> tensor<?x172xf32>
    ```

    C1: every weight is a matrix whose K is the input's columns. C2: as many
    biases as weights or none, bias_i of N_i values. C3: `residual` needs
    exactly one weight and the result's shape. C4: `gate` needs two weights of
    equal N. C5: results [rows of input, N_i]. C6: `int8` arithmetic needs
    formats with integer codes.
  }];
  let arguments = (ins QC_F32Matrix:$input,
                       Variadic<QC_WeightType>:$weights,
                       Variadic<1DTensorOf<[F32]>>:$biases,
                       Optional<QC_F32Matrix>:$residual,
                       OptionalAttr<QC_GateKindAttr>:$gate,
                       OptionalAttr<QC_ArithmeticAttr>:$arithmetic);
  let results = (outs Variadic<QC_F32Matrix>:$results);
  let assemblyFormat = [{
    $input `,` `[` $weights `]` (`bias` `(` $biases^ `)`)?
    (`residual` `(` $residual^ `)`)? (`gate` `(` $gate^ `)`)?
    (`arithmetic` `(` $arithmetic^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def QC_EmbeddingOp : QC_Op<"embedding", [Pure]> {
  let summary = "Looks up rows of a stored weight";
  let description = [{
    `result[i] = decode(row ids[i] of the weight)`. The ids lie in [0, N): the
    runtime checks them where they enter.

    C1: the weight is a matrix. C2: the result is [ids, K].
  }];
  let arguments = (ins 1DTensorOf<[I32]>:$ids, QC_WeightType:$weight);
  let results = (outs QC_F32Matrix:$result);
  let assemblyFormat = [{
    $ids `,` $weight attr-dict `:` `(` type($ids) `,` type($weight) `)` `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // QC_DIALECT_QC_IR_QCOPS_TD
