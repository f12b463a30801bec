// NF4 and FP4, plain and with double quantization (five components).
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %root/lib/Quantization/test/Inputs/write_floats.py weights.bin 3480
// RUN: qc-opt %s --qc-quantize-nf4 | FileCheck %s --check-prefix=DOUBLE
// DOUBLE: !qc.weight<40x24, #qc.lut<nf4, group = 64, scale = f32, double_quant = 256>>
// DOUBLE-SAME: 480>, {{.*}} 40>, {{.*}} 1024>, {{.*}} 4>, {{.*}} 4>]
//
// RUN: qc-opt %s --qc-quantize-nf4="type=fp4 group-size=12 double-quant=false scale=bf16" | FileCheck %s --check-prefix=FP4
// FP4: !qc.weight<40x24, #qc.lut<fp4, group = 12, scale = bf16>>
// FP4-SAME: 480>, {{.*}} 160>]
//
// RUN: qc-opt %s --qc-quantize-nf4="group-size=-1 double-quant-block=16" | FileCheck %s --check-prefix=CHANNEL
// CHANNEL: !qc.weight<40x24, #qc.lut<nf4, group = channel, scale = f32, double_quant = 16>>
// CHANNEL-SAME: 480>, {{.*}} 40>, {{.*}} 1024>, {{.*}} 12>, {{.*}} 4>]

module @nf4 {
  qc.weight @w : !qc.weight<40x24, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 3840>]
  func.func @f(%x: tensor<?x24xf32>) -> tensor<?x40xf32> {
    %w = qc.get_weight @w : !qc.weight<40x24, #qc.float<f32>>
    %d = qc.dequantize %w : !qc.weight<40x24, #qc.float<f32>> -> tensor<40x24xf32>
    %y = lm.linear %x, %d : (tensor<?x24xf32>, tensor<40x24xf32>) -> tensor<?x40xf32>
    return %y : tensor<?x40xf32>
  }
}
