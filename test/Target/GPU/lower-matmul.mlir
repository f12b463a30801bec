// RUN: qc-opt %s --qc-lower-to-gpu-kernels=max-tokens=16 | FileCheck %s

// One token has a kernel of its own; several share the decoded weight in tiles
// of 8. Codes are unpacked from 32-bit words; nothing narrower appears.

// CHECK-LABEL: module
// CHECK-SAME:  arena_bytes = 4096 : i64
// CHECK-SAME:  kernels = [{buffers = 3 : i64, name = "embedding_4x64_float_f32", threads = 128 : i64}
// CHECK-SAME:  decode = [{buffers = {{\[\[}}"state", "read", array<i64: 0, 0, 96, 0>], ["weights", "read", array<i64: 0, 0, 8192, 0>], ["arena", "write", array<i64: 0, 0, 256, 0>]], grid = array<i32: 1, 0, 1, 0, 1, 0>, kernel = "embedding_4x64_float_f32"}
// CHECK-SAME:  {barrier, buffers = {{\[\[}}"weights", "read", array<i64: 8192, 0, 2176, 0>], ["arena", "read", array<i64: 0, 0, 256, 0>], ["logits", "write", array<i64: 0, 0, 160, 0>]], grid = array<i32: 2, 0, 1, 0, 1, 0>, kernel = "matmul_40x64_grouped_bits_4_group_64_scale_f16_m1"}]
// CHECK-SAME:  score = [{buffers = {{.*}}["arena", "write", array<i64: 0, 0, 4096, 0>]], grid = array<i32: 1, 0, 1, 1, 1, 0>, kernel = "embedding_4x64_float_f32"}
// CHECK-SAME:  grid = array<i32: 2, 0, 1, 8, 1, 0>, kernel = "matmul_40x64_grouped_bits_4_group_64_scale_f16_m8"}]
// CHECK-NOT:   func.func
// CHECK:       gpu.module @kernels
// CHECK-NOT:   {{xi8|xf16|xi4|xi16}}
// CHECK:         gpu.func @matmul_40x64_grouped_bits_4_group_64_scale_f16_m1(%{{.*}}: memref<?xi32>, %{{.*}}: memref<?xf32>, %{{.*}}: memref<?xf32>) kernel attributes {known_block_size = array<i32: 128, 1, 1>}
// CHECK-NOT:   {{xi8|xf16|xi4|xi16}}
// CHECK:           memref.alloc() : memref<128xf32, #gpu.address_space<workgroup>>
// CHECK:           scf.for
// CHECK:             math.fma
// CHECK:           gpu.barrier
// The last row block has 8 rows only.
// CHECK:           arith.cmpi slt
// CHECK:           memref.store
// CHECK:         gpu.func @matmul_40x64_grouped_bits_4_group_64_scale_f16_m8(
// CHECK:           memref.alloc() : memref<1024xf32, #gpu.address_space<workgroup>>

!e = !qc.weight<4x64, #qc.float<f32>, packed<32>>
!w = !qc.weight<40x64, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 8192>]
qc.weight @w : !w = [#qc.external<"b", 8192, 2176>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x40xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x64xf32>
  %y = qc.matmul %x, [%w] : (tensor<1x64xf32>, !w) -> tensor<1x40xf32>
  return %y : tensor<1x40xf32>
}
func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<?x40xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<?xi32>, !e) -> tensor<?x64xf32>
  %y = qc.matmul %x, [%w] : (tensor<?x64xf32>, !w) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
