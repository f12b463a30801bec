//===- RTN.td - Round to nearest ----------------------------*- tablegen -*-===//
#ifndef QC_QUANTIZATION_METHODS_RTN_TD
#define QC_QUANTIZATION_METHODS_RTN_TD

include "qc/Quantization/QuantizerPass.td"

def RTNPass : QuantizerPass<"qc-quantize-rtn", [
    Option<"bits", "bits", "int", "4", "Bits of a code, 1 to 8">,
    Option<"groupSize", "group-size", "int64_t", "64",
           "Consecutive inputs that share a scale; 0 or -1: a whole row">,
    Option<"symmetric", "symmetric", "bool", "true", "No zero points">,
    Option<"zero", "zero", "::qc::GroupedFormat::Zero",
           "::qc::GroupedFormat::Zero::None",
           "Type of the zero points, with symmetric=false (default: int)",
           [{::llvm::cl::values(
               clEnumValN(::qc::GroupedFormat::Zero::Int, "int", "integer code"),
               clEnumValN(::qc::GroupedFormat::Zero::F16, "f16", "half precision"),
               clEnumValN(::qc::GroupedFormat::Zero::F32, "f32", "single precision"),
               clEnumValN(::qc::GroupedFormat::Zero::None, "none", "as symmetric says"))}]>,
    Option<"scale", "scale", "::qc::DType", "::qc::DType::F16",
           "Type of the scales",
           [{::llvm::cl::values(
               clEnumValN(::qc::DType::F16, "f16", "half precision"),
               clEnumValN(::qc::DType::BF16, "bf16", "bfloat16"),
               clEnumValN(::qc::DType::F32, "f32", "single precision"))}]>,
    Option<"range", "range", "::qc::RtnRange", "::qc::RtnRange::Auto",
           "Scale of a symmetric group",
           [{::llvm::cl::values(
               clEnumValN(::qc::RtnRange::Auto, "auto", "full below 8 bits, absmax with 8"),
               clEnumValN(::qc::RtnRange::AbsMax, "absmax", "max|w| is the highest level"),
               clEnumValN(::qc::RtnRange::FullRange, "full", "signed scale, max|w| is the lowest level"))}]>,
    Option<"clipSteps", "clip-steps", "int", "0",
           "Also try scales smaller by 1% to this many % and take the best">,
  ]> {
  let summary = "Quantize weights by rounding to nearest";
  let description = [{
    Turns float weights to `#qc.grouped`: integers of 1 to 8 bits with a scale,
    and with `symmetric=false` a zero point, for each group of inputs of a row.
    Needs no calibration; the baseline of every other method, e.g. of Frantar et
    al., "GPTQ", arXiv 2210.17323. Formulas: include/qc/Quantization/Encode.h.

    ```
    qc-opt model.mlir --qc-quantize-rtn="bits=4 group-size=64"
    ```

    turns

    ```mlir
    qc.weight @w : !qc.weight<64x64, #qc.float<f32>> = [#qc.external<"model.safetensors", 800, 16384>]
    ```

    to

    ```mlir
    qc.weight @w : !qc.weight<64x64, #qc.grouped<bits = 4, group = 64, scale = f16>>
      = [#qc.external<"model-rtn-0123456789abcdef.safetensors", 512, 2048>,
         #qc.external<"model-rtn-0123456789abcdef.safetensors", 384, 128>] {qc.error = 0.083 : f64}
    ```

    and the types of its `qc.get_weight` with it.
  }];
}

#endif // QC_QUANTIZATION_METHODS_RTN_TD
