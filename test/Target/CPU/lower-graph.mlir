// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v3})' | FileCheck %s

// Attention appends to the cache, meets the other threads, then attends.
// CHECK-LABEL: func.func private @attention_8_4x8f16_
// CHECK:         scf.for
// CHECK:         arith.maxnumf
// CHECK-LABEL: func.func private @append_4x8f16(
// CHECK:         arith.truncf {{.*}} : vector<8xf32> to vector<8xf16>
// CHECK-LABEL: func.func private @rotary_64_8_8(
// CHECK-LABEL: func.func private @rotary_table_8_
// CHECK:         math.cos
// CHECK:         math.sin
// CHECK-LABEL: func.func private @rms_norm_64_8_
// CHECK-LABEL: func.func private @f(
// CHECK-SAME:    %{{[a-z0-9]+}}: memref<?xi32>, %{{[a-z0-9]+}}: memref<?x64xf32>, %{{[a-z0-9]+}}: memref<?x32xf32>, %{{[a-z0-9]+}}: memref<?xf16>, %{{[a-z0-9]+}}: index, %{{[a-z0-9]+}}: index, %{{[a-z0-9]+}}: index
// CHECK:         call @rms_norm_64_8_
// CHECK:         call @rotary_table_8_
// CHECK:         call @rotary_64_8_8
// CHECK:         call @append_4x8f16
// CHECK-NEXT:    call @qc_barrier
// CHECK:         call @attention_8_4x8f16
// CHECK-NEXT:    call @qc_barrier

qc.weight @n : !qc.weight<8, #qc.float<f32>> = [#qc.external<"b", 0, 32>]
func.func @f(%ids: tensor<?xi32>, %q: tensor<?x64xf32>, %k: tensor<?x32xf32>, %cache: !lm.kv_cache<4x8xf16>, %pos: index) -> tensor<?x64xf32> {
  %w = qc.get_weight @n : !qc.weight<8, #qc.float<f32>>
  %d = qc.dequantize %w : !qc.weight<8, #qc.float<f32>> -> tensor<8xf32>
  %qn = lm.rms_norm %q, %d eps 1.0e-06 : tensor<?x64xf32>, tensor<8xf32>
  %t = lm.rotary_table %ids at %pos <dim = 8, theta = 1.0e+04> : tensor<?xi32> -> tensor<?x8xf32>
  %r = lm.rotary %qn, %t head_dim 8 : tensor<?x64xf32>, tensor<?x8xf32>
  %a = lm.attention %r, %k, %k, %cache at %pos scale 0.5 window 4 : tensor<?x64xf32>, tensor<?x32xf32>, !lm.kv_cache<4x8xf16> -> tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}
