// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=nvvm max-threads=512 wide-loads=true programmatic-launch=true tensor-cores=true" -o %t
// RUN: FileCheck %s < %t
// RUN: FileCheck %s --check-prefix=KERNEL < %t
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=15 integer-dot=nvvm wide-loads=true tensor-cores=true" | FileCheck %s --check-prefix=SHORT
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=nvvm wide-loads=true" | FileCheck %s --check-prefix=NONE

// Steps of at most 16 tokens have lists of their own. Products of one input are
// one kernel with the row blocks of all, 5 + 5 + 2; 16 blocks of 32 inputs for 16
// warps. Buffers have room for 16 tokens of 512 bytes.
// CHECK-LABEL: module
// CHECK-SAME:  score = [
// CHECK-SAME:  grid = array<i32: 2, 0, 1, 64, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_m64_mma"}
// CHECK-SAME:  score_few = [
// CHECK-SAME:  ["arena", "write", array<i64: {{[0-9]+}}, 0, 8192, 0>]
// CHECK-SAME:  grid = array<i32: 12, 0, 1, 16, 1, 0>, kernel = "[[QKV:matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_and_160x512_grouped_bits_4_group_64_scale_f16_and_64x512_grouped_bits_4_group_64_scale_f16_t512_m16_mma]]"}
// CHECK-SAME:  grid = array<i32: 5, 0, 1, 16, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_160x512_grouped_bits_4_group_64_scale_f16_silu_t512_m16_mma"}
// CHECK-SAME:  grid = array<i32: 5, 0, 1, 16, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_residual_t512_m16_mma"}

// Weights are fetched before the kernels before have ended. Warps take blocks in
// turn; sums of 16 tokens and 32 rows with 4 to spare meet in shared memory.
// KERNEL-LABEL: gpu.func @matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_residual_t512_m16_mma(
// KERNEL:         memref.prefetch
// KERNEL:         nvvm.griddepcontrol wait
// KERNEL-COUNT-4: nvvm.mma.sync
// KERNEL-NOT:     nvvm.mma.sync
// KERNEL:         vector.store {{.*}} vector<4xf32>
// KERNEL:         gpu.barrier
// KERNEL-COUNT-16: memref.load %{{.*}} : memref<9216xf32, #gpu.address_space<workgroup>>
// KERNEL:         memref.store %{{.*}}, %arg6[

// Where no step is longer, there is no second list.
// SHORT-NOT: score_few
// SHORT:     _m16_mma
// SHORT-NOT: _m64_mma
// NONE-NOT:  score_few
!e = !qc.weight<4x512, #qc.float<f32>, packed<32>>
!w = !qc.weight<160x512, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
!v = !qc.weight<64x512, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 65536>]
qc.weight @w : !w = [#qc.external<"b", 65536, 43520>]
qc.weight @v : !v = [#qc.external<"b", 109056, 17408>]
func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<?x160xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %v = qc.get_weight @v : !v
  %x = qc.embedding %ids, %e : (tensor<?xi32>, !e) -> tensor<?x512xf32>
  %a:3 = qc.matmul %x, [%w, %w, %v] arithmetic(<int8>) : (tensor<?x512xf32>, !w, !w, !v) -> (tensor<?x160xf32>, tensor<?x160xf32>, tensor<?x64xf32>)
  %g = qc.matmul %x, [%w, %w] gate(<silu>) arithmetic(<int8>) : (tensor<?x512xf32>, !w, !w) -> tensor<?x160xf32>
  %y = qc.matmul %x, [%w] residual(%g) arithmetic(<int8>) : (tensor<?x512xf32>, !w, tensor<?x160xf32>) -> tensor<?x160xf32>
  return %y : tensor<?x160xf32>
}
