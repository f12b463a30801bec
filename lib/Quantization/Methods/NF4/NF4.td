//===- NF4.td - 4-bit tables of bitsandbytes ----------------*- tablegen -*-===//
#ifndef QC_QUANTIZATION_METHODS_NF4_TD
#define QC_QUANTIZATION_METHODS_NF4_TD

include "qc/Quantization/QuantizerPass.td"

def NF4Pass : QuantizerPass<"qc-quantize-nf4", [
    Option<"type", "type", "::qc::LUTFormat::Table", "::qc::LUTFormat::Table::NF4",
           "Table of the 16 levels",
           [{::llvm::cl::values(
               clEnumValN(::qc::LUTFormat::Table::NF4, "nf4", "quantiles of the normal distribution"),
               clEnumValN(::qc::LUTFormat::Table::FP4, "fp4", "4-bit floats"))}]>,
    Option<"groupSize", "group-size", "int64_t", "64",
           "Consecutive inputs that share a scale; 0 or -1: a whole row">,
    Option<"doubleQuant", "double-quant", "bool", "true",
           "Quantize the scales to 8 bits; needs scale=f32">,
    Option<"doubleQuantBlock", "double-quant-block", "int64_t", "256",
           "Scales that share an absmax">,
    Option<"scale", "scale", "::qc::DType", "::qc::DType::F32",
           "Type of the scales",
           [{::llvm::cl::values(
               clEnumValN(::qc::DType::F32, "f32", "single precision"),
               clEnumValN(::qc::DType::F16, "f16", "half precision"),
               clEnumValN(::qc::DType::BF16, "bf16", "bfloat16"))}]>,
  ]> {
  let summary = "Quantize weights to NF4 or FP4";
  let description = [{
    Turns float weights to `#qc.lut<nf4|fp4, ...>`: a group is divided by its
    absolute maximum and each value becomes the nearest of 16 levels. With double
    quantization the scales themselves take 8 bits. Dettmers et al., "QLoRA",
    arXiv 2305.14314; equal to bitsandbytes where the group divides the inputs.

    ```
    qc-opt model.mlir --qc-quantize-nf4="group-size=64 double-quant=true"
    ```
  }];
}

#endif // QC_QUANTIZATION_METHODS_NF4_TD
