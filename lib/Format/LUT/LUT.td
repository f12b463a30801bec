#ifndef QC_FORMAT_LUT_TD
#define QC_FORMAT_LUT_TD
include "qc/Dialect/QC/IR/QCAttrs.td"

def QC_TableKind : I32EnumAttr<"TableKind", "table of a look-up format", [
    I32EnumAttrCase<"User", 0, "user">, I32EnumAttrCase<"NF4", 1, "nf4">,
    I32EnumAttrCase<"FP4", 2, "fp4">]> {
  let cppNamespace = "::mlir::qc";
  let genSpecializedAttr = 0;
}

def QC_LUTFormatAttr : QC_Format<"LUTFormat", "lut",
    ["getIntegerBits", "emitRowParams", "emitBlockParams", "emitChunk",
     "emitBlockScale", "emitCodes", "emitZero", "emitIntegerScale"]> {
  let summary = "Codes into a table, with a scale for each group of inputs";
  let description = [{
    `w = scale * table[code]`. In `int8` arithmetic the entries are rounded to
    multiples of max |table| / 127. `nf4` (Dettmers et al., arXiv 2305.14314, appendix
    E) and `fp4` (bitsandbytes' E2M1 scaled to [-1, 1]) are fixed tables of 16
    entries; `bits = b` has a component `table` f32 [2^b] of its own. With
    `double_quant = B` the scales are 8-bit codes into a table with an absmax for
    each B scales and one offset.

    Examples: `#qc.lut<nf4, group = 64, scale = f32>`,
    `#qc.lut<nf4, group = 64, scale = f32, double_quant = 256>`,
    `#qc.lut<bits = 3, group = 32, scale = f16>`.
  }];
  let parameters = (ins "::mlir::qc::TableKind":$table, "int64_t":$bits,
                        "int64_t":$group, "::mlir::Type":$scale,
                        DefaultValuedParameter<"int64_t", "0">:$doubleQuant);
  let hasCustomAssemblyFormat = 1;
}
#endif
