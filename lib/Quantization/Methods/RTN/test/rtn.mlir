// Every form of the grouped format from one method. Components: codes, scales,
// then zero points if there are any.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %root/lib/Quantization/test/Inputs/write_floats.py weights.bin 3480
// RUN: qc-opt %s --qc-quantize-rtn | FileCheck %s --check-prefix=DEFAULT
// DEFAULT: !qc.weight<40x24, #qc.grouped<bits = 4, group = 64, scale = f16>>
// DEFAULT-SAME: 480>, {{.*}} 80>]
//
// RUN: qc-opt %s --qc-quantize-rtn="bits=3 group-size=16 symmetric=false" | FileCheck %s --check-prefix=INT
// INT: !qc.weight<40x24, #qc.grouped<bits = 3, group = 16, scale = f16, zero = int>>
// INT-SAME: 360>, {{.*}} 160>, {{.*}} 80>]
//
// RUN: qc-opt %s --qc-quantize-rtn="bits=2 group-size=8 symmetric=false zero=f16 scale=f32" | FileCheck %s --check-prefix=F16
// F16: !qc.weight<40x24, #qc.grouped<bits = 2, group = 8, scale = f32, zero = f16>>
// F16-SAME: 240>, {{.*}} 480>, {{.*}} 240>]
//
// RUN: qc-opt %s --qc-quantize-rtn="bits=8 group-size=-1 scale=bf16" | FileCheck %s --check-prefix=CHANNEL
// RUN: qc-opt %s --qc-quantize-rtn="bits=8 group-size=0 scale=bf16" | FileCheck %s --check-prefix=CHANNEL
// CHANNEL: !qc.weight<40x24, #qc.grouped<bits = 8, group = channel, scale = bf16>>
// CHANNEL-SAME: 960>, {{.*}} 80>]
//
// More bits, smaller error; the search for a clipped range never loses.
// RUN: qc-opt %s --qc-quantize-rtn="bits=1 report=true" 2>&1 | FileCheck %s --check-prefix=B1
// RUN: qc-opt %s --qc-quantize-rtn="bits=3 report=true" 2>&1 | FileCheck %s --check-prefix=B3
// RUN: qc-opt %s --qc-quantize-rtn="bits=3 clip-steps=40 report=true" 2>&1 | FileCheck %s --check-prefix=B3CLIP
// RUN: qc-opt %s --qc-quantize-rtn="bits=8 report=true" 2>&1 | FileCheck %s --check-prefix=B8
// B1: remark: {{.*}} 1.667 bits per weight, relative error 0.[[#]]
// B3: remark: {{.*}} 3.667 bits per weight, relative error 0.1
// B3CLIP: remark: {{.*}} 3.667 bits per weight, relative error 0.1
// B8: remark: {{.*}} 8.667 bits per weight, relative error 0.00

module @rtn {
  qc.weight @w : !qc.weight<40x24, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 3840>]
  func.func @f(%x: tensor<?x24xf32>) -> tensor<?x40xf32> {
    %w = qc.get_weight @w : !qc.weight<40x24, #qc.float<f32>>
    %d = qc.dequantize %w : !qc.weight<40x24, #qc.float<f32>> -> tensor<40x24xf32>
    %y = lm.linear %x, %d : (tensor<?x24xf32>, tensor<40x24xf32>) -> tensor<?x40xf32>
    return %y : tensor<?x40xf32>
  }
}
