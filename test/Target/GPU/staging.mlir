// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=64 integer-dot=nvvm tensor-cores=true" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=64 integer-dot=nvvm tensor-cores=true" --qc-gpu-kernels-to-nvvm | FileCheck %s --check-prefix=NVVM

// A stage is half a block of 128 inputs: 64 bytes of scales and 8 chunks of 128
// bytes for each of four warps (272 words), 64 tokens of 64 bytes, 24 words apart.
// Three of them: 3 * (4 * 272 + 64 * 24) words. Copies of 16 bytes: 4 of scales,
// 64 of codes by the 32 lanes, 256 of activations by the 128 threads.
// CHECK-LABEL: gpu.func @matmul_160x2048_grouped_bits_4_group_128_scale_f16_int8_m64_mma(
// CHECK:         memref.alloc() : memref<7872xi32, #gpu.address_space<workgroup>>
// Warps without a row block compute the last one, too.
// CHECK:         arith.select
// CHECK:         gpu.barrier
// CHECK:         scf.if
// CHECK-NEXT:      arith
// CHECK:           nvgpu.device_async_copy %arg1[%{{.*}}], %{{.*}}[%{{.*}}], 4 {bypassL1}
// CHECK:         }
// CHECK-COUNT-2: nvgpu.device_async_copy %arg1[
// CHECK-COUNT-2: nvgpu.device_async_copy %arg2[
// CHECK:         nvvm.cp.async.commit.group
// CHECK:         nvvm.cp.async.commit.group
// CHECK:         scf.for
// CHECK:           scf.for
// CHECK:             nvvm.cp.async.wait.group 1
// CHECK-NEXT:        gpu.barrier
// CHECK:             scf.if
// CHECK:               nvgpu.device_async_copy
// CHECK:             nvvm.cp.async.commit.group
// CHECK:             nvvm.mma.sync
// CHECK:           arith.sitofp

// Blocks of 300 inputs are not made of 16 bytes.
// CHECK-LABEL: gpu.func @matmul_160x2048_grouped_bits_8_group_300_scale_f16_int8_residual_m32_mma(
// CHECK-NOT:     device_async_copy
// CHECK:         gpu.return

// NVVM-LABEL: llvm.func @matmul_160x2048_grouped_bits_4_group_128_scale_f16_int8_m64_mma(
// NVVM:         nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache =  cg : !llvm.ptr<3>, !llvm.ptr<1>
// NVVM-NOT:     nvgpu
// NVVM-NOT:     unrealized_conversion_cast
!e = !qc.weight<4x2048, #qc.float<f32>, packed<32>>
!w = !qc.weight<160x2048, #qc.grouped<bits = 4, group = 128, scale = f16>, packed<32>>
!v = !qc.weight<160x2048, #qc.grouped<bits = 8, group = 300, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 262144>]
qc.weight @w : !w = [#qc.external<"b", 262144, 168960>]
qc.weight @v : !v = [#qc.external<"b", 524288, 338240>]
func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<?x160xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %v = qc.get_weight @v : !v
  %x = qc.embedding %ids, %e : (tensor<?xi32>, !e) -> tensor<?x2048xf32>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x2048xf32>, !w) -> tensor<?x160xf32>
  %z = qc.matmul %x, [%v] residual(%y) arithmetic(<int8>) : (tensor<?x2048xf32>, !v, tensor<?x160xf32>) -> tensor<?x160xf32>
  return %z : tensor<?x160xf32>
}
