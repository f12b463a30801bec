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
    InterfaceMethod<[{Width of unsigned integer codes for `int8` arithmetic,
      `w = scale * (code - zero)`, or 0 where the format has none. Affine formats
      are exact there; tables and codebooks round their entries to 8 bits
      (`::qc::Format::decodeRowInt8`). Needs emitCodes, emitZero and
      emitIntegerScale.}],
      "int", "getIntegerBits", (ins), "", "return 0;">,
    InterfaceMethod<[{Rows of a row block for registers of `lanes` 32-bit lanes, a
      multiple of `lanes`.}],
      "int64_t", "getRowsPerBlock", (ins "int64_t":$lanes), "",
      "return lanes;">,
    InterfaceMethod<[{Loads what a row block needs once (the row header);
      `header` and `rowHeader` are byte offsets of type index.}],
      "::llvm::SmallVector<::mlir::Value>", "emitRowParams",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::Value":$header,
           "::mlir::Value":$rowHeader), "", "return {};">,
    InterfaceMethod<[{The codebooks of a format whose weights are sums of their
      entries, in 8 bits; nothing else may depend on the code.}],
      "std::optional<::mlir::qc::AdditiveTables>", "getAdditiveTables", (ins),
      "", "return std::nullopt;">,
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
    InterfaceMethod<[{`int8`: the codes of a chunk in planes of chunkK / 4 values
      of type vector<4*rows x i8> (unsigned), 4 consecutive features of each row.
      The planes' sums add up (one plane a codebook).}],
      "::llvm::SmallVector<::mlir::Value>", "emitCodes",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::Value":$chunk,
           "::mlir::ValueRange":$rowParams), "", "return {};">,
    InterfaceMethod<[{`int8`: the part of the header that emitCodes reads by
      lookupWords (GPUs), if it reads nothing else but its chunk.}],
      "std::optional<::mlir::qc::LookupTables>", "getLookupTables", (ins),
      "", "return std::nullopt;">,
    InterfaceMethod<[{`int8`: the zero points of a K block, of all planes together,
      as vector<rows x f32>.}],
      "::mlir::Value", "emitZero",
      (ins "::mlir::qc::DecodeEmitter &":$e,
           "::mlir::ValueRange":$blockParams), "", "return {};">,
    InterfaceMethod<[{`int8`: factor of a K block, vector<rows x f32>.}],
      "::mlir::Value", "emitIntegerScale",
      (ins "::mlir::qc::DecodeEmitter &":$e, "::mlir::ValueRange":$rowParams,
           "::mlir::ValueRange":$blockParams), "",
      "return $_attr.emitBlockScale(e, blockParams);">,
  ];
}

#endif // QC_DIALECT_QC_IR_FORMATINTERFACE_TD
