#ifndef QC_FORMAT_E8P_TD
#define QC_FORMAT_E8P_TD
include "qc/Dialect/QC/IR/QCAttrs.td"

def QC_E8PFormatAttr : QC_Format<"E8PFormat", "e8p",
    ["getIntegerBits", "emitRowParams", "emitChunk", "emitRowScale",
     "emitCodes", "getLookupTables", "emitZero", "emitIntegerScale"]> {
  let summary = "Vectors of eight from the E8 lattice, 2 bits a weight";
  let description = [{
    Eight consecutive inputs of a row are `scale[row]` times a point of E8 + 1/4:
    the E8P codebook of QuIP# (Tseng et al., arXiv 2402.04396) with 65536 points,
    without QuIP#'s rotation. Exact in `int8` arithmetic.

    Components: `codes` u16 [N, ceil(K/8)], `scales` [N].

    Example: `#qc.e8p<scale = f16>`.
  }];
  let parameters = (ins "::mlir::Type":$scale);
  let assemblyFormat = "`<` struct(params) `>`";
}
#endif
