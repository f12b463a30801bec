//===- FormatInterface.td - What a weight format answers ----*- tablegen -*-===//
#ifndef QC_DIALECT_QC_IR_FORMATINTERFACE_TD
#define QC_DIALECT_QC_IR_FORMATINTERFACE_TD

include "mlir/IR/OpBase.td"

def FormatAttrInterface : AttrInterface<"FormatAttrInterface"> {
  let cppNamespace = "::mlir::qc";
  let description = [{
    A weight format as a value in the IR. The host side (components, reference
    `decode`, packing, exact bits per weight) is `::qc::Format`, reached through
    `getHostFormat`. The methods here emit target-independent IR that decodes a
    *packed* weight; every kernel generator works on them and knows no format.

    A kernel walks one row block (`rows` outputs in the lanes of a vector):

    ```
    rowParams = emitRowParams
    for each K block:
      blockParams = emitBlockParams
      for each chunk:  w[0..chunkK) = emitChunk    // each vector<rows x f32>
      ... sum w[j] * x[j], times emitBlockScale if there is one
    times emitRowScale if there is one
    ```
  }];
  let methods = [
    InterfaceMethod<"The host side of the format.",
      "std::shared_ptr<const ::qc::Format>", "getHostFormat">,
    InterfaceMethod<[{Width of the integer codes when the format is affine in
      small integers, `w = scale * (code - zero)`, and 0 otherwise. Affine
      formats implement emitCodes and emitZero.}],
      "int", "getAffineBits", (ins), "", "return 0;">,
    InterfaceMethod<[{Loads what a row block needs once (the row header);
      `header` and `rowHeader` are byte offsets of type index.}],
      "::llvm::SmallVector<::mlir::Value>", "emitRowParams",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::Value":$header,
           "::mlir::Value":$rowHeader), "", "return {};">,
    InterfaceMethod<"Loads the parameters of the K block at byte offset `block`.",
      "::llvm::SmallVector<::mlir::Value>", "emitBlockParams",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::Value":$block), "",
      "return {};">,
    InterfaceMethod<[{Decodes the chunk at byte offset `chunk` to chunkK values of
      type vector<rows x f32>, up to the block and row scales.}],
      "::llvm::SmallVector<::mlir::Value>", "emitChunk",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::Value":$chunk,
           "::mlir::ValueRange":$rowParams, "::mlir::ValueRange":$blockParams)>,
    InterfaceMethod<[{Factor of a whole K block, vector<rows x f32>, or null.}],
      "::mlir::Value", "emitBlockScale",
      (ins "::mlir::qc::DecodeEmitter &":$e,
           "::mlir::ValueRange":$blockParams), "", "return {};">,
    InterfaceMethod<[{Factor of a whole row, vector<rows x f32>, or null.}],
      "::mlir::Value", "emitRowScale",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::ValueRange":$rowParams),
      "", "return {};">,
    InterfaceMethod<[{Affine formats: the codes of a chunk as chunkK / 4 values of
      type vector<4*rows x i8> (unsigned), 4 consecutive features of each row.}],
      "::llvm::SmallVector<::mlir::Value>", "emitCodes",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::Value":$chunk), "",
      "return {};">,
    InterfaceMethod<[{Affine formats: the zero points of a K block as
      vector<rows x f32>.}],
      "::mlir::Value", "emitZero",
      (ins "::mlir::qc::DecodeEmitter &":$e,
           "::mlir::ValueRange":$blockParams), "", "return {};">,
  ];
}

#endif // QC_DIALECT_QC_IR_FORMATINTERFACE_TD
