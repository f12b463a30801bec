//===- E8P.td - Rounding to points of the E8 lattice --------*- tablegen -*-===//
#ifndef QC_QUANTIZATION_METHODS_E8P_TD
#define QC_QUANTIZATION_METHODS_E8P_TD

include "qc/Quantization/QuantizerPass.td"

def E8PPass : QuantizerPass<"qc-quantize-e8p", [
    Option<"scale", "scale", "::qc::DType", "::qc::DType::F16",
           "Type of the row scales",
           [{::llvm::cl::values(
               clEnumValN(::qc::DType::F16, "f16", "half precision"),
               clEnumValN(::qc::DType::BF16, "bf16", "bfloat16"),
               clEnumValN(::qc::DType::F32, "f32", "single precision"))}]>,
  ]> {
  let summary = "Round weights to points of the E8 lattice, 2 bits each";
  let description = [{
    Turns float weights to `#qc.e8p`: eight consecutive inputs become the nearest
    of the 65536 points of QuIP#'s codebook E8P (Tseng et al., arXiv 2402.04396),
    times a scale of their row that is the best of a few in squared error. Neither
    the rotation of QuIP# nor its rounding with calibration data (LDLQ) is done
    here, so that quality is below that of the paper at the same size.

    ```
    qc-opt model.mlir --qc-quantize-e8p
    ```
  }];
}

#endif // QC_QUANTIZATION_METHODS_E8P_TD
