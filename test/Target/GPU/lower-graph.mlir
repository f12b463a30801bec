// RUN: qc-opt %s --qc-lower-to-gpu-kernels=max-tokens=16 | FileCheck %s
// RUN: sed 's/xf16>/xi8>/g' %s | qc-opt --qc-lower-to-gpu-kernels=max-tokens=16 | FileCheck %s --check-prefix=I8

// The layer is called twice: its dispatches are unrolled, its kernels exist
// once. The cache's second layer begins 32 bytes a position behind the first.
// Rotary tables are the runtime's; attention waits for what append writes.

// CHECK-LABEL: module
// CHECK-SAME:  kv_bytes_per_position = 64 : i64
// CHECK-SAME:  rotary = [{frequencies = array<f32: 1.000000e+00, 0.00999999977>, offset_per_position = 0 : i64}]
// CHECK-SAME:  steps = {decode = [
// CHECK-SAME:  kernel = "embedding_4x8_float_f32"}
// CHECK-SAME:  kernel = "rms_norm_8_8_1_000000e_06"}
// CHECK-SAME:  ["tables", "read", array<i64: 0, 0, 0, 16>]
// CHECK-SAME:  kernel = "rotary_8_8_4"}
// CHECK-SAME:  ["kv", "write", array<i64: 0, 0, 0, 32>]], grid = array<i32: 1, 0, 1, 0, 1, 0>, kernel = "append_1x8f16"}
// CHECK-SAME:  {barrier, buffers =
// CHECK-SAME:  ["kv", "read", array<i64: 0, 0, 0, 32>]
// CHECK-SAME:  kernel = "attention_1_1x8f16_window4_3f000000"}
// CHECK-SAME:  kernel = "add_8"}
// CHECK-SAME:  ["kv", "write", array<i64: 0, 32, 0, 32>]
// CHECK-SAME:  table_bytes_per_position = 16 : i64, tests = [{format = "float<f32>"
// CHECK:       gpu.func @attention_1_1x8f16_window4
// CHECK-NOT:   gpu.func @attention_

// A cache of i8: two rows of 8 bytes and a scale each, a position and layer; a
// workgroup appends a head.
// I8-LABEL: module
// I8-SAME:  kv_bytes_per_position = 48 : i64
// I8-SAME:  ["kv", "write", array<i64: 0, 0, 0, 24>]], grid = array<i32: 1, 0, 1, 0, 1, 0>, kernel = "append_1x8i8"}
// I8:       gpu.func @append_1x8i8
// I8:         gpu.barrier
// I8:         math.roundeven
// I8:       gpu.func @attention_1_1x8i8_window4

!e = !qc.weight<4x8, #qc.float<f32>, packed<32>>
!n = !qc.weight<8, #qc.float<f32>>
qc.weight @e : !e = [#qc.external<"b", 0, 1024>]
qc.weight @n : !n = [#qc.external<"b", 1024, 32>]
func.func private @layer(%x: tensor<?x8xf32>, %ids: tensor<?xi32>, %pos: index, %cache: !lm.kv_cache<1x8xf16>) -> tensor<?x8xf32> {
  %w = qc.get_weight @n : !n
  %d = qc.dequantize %w : !n -> tensor<8xf32>
  %h = lm.rms_norm %x, %d eps 1.0e-06 : tensor<?x8xf32>, tensor<8xf32>
  %t = lm.rotary_table %ids at %pos <dim = 4, theta = 1.0e+04> : tensor<?xi32> -> tensor<?x4xf32>
  %q = lm.rotary %h, %t head_dim 8 : tensor<?x8xf32>, tensor<?x4xf32>
  %a = lm.attention %q, %h, %h, %cache at %pos scale 0.5 window 4 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<1x8xf16> -> tensor<?x8xf32>
  %r = arith.addf %a, %x : tensor<?x8xf32>
  return %r : tensor<?x8xf32>
}
func.func @decode(%ids: tensor<1xi32>, %pos: index, %cache: !lm.kv_cache<2x1x8xf16>) -> tensor<1x4xf32> {
  %e = qc.get_weight @e : !e
  %all = tensor.cast %ids : tensor<1xi32> to tensor<?xi32>
  %x = qc.embedding %all, %e : (tensor<?xi32>, !e) -> tensor<?x8xf32>
  %c0 = lm.cache_layer %cache[0] : !lm.kv_cache<2x1x8xf16> -> !lm.kv_cache<1x8xf16>
  %c1 = lm.cache_layer %cache[1] : !lm.kv_cache<2x1x8xf16> -> !lm.kv_cache<1x8xf16>
  %y = call @layer(%x, %all, %pos, %c0) : (tensor<?x8xf32>, tensor<?xi32>, index, !lm.kv_cache<1x8xf16>) -> tensor<?x8xf32>
  %z = call @layer(%y, %all, %pos, %c1) : (tensor<?x8xf32>, tensor<?xi32>, index, !lm.kv_cache<1x8xf16>) -> tensor<?x8xf32>
  %l = qc.matmul %z, [%e] : (tensor<?x8xf32>, !e) -> tensor<?x4xf32>
  %one = tensor.cast %l : tensor<?x4xf32> to tensor<1x4xf32>
  return %one : tensor<1x4xf32>
}
