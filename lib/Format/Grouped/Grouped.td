#ifndef QC_FORMAT_GROUPED_TD
#define QC_FORMAT_GROUPED_TD
include "qc/Dialect/QC/IR/QCAttrs.td"

def QC_ZeroKind : I32EnumAttr<"ZeroKind", "zero points of a grouped format", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Int", 1, "int">,
    I32EnumAttrCase<"F16", 2, "f16">, I32EnumAttrCase<"F32", 3, "f32">]> {
  let cppNamespace = "::mlir::qc";
  let genSpecializedAttr = 0;
}

def QC_GroupedFormatAttr : QC_Format<"GroupedFormat", "grouped",
    ["getIntegerBits", "emitBlockParams", "emitChunk", "emitBlockScale",
     "emitCodes", "emitZero"]> {
  let summary = "Integers of 1 to 8 bits with a scale for each group of inputs";
  let description = [{
    `w = scale * (code - zero)`, code in [0, 2^bits). Without `zero` the format is
    symmetric: zero = 2^(bits-1); with one bit the levels are -1 and +1. `zero`
    is stored as an integer (`int`) or a float (`f16`, `f32`). `group` counts consecutive
    inputs of a row; the last group of a row may be shorter; `channel` is one
    group a row.

    Components: `codes` u8 [N, ceil(K*bits/8)], an LSB-first bit stream a row;
    `scales` [N, ceil(K/group)]; `zeros` likewise, if any.

    Examples: `#qc.grouped<bits = 4, group = 64, scale = f16>`,
    `#qc.grouped<bits = 3, group = channel, scale = f32, zero = int>`.
  }];
  let parameters = (ins "int64_t":$bits, "int64_t":$group,
                        "::mlir::Type":$scale,
                        DefaultValuedParameter<"::mlir::qc::ZeroKind",
                            "::mlir::qc::ZeroKind::None">:$zero);
  let hasCustomAssemblyFormat = 1;
}
#endif
