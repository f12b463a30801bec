// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads warp-size=32 fuse-steps programmatic-launch" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads warp-size=32" | FileCheck %s --check-prefix=PLAIN

// A step of one token has four kernels a layer: a product of three weights that
// normalizes and rounds its input, attention that rotates and appends, what puts
// its parts together, and a product that rounds its input. All wait for those
// before, and products fetch weights before they do.

// CHECK:      qc.device = {
// CHECK-SAME: waits
// CHECK-SAME: decode = [
// CHECK-SAME: kernel = "embedding_
// CHECK-SAME: buffers = {{\[}}["weights", "read", {{[^]]*}}], ["weights", "read", {{[^]]*}}], ["weights", "read", {{[^]]*}}], ["arena", "read", {{[^]]*}}], ["weights", "read", {{[^]]*}}], ["arena", "write", {{[^]]*}}], ["arena", "write", {{[^]]*}}], ["arena", "write", {{[^]]*}}]], grid = array<i32: 36, 0, 1, 0, 1, 0>, kernel = "matmul_1024x1024_[[F:grouped_bits_4_group_128_scale_f16]]_int8_and_64x1024_[[F]]_and_64x1024_[[F]]_quantizing_rms_{{[0-9a-f]+}}_t{{[0-9]+}}_m1"
// CHECK-SAME: grid = array<i32: 32, 0, 8, 0, 1, 0>, kernel = "attention_step_32_2x32f16_{{[0-9a-f]+}}_rotary_32_32"
// CHECK-SAME: grid = array<i32: 32, 0, 1, 0, 1, 0>, kernel = "attention_combine_32x32_8"
// CHECK-SAME: kernel = "matmul_1024x1024_[[F]]_int8_residual_quantizing_t{{[0-9]+}}_m1"

// CHECK: gpu.func @embedding_
// CHECK:   nvvm.griddepcontrol wait
// CHECK: gpu.func @matmul_1024x1024_{{.*}}_and_{{.*}}({{.*}}{qc.constant = true}, {{.*}}{qc.constant = true}, {{.*}}{qc.constant = true}, %{{.*}}: memref<?xf32> {qc.constant = false}, %{{.*}}: memref<?xf32> {qc.constant = true},
// CHECK:   memref.prefetch {{.*}} read, locality<3>, data
// CHECK:   nvvm.griddepcontrol wait
// CHECK:   gpu.shuffle xor
// CHECK:   nvvm.dot.accumulate.4way
// CHECK:   nvvm.griddepcontrol launch_dependents
// CHECK: gpu.func @attention_step_
// CHECK:   memref.prefetch
// CHECK:   nvvm.griddepcontrol wait
// CHECK:   nvvm.griddepcontrol launch_dependents
// CHECK: gpu.func @attention_combine_

// PLAIN-NOT: quantizing
// PLAIN-NOT: attention_step
// PLAIN-NOT: qc.programmatic

!e = !qc.weight<64x1024, #qc.float<f32>, packed<32>>
!q = !qc.weight<1024x1024, #qc.grouped<bits = 4, group = 128, scale = f16>, packed<32>>
!k = !qc.weight<64x1024, #qc.grouped<bits = 4, group = 128, scale = f16>, packed<32>>
!g = !qc.weight<1024, #qc.float<f32>>
qc.weight @e : !e = [#qc.external<"b", 0, 262144>]
qc.weight @g : !g = [#qc.external<"b", 262144, 4096>]
qc.weight @q : !q = [#qc.external<"b", 266240, 540672>]
qc.weight @k : !k = [#qc.external<"b", 806912, 33792>]
qc.weight @v : !k = [#qc.external<"b", 840704, 33792>]
qc.weight @o : !q = [#qc.external<"b", 874496, 540672>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x2x32xf16>) -> tensor<1x1024xf32> {
  %e = qc.get_weight @e : !e
  %gw = qc.get_weight @g : !g
  %q = qc.get_weight @q : !q
  %k = qc.get_weight @k : !k
  %v = qc.get_weight @v : !k
  %o = qc.get_weight @o : !q
  %table = lm.rotary_table %ids at %p <dim = 32, theta = 1.000000e+04> : tensor<1xi32> -> tensor<1x32xf32>
  %cache = lm.cache_layer %c[0] : <1x2x32xf16> -> <2x32xf16>
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x1024xf32>
  %g = qc.dequantize %gw : !g -> tensor<1024xf32>
  %n = lm.rms_norm %x, %g eps 1.000000e-05 : tensor<1x1024xf32>, tensor<1024xf32>
  %qkv:3 = qc.matmul %n, [%q, %k, %v] arithmetic(<int8>) : (tensor<1x1024xf32>, !q, !k, !k) -> (tensor<1x1024xf32>, tensor<1x64xf32>, tensor<1x64xf32>)
  %rq = lm.rotary %qkv#0, %table head_dim 32 : tensor<1x1024xf32>, tensor<1x32xf32>
  %rk = lm.rotary %qkv#1, %table head_dim 32 : tensor<1x64xf32>, tensor<1x32xf32>
  %a = lm.attention %rq, %rk, %qkv#2, %cache at %p scale 0.17677669529663687 : tensor<1x1024xf32>, tensor<1x64xf32>, <2x32xf16> -> tensor<1x1024xf32>
  %y = qc.matmul %a, [%o] residual(%x) arithmetic(<int8>) : (tensor<1x1024xf32>, !q, tensor<1x1024xf32>) -> tensor<1x1024xf32>
  return %y : tensor<1x1024xf32>
}
