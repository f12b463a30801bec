#ifndef QC_FORMAT_CODEBOOK_TD
#define QC_FORMAT_CODEBOOK_TD
include "qc/Dialect/QC/IR/QCAttrs.td"

def QC_CodebookFormatAttr : QC_Format<"CodebookFormat", "codebook",
    ["getIntegerBits", "getRowsPerBlock", "getAdditiveTables", "emitRowParams", "emitChunk",
     "emitRowScale", "emitCodes", "getLookupTables", "emitZero", "emitIntegerScale"]> {
  let summary = "Additive vector codebooks with a scale a row";
  let description = [{
    `vector` consecutive inputs of a row are `scale[row] * sum_m C_m[code_m]`
    (Egiazarian et al., arXiv 2401.06118). `books` codebooks of 2^`bits` entries
    each.

    Components: `codes` u8 or u16 [N, ceil(K/vector), books], `codebooks`
    [books, 2^bits, vector], `scales` [N].

    Example: `#qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>`.
  }];
  let parameters = (ins "int64_t":$books, "int64_t":$bits, "int64_t":$vector,
                        "::mlir::Type":$scale, "::mlir::Type":$entry);
  let assemblyFormat = "`<` struct(params) `>`";
}
#endif
