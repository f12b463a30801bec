// int8 rows with an f32 scale each.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %root/lib/Quantization/test/Inputs/write_floats.py weights.bin 3480
// RUN: qc-opt %s --qc-quantize-llm-int8="report=true" 2>&1 | FileCheck %s
// CHECK: remark: quantized to grouped<bits = 8, group = channel, scale = f32>, 9.333 bits per weight, relative error 0.00
// CHECK: !qc.weight<40x24, #qc.grouped<bits = 8, group = channel, scale = f32>>
// CHECK-SAME: 960>, {{.*}} 160>]

module @llm_int8 {
  qc.weight @w : !qc.weight<40x24, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 3840>]
  func.func @f(%x: tensor<?x24xf32>) -> tensor<?x40xf32> {
    %w = qc.get_weight @w : !qc.weight<40x24, #qc.float<f32>>
    %d = qc.dequantize %w : !qc.weight<40x24, #qc.float<f32>> -> tensor<40x24xf32>
    %y = lm.linear %x, %d : (tensor<?x24xf32>, tensor<40x24xf32>) -> tensor<?x40xf32>
    return %y : tensor<?x40xf32>
  }
}
