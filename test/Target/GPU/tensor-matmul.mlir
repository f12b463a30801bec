// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=nvvm max-threads=512 tensor-cores=true" | FileCheck %s
// RUN: not qc-opt %s --qc-lower-to-gpu-kernels=max-threads=96 2>&1 | FileCheck %s --check-prefix=THREADS
// THREADS: error: max-threads must be a power of two from 128 to 1024, found 96

// Row blocks of 32: 5 of one weight, four to a workgroup, 64 tokens at a time.
// Activations have room for whole tiles: 128 tokens of 512 bytes.
// CHECK-LABEL: module
// CHECK-SAME:  decode = [
// CHECK-SAME:  grid = array<i32: 5, 0, 1, 0, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_t512_m1"}
// CHECK-SAME:  score = [
// CHECK-SAME:  ["arena", "write", array<i64: {{[0-9]+}}, 0, 65536, 0>]
// CHECK-SAME:  grid = array<i32: 2, 0, 1, 64, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_160x512_grouped_bits_4_group_64_scale_f16_silu_m64_mma"}
// CHECK-SAME:  grid = array<i32: 2, 0, 1, 64, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_residual_m64_mma"}

// The first product of a gate waits in the output for the second.
// CHECK-LABEL: gpu.func @matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_160x512_grouped_bits_4_group_64_scale_f16_silu_m64_mma(
// CHECK-COUNT-16:  nvvm.mma.sync
// CHECK:           vector.store %{{.*}}, %arg6[
// CHECK-COUNT-16:  nvvm.mma.sync
// CHECK:           vector.load %arg6[
// CHECK:           vector.store %{{.*}}, %arg6[

// Eight threads of a warp have a word each of four rows; 16 products of 16 rows,
// 8 tokens and 32 inputs for each of the blocks of 32.
// CHECK-LABEL: gpu.func @matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_residual_m64_mma(
// CHECK:         scf.for
// CHECK-COUNT-16:  nvvm.mma.sync A[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] B[%{{.*}}, %{{.*}}] C[{{.*}}] {intOverflowBehavior = #nvvm.mma_int_overflow<wrapped>, layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<u8>, multiplicandBPtxType = #nvvm.mma_type<s8>, shape = #nvvm.shape<m = 16, n = 8, k = 32>}
// CHECK-NOT:       nvvm.mma.sync
// CHECK:           vector.load %arg5[
// CHECK:           vector.store

!e = !qc.weight<4x512, #qc.float<f32>, packed<32>>
!w = !qc.weight<160x512, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 65536>]
qc.weight @w : !w = [#qc.external<"b", 65536, 43520>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x160xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x512xf32>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<1x512xf32>, !w) -> tensor<1x160xf32>
  return %y : tensor<1x160xf32>
}
func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<?x160xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<?xi32>, !e) -> tensor<?x512xf32>
  %g = qc.matmul %x, [%w, %w] gate(<silu>) arithmetic(<int8>) : (tensor<?x512xf32>, !w, !w) -> tensor<?x160xf32>
  %y = qc.matmul %x, [%w] residual(%g) arithmetic(<int8>) : (tensor<?x512xf32>, !w, tensor<?x160xf32>) -> tensor<?x160xf32>
  return %y : tensor<?x160xf32>
}
