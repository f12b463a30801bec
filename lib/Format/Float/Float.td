#ifndef QC_FORMAT_FLOAT_TD
#define QC_FORMAT_FLOAT_TD
include "qc/Dialect/QC/IR/QCAttrs.td"

def QC_FloatFormatAttr : QC_Format<"FloatFormat", "float", ["emitChunk"]> {
  let summary = "Identity format: a float a weight";
  let description = [{
    Component `data` [N, K] in f32, f16 or bf16. Example: `#qc.float<bf16>`.
  }];
  let parameters = (ins "::mlir::Type":$type);
  let assemblyFormat = "`<` $type `>`";
}
#endif
