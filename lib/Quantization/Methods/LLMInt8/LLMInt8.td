//===- LLMInt8.td - int8 rows of LLM.int8() -----------------*- tablegen -*-===//
#ifndef QC_QUANTIZATION_METHODS_LLMINT8_TD
#define QC_QUANTIZATION_METHODS_LLMINT8_TD

include "qc/Quantization/QuantizerPass.td"

def LLMInt8Pass : QuantizerPass<"qc-quantize-llm-int8", []> {
  let summary = "Quantize weights to int8 rows as bitsandbytes does";
  let description = [{
    Turns float weights to `#qc.grouped<bits = 8, group = channel, scale = f32>`:
    each row is divided by its absolute maximum / 127 and rounded. The weight side of
    Dettmers et al., "LLM.int8()", arXiv 2208.07339. The activation side (outlier
    columns in higher precision) is not needed where weights are decoded to f32,
    `--activations=f32`.

    ```
    qc-opt model.mlir --qc-quantize-llm-int8
    ```
  }];
}

#endif // QC_QUANTIZATION_METHODS_LLMINT8_TD
