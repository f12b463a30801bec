//===- QCDialect.td - qc dialect ----------------------------*- tablegen -*-===//
#ifndef QC_DIALECT_QC_IR_QCDIALECT_TD
#define QC_DIALECT_QC_IR_QCDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/DialectBase.td"

def QC_Dialect : Dialect {
  let name = "qc";
  let cppNamespace = "::mlir::qc";
  let summary = "Quantized weights and the operations on them";
  let description = [{
    A weight of a transformer is a value of type `!qc.weight<NxK, format>`. The
    format is an attribute that implements `FormatAttrInterface`; its parameters
    (scales, zero points, codebooks) are *components*: tensors in external
    files, referenced by file, offset and length. They are never literals in the
    type.

    Example, a 4-bit linear layer as a quantizer leaves it:

    ```mlir
    qc.weight @proj : !qc.weight<128x172, #qc.grouped<bits = 4, group = 64, scale = f16>>
      = [#qc.external<"w.safetensors", 512, 11008>, #qc.external<"w.safetensors", 11520, 768>]

    func.func @f(%x: tensor<?x172xf32>) -> tensor<?x128xf32> {
      %w = qc.get_weight @proj : !qc.weight<128x172, #qc.grouped<bits = 4, group = 64, scale = f16>>
      %y = qc.matmul %x, [%w] : (tensor<?x172xf32>, !qc.weight<128x172, #qc.grouped<bits = 4, group = 64, scale = f16>>) -> tensor<?x128xf32>
      return %y : tensor<?x128xf32>
    }
    ```
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
}

#endif // QC_DIALECT_QC_IR_QCDIALECT_TD
