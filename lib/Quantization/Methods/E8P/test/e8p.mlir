// Points of the E8 lattice: codes u16 [40, 24 / 8], row scales.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %root/lib/Quantization/test/Inputs/write_floats.py weights.bin 3480
// RUN: qc-opt %s --qc-quantize-e8p | FileCheck %s
// CHECK: !qc.weight<40x24, #qc.e8p<scale = f16>>
// CHECK-SAME: 240>, {{.*}} 80>]
// The last vector of a row may be cut.
// CHECK: !qc.weight<3x13, #qc.e8p<scale = f16>>
// CHECK-SAME: 12>, {{.*}} 6>]
//
// RUN: qc-opt %s --qc-quantize-e8p="scale=f32" | FileCheck %s --check-prefix=WIDE
// WIDE: !qc.weight<40x24, #qc.e8p<scale = f32>>
// WIDE-SAME: 240>, {{.*}} 160>]

module @e8p {
  qc.weight @w : !qc.weight<40x24, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 3840>]
  qc.weight @v : !qc.weight<3x13, #qc.float<f32>> = [#qc.external<"weights.bin", 3840, 156>]
  func.func @f(%x: tensor<?x24xf32>) -> tensor<?x40xf32> {
    %w = qc.get_weight @w : !qc.weight<40x24, #qc.float<f32>>
    %d = qc.dequantize %w : !qc.weight<40x24, #qc.float<f32>> -> tensor<40x24xf32>
    %y = lm.linear %x, %d : (tensor<?x24xf32>, tensor<40x24xf32>) -> tensor<?x40xf32>
    return %y : tensor<?x40xf32>
  }
  func.func @g(%x: tensor<?x13xf32>) -> tensor<?x3xf32> {
    %w = qc.get_weight @v : !qc.weight<3x13, #qc.float<f32>>
    %d = qc.dequantize %w : !qc.weight<3x13, #qc.float<f32>> -> tensor<3x13xf32>
    %y = lm.linear %x, %d : (tensor<?x13xf32>, tensor<3x13xf32>) -> tensor<?x3xf32>
    return %y : tensor<?x3xf32>
  }
}
