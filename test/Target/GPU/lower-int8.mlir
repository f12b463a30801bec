// RUN: qc-opt %s --qc-lower-to-gpu-kernels=max-tokens=16 | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=16 integer-dot=spirv" | FileCheck %s --check-prefixes=CHECK,DOT
// RUN: not qc-opt %s --qc-lower-to-gpu-kernels=integer-dot=some 2>&1 | FileCheck %s --check-prefix=BAD
// BAD: integer-dot must be emulated, spirv or nvvm, found 'some'

// The activations are quantized once for both weights: codes, scales and sums.

// CHECK-LABEL: module
// CHECK-SAME:  kernel = "embedding_4x100_float_f32"}
// CHECK-SAME:  ["arena", "write", array<i64: {{[0-9]+}}, 0, 256, 0>], ["arena", "write", array<i64: {{[0-9]+}}, 0, 256, 0>], ["arena", "write", array<i64: {{[0-9]+}}, 0, 256, 0>]], grid = array<i32: 4, 0, 1, 0, 1, 0>, kernel = "quantize_100_32_32_4"}, {barrier, buffers =
// CHECK-SAME:  kernel = "matmul_32x100_grouped_bits_4_group_64_scale_f16_int8_m1"}, {buffers =
// CHECK-SAME:  kernel = "matmul_40x100_grouped_bits_4_group_64_scale_f16_int8_m1"}]
// CHECK:       gpu.func @quantize_100_32_32_4(
// CHECK:         math.roundeven
// CHECK:       gpu.func @matmul_32x100_grouped_bits_4_group_64_scale_f16_int8_m1(
// CHECK-NOT:     math.exp
// The zero point 8 starts the sum.
// CHECK:         arith.constant -8 : i32
// DOT:           spirv.SUDot %{{.*}}, %{{.*}}, <PackedVectorFormat4x8Bit> : i32 -> i32

!e = !qc.weight<4x100, #qc.float<f32>, packed<32>>
!v = !qc.weight<32x100, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
!w = !qc.weight<40x100, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 12800>]
qc.weight @v : !v = [#qc.external<"b", 12800, 2176>]
qc.weight @w : !w = [#qc.external<"b", 15104, 4352>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x40xf32> {
  %e = qc.get_weight @e : !e
  %v = qc.get_weight @v : !v
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x100xf32>
  %a, %y = qc.matmul %x, [%v, %w] arithmetic(<int8>) : (tensor<1x100xf32>, !v, !w) -> (tensor<1x32xf32>, tensor<1x40xf32>)
  return %y : tensor<1x40xf32>
}
