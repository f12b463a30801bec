// Every spelling of types and attributes prints as it was read.
// RUN: qc-opt %s | qc-opt | FileCheck %s
// RUN: qc-opt %s --mlir-print-op-generic | qc-opt | FileCheck %s

// CHECK-LABEL: @vectors
// CHECK-SAME: !qc.weight<7, #qc.float<f32>>
// CHECK-SAME: !qc.weight<1, #qc.float<f16>>
// CHECK-SAME: !qc.weight<64, #qc.float<bf16>>
func.func private @vectors(!qc.weight<7, #qc.float<f32>>, !qc.weight<1, #qc.float<f16>>, !qc.weight<64, #qc.float<bf16>>)

// CHECK-LABEL: @floats
// CHECK-SAME: !qc.weight<7x5, #qc.float<f32>>
// CHECK-SAME: !qc.weight<1x1, #qc.float<bf16>, packed<16>>
func.func private @floats(!qc.weight<7x5, #qc.float<f32>>, !qc.weight<1x1, #qc.float<bf16>, packed<16>>)

// CHECK-LABEL: @grouped
// CHECK-SAME: !qc.weight<7x5, #qc.grouped<bits = 1, group = 1, scale = f32>>
// CHECK-SAME: !qc.weight<7x5, #qc.grouped<bits = 8, group = channel, scale = f16>>
// CHECK-SAME: !qc.weight<7x5, #qc.grouped<bits = 3, group = 4, scale = bf16, zero = int>>
// CHECK-SAME: !qc.weight<7x5, #qc.grouped<bits = 4, group = 64, scale = f16, zero = f16>>
// CHECK-SAME: !qc.weight<7x5, #qc.grouped<bits = 5, group = 128, scale = f16, zero = f32>, packed<8>>
func.func private @grouped(!qc.weight<7x5, #qc.grouped<bits = 1, group = 1, scale = f32>>,
                           !qc.weight<7x5, #qc.grouped<bits = 8, group = channel, scale = f16>>,
                           !qc.weight<7x5, #qc.grouped<bits = 3, group = 4, scale = bf16, zero = int>>,
                           !qc.weight<7x5, #qc.grouped<bits = 4, group = 64, scale = f16, zero = f16>>,
                           !qc.weight<7x5, #qc.grouped<bits = 5, group = 128, scale = f16, zero = f32>, packed<8>>)

// `group = 0` is how `channel` is stored.
// CHECK-LABEL: @channel
// CHECK-SAME: group = channel
func.func private @channel(!qc.weight<7x5, #qc.grouped<bits = 2, group = 0, scale = f16>>)

// CHECK-LABEL: @lut
// CHECK-SAME: !qc.weight<7x5, #qc.lut<nf4, group = 64, scale = f32>>
// CHECK-SAME: !qc.weight<7x5, #qc.lut<fp4, group = channel, scale = f16>, packed<16>>
// CHECK-SAME: !qc.weight<7x5, #qc.lut<nf4, group = 64, scale = f32, double_quant = 256>>
// CHECK-SAME: !qc.weight<7x5, #qc.lut<bits = 3, group = 32, scale = bf16>>
func.func private @lut(!qc.weight<7x5, #qc.lut<nf4, group = 64, scale = f32>>,
                       !qc.weight<7x5, #qc.lut<fp4, group = channel, scale = f16>, packed<16>>,
                       !qc.weight<7x5, #qc.lut<nf4, group = 64, scale = f32, double_quant = 256>>,
                       !qc.weight<7x5, #qc.lut<bits = 3, group = 32, scale = bf16>>)

// CHECK-LABEL: @codebook
// CHECK-SAME: !qc.weight<7x5, #qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f32>>
// CHECK-SAME: !qc.weight<7x5, #qc.codebook<books = 1, bits = 16, vector = 4, scale = f32, entry = f16>, packed<4>>
func.func private @codebook(!qc.weight<7x5, #qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f32>>,
                            !qc.weight<7x5, #qc.codebook<books = 1, bits = 16, vector = 4, scale = f32, entry = f16>, packed<4>>)

// CHECK-LABEL: @e8p
// CHECK-SAME: !qc.weight<7x5, #qc.e8p<scale = f16>>, !qc.weight<7x5, #qc.e8p<scale = f32>, packed<4>>
func.func private @e8p(!qc.weight<7x5, #qc.e8p<scale = f16>>, !qc.weight<7x5, #qc.e8p<scale = f32>, packed<4>>)

// CHECK-LABEL: @attributes
// CHECK-SAME: a = #qc.external<"w.safetensors", 512, 11008>
// CHECK-SAME: b = #qc.arithmetic<f32>, c = #qc.arithmetic<int8>
// CHECK-SAME: d = #qc.activation<silu>, e = #qc.activation<gelu>, f = #qc.activation<gelu_tanh>, g = #qc.activation<relu>
func.func private @attributes() attributes {
  a = #qc.external<"w.safetensors", 512, 11008>, b = #qc.arithmetic<f32>, c = #qc.arithmetic<int8>,
  d = #qc.activation<silu>, e = #qc.activation<gelu>, f = #qc.activation<gelu_tanh>, g = #qc.activation<relu>}
