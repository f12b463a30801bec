// Additive codebooks: codes [40, 24/vector, books], codebooks, row scales.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %root/lib/Quantization/test/Inputs/write_floats.py weights.bin 3480
// RUN: qc-opt %s --qc-quantize-aqlm="bits=4 vector=4" | FileCheck %s
// CHECK: !qc.weight<40x24, #qc.codebook<books = 2, bits = 4, vector = 4, scale = f16, entry = f16>>
// CHECK-SAME: 480>, {{.*}} 256>, {{.*}} 80>]
//
// Codes of more than 8 bits take two bytes; the last vector of a row may be cut.
// RUN: qc-opt %s --qc-quantize-aqlm="books=1 bits=9 vector=7 scale=f32 entry=bf16" | FileCheck %s --check-prefix=WIDE
// WIDE: !qc.weight<40x24, #qc.codebook<books = 1, bits = 9, vector = 7, scale = f32, entry = bf16>>
// WIDE-SAME: 320>, {{.*}} 7168>, {{.*}} 160>]
//
// The seed is a part of the store's name.
// RUN: qc-opt %s --qc-quantize-aqlm="bits=4 seed=1 output-dir=s" -o 1.mlir
// RUN: qc-opt %s --qc-quantize-aqlm="bits=4 seed=2 output-dir=s" -o 2.mlir
// RUN: ls s | count 2

module @aqlm {
  qc.weight @w : !qc.weight<40x24, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 3840>]
  func.func @f(%x: tensor<?x24xf32>) -> tensor<?x40xf32> {
    %w = qc.get_weight @w : !qc.weight<40x24, #qc.float<f32>>
    %d = qc.dequantize %w : !qc.weight<40x24, #qc.float<f32>> -> tensor<40x24xf32>
    %y = lm.linear %x, %d : (tensor<?x24xf32>, tensor<40x24xf32>) -> tensor<?x40xf32>
    return %y : tensor<?x40xf32>
  }
}
