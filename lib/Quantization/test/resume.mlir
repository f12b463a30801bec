// A run that was killed is continued by the next one and ends with the bytes
// of an undisturbed run; damaged parts are computed again.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %S/Inputs/write_floats.py weights.bin 245760
// RUN: %python %S/Inputs/interrupt.py %s qc-quantize-aqlm "bits=8 sample=30000 iterations=20" | FileCheck %s
// CHECK: taken over: True
// CHECK: files left: ['.safetensors']
// CHECK: same name and bytes: True
// CHECK: third run does nothing: True
//
// RUN: rm -rf cut
// RUN: %python %S/Inputs/interrupt.py %s qc-quantize-aqlm "bits=8 sample=30000 iterations=20" corrupt | FileCheck %s --check-prefix=CORRUPT
// CORRUPT: same name and bytes: True

module @killed {
  qc.weight @a : !qc.weight<320x256, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 327680>]
  qc.weight @b : !qc.weight<320x256, #qc.float<f32>> = [#qc.external<"weights.bin", 327680, 327680>]
  qc.weight @c : !qc.weight<320x256, #qc.float<f32>> = [#qc.external<"weights.bin", 655360, 327680>]
  func.func @f(%x: tensor<?x256xf32>) -> (tensor<?x320xf32>, tensor<?x320xf32>, tensor<?x320xf32>) {
    %a = qc.get_weight @a : !qc.weight<320x256, #qc.float<f32>>
    %ad = qc.dequantize %a : !qc.weight<320x256, #qc.float<f32>> -> tensor<320x256xf32>
    %ay = lm.linear %x, %ad : (tensor<?x256xf32>, tensor<320x256xf32>) -> tensor<?x320xf32>
    %b = qc.get_weight @b : !qc.weight<320x256, #qc.float<f32>>
    %bd = qc.dequantize %b : !qc.weight<320x256, #qc.float<f32>> -> tensor<320x256xf32>
    %by = lm.linear %x, %bd : (tensor<?x256xf32>, tensor<320x256xf32>) -> tensor<?x320xf32>
    %c = qc.get_weight @c : !qc.weight<320x256, #qc.float<f32>>
    %cd = qc.dequantize %c : !qc.weight<320x256, #qc.float<f32>> -> tensor<320x256xf32>
    %cy = lm.linear %x, %cd : (tensor<?x256xf32>, tensor<320x256xf32>) -> tensor<?x320xf32>
    return %ay, %by, %cy : tensor<?x320xf32>, tensor<?x320xf32>, tensor<?x320xf32>
  }
}
