//===- AQLM.td - Additive codebooks without calibration -----*- tablegen -*-===//
#ifndef QC_QUANTIZATION_METHODS_AQLM_TD
#define QC_QUANTIZATION_METHODS_AQLM_TD

include "qc/Quantization/QuantizerPass.td"

def AQLMPass : QuantizerPass<"qc-quantize-aqlm", [
    Option<"books", "books", "int", "2", "Codebooks, 1 to 8">,
    Option<"bits", "bits", "int", "8", "Bits of a code, 1 to 16">,
    Option<"vector", "vector", "int64_t", "8",
           "Consecutive inputs that a code stands for, 1 to 64">,
    Option<"scale", "scale", "::qc::DType", "::qc::DType::F16",
           "Type of the row scales",
           [{::llvm::cl::values(
               clEnumValN(::qc::DType::F16, "f16", "half precision"),
               clEnumValN(::qc::DType::BF16, "bf16", "bfloat16"),
               clEnumValN(::qc::DType::F32, "f32", "single precision"))}]>,
    Option<"entry", "entry", "::qc::DType", "::qc::DType::F16",
           "Type of the codebook entries",
           [{::llvm::cl::values(
               clEnumValN(::qc::DType::F16, "f16", "half precision"),
               clEnumValN(::qc::DType::BF16, "bf16", "bfloat16"),
               clEnumValN(::qc::DType::F32, "f32", "single precision"))}]>,
    Option<"sample", "sample", "int64_t", "65536",
           "Vectors of a weight that k-means sees, at least 8 an entry">,
    Option<"iterations", "iterations", "int", "12", "Of k-means, for each codebook">,
    Option<"passes", "passes", "int", "3", "Joint refinements of codes and codebooks">,
    Option<"seed", "seed", "uint64_t", "0", "Of the random choices">,
  ]> {
  let summary = "Quantize weights to additive codebooks by residual k-means";
  let description = [{
    Turns float weights to `#qc.codebook`, the storage format of Egiazarian et al.,
    "Extreme Compression of Large Language Models via Additive Quantization",
    arXiv 2401.06118: each vector of inputs is the sum of one entry of each codebook, times a
    scale of its row. The codebooks come from residual k-means on the weights and
    alternating least squares; no calibration data is used, so that
    quality is below that of the paper at the same size.

    ```
    qc-opt model.mlir --qc-quantize-aqlm="books=2 bits=8 vector=8"
    ```
  }];
}

#endif // QC_QUANTIZATION_METHODS_AQLM_TD
