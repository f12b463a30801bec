//===- QCAttrs.td - qc attributes ---------------------------*- tablegen -*-===//
#ifndef QC_DIALECT_QC_IR_QCATTRS_TD
#define QC_DIALECT_QC_IR_QCATTRS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "qc/Dialect/QC/IR/QCDialect.td"
include "qc/Dialect/QC/IR/FormatInterface.td"

class QC_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<QC_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

/// Base of the attributes in lib/Format/<Format>/<Format>.td. A format's
/// spelling is the printed attribute without "#qc.".
class QC_Format<string name, string attrMnemonic, list<string> methods>
    : QC_Attr<name, attrMnemonic,
              [DeclareAttrInterfaceMethods<FormatAttrInterface,
                                           ["getHostFormat"] # methods>]> {
  let genVerifyDecl = 1;
}

def QC_ExternalAttr : QC_Attr<"External", "external"> {
  let summary = "A byte range of a file that holds one component of a weight";
  let description = [{
    `length` bytes at `offset` of `file`, little endian, row major, without
    alignment promise. Example: `#qc.external<"model.safetensors", 512, 11008>`.
  }];
  let parameters = (ins StringRefParameter<"path of the file">:$file,
                        "int64_t":$offset, "int64_t":$length);
  let assemblyFormat = "`<` $file `,` $offset `,` $length `>`";
  let genVerifyDecl = 1;
}

def QC_GateKind : I32EnumAttr<"GateKind", "activation of a gated product", [
    I32EnumAttrCase<"SiLU", 0, "silu">,
    I32EnumAttrCase<"GELU", 1, "gelu">,
    I32EnumAttrCase<"GELUTanh", 2, "gelu_tanh">,
    I32EnumAttrCase<"ReLU", 3, "relu">]> {
  let cppNamespace = "::mlir::qc";
  let genSpecializedAttr = 0;
}
def QC_GateKindAttr : EnumAttr<QC_Dialect, QC_GateKind, "activation"> {
  let summary = "Elementwise activation function";
  let assemblyFormat = "`<` $value `>`";
}

def QC_Arithmetic : I32EnumAttr<"Arithmetic", "arithmetic of a matmul", [
    I32EnumAttrCase<"F32", 0, "f32">, I32EnumAttrCase<"Int8", 1, "int8">,
    I32EnumAttrCase<"BF16", 2, "bf16">]> {
  let cppNamespace = "::mlir::qc";
  let genSpecializedAttr = 0;
}
def QC_ArithmeticAttr : EnumAttr<QC_Dialect, QC_Arithmetic, "arithmetic"> {
  let summary = "How a matmul multiplies";
  let description = [{
    `f32`: weights are decoded to f32, products accumulate in f32. `int8`: the
    activations of each K block are quantized to int8 (scale absmax / 127) and
    multiplied with the integer codes exactly, in i32; affine formats only.
    `bf16`: activations are rounded to bf16 and multiplied with weights stored in
    bf16, two products a step, accumulated in f32.
  }];
  let assemblyFormat = "`<` $value `>`";
}

#endif // QC_DIALECT_QC_IR_QCATTRS_TD
