// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=64 integer-dot=nvvm tensor-cores=true" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=64 integer-dot=nvvm tensor-cores=true" --qc-gpu-kernels-to-nvvm | FileCheck %s --check-prefix=NVVM

// A stage is a block of 128 inputs, two steps: for each of four warps 64 bytes
// of scales and 16 chunks of 128 bytes, two by two with 32 bytes between (592
// words); 64 tokens of 128 bytes; their sums, and apart from the rest, in f32,
// their scales. Two of them: 2 * (4 * 592 + 64 * 32 + 64) words. Copies of 16
// bytes: 4 of scales, 128 of codes by the 32 lanes, 512 of activations by the 128
// threads; of 4 bytes, scales by the first 64 threads, sums by the others.
// CHECK-LABEL: gpu.func @matmul_160x2048_grouped_bits_4_group_128_scale_f16_int8_m64_mma(
// CHECK-DAG:     memref.alloc() : memref<8960xi32, #gpu.address_space<workgroup>>
// CHECK-DAG:     memref.alloc() : memref<128xf32, #gpu.address_space<workgroup>>
// Warps without a row block compute the last one, too.
// CHECK:         arith.select
// CHECK:         gpu.barrier
// CHECK:         scf.if
// CHECK-NEXT:      arith
// CHECK:           nvgpu.device_async_copy %arg1[%{{.*}}], %{{.*}}[%{{.*}}], 4 {bypassL1}
// CHECK:         }
// CHECK-COUNT-4: nvgpu.device_async_copy %arg1[
// CHECK-COUNT-4: nvgpu.device_async_copy %arg2[
// CHECK:         scf.if
// CHECK:           nvgpu.device_async_copy %arg3[%{{.*}}], %{{.*}}[%{{.*}}], 1 :
// CHECK:         scf.if
// CHECK:           nvgpu.device_async_copy %arg4[%{{.*}}], %{{.*}}[%{{.*}}], 1 :
// CHECK:         nvvm.cp.async.commit.group
// CHECK:         scf.for
// CHECK-NEXT:      nvvm.cp.async.wait.group 0
// CHECK-NEXT:      gpu.barrier
// CHECK:           scf.if
// CHECK:             nvgpu.device_async_copy
// CHECK:           nvvm.cp.async.commit.group

// All products of 8 tokens, then their scaling: sums began with the bits of
// 1.5 * 2^23.
// CHECK:           arith.subi %c1262485504_i32
// CHECK-COUNT-8:   nvvm.mma.sync
// CHECK-NOT:       nvvm.mma.sync
// CHECK-NOT:       arith.sitofp
// CHECK:           arith.bitcast %{{.*}} : i32 to f32
// CHECK:           arith.subf
// CHECK:           math.fma
// CHECK-COUNT-56:  nvvm.mma.sync
// CHECK-NOT:       nvvm.mma.sync
// Four rows of a token.
// CHECK:         vector.store %{{.*}} {alignment = 16 : i64} : memref<?xf32>, vector<4xf32>

// Activations are in blocks of 128 there, too. Of 8 bits a stage is half a block,
// and the sums go through both.
// CHECK-LABEL: gpu.func @matmul_160x2048_grouped_bits_8_group_2048_scale_f16_int8_m64_mma(
// CHECK:         scf.for
// CHECK-COUNT-32:  nvvm.mma.sync
// CHECK:           scf.for
// CHECK:             nvvm.cp.async.wait.group
// CHECK-COUNT-32:    nvvm.mma.sync
// CHECK:           arith.bitcast %{{.*}} : i32 to f32

// Blocks of 300 inputs are not made of 16 bytes, and their sums not below 2^22.
// CHECK-LABEL: gpu.func @matmul_160x2048_grouped_bits_8_group_300_scale_f16_int8_residual_m32_mma(
// CHECK-NOT:     device_async_copy
// CHECK:         arith.sitofp
// CHECK-NOT:     device_async_copy
// CHECK:         gpu.return

// NVVM-LABEL: llvm.func @matmul_160x2048_grouped_bits_4_group_128_scale_f16_int8_m64_mma(
// NVVM:         nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache =  cg : !llvm.ptr<3>, !llvm.ptr<1>
// NVVM-NOT:     nvgpu
// NVVM-NOT:     unrealized_conversion_cast
!e = !qc.weight<4x2048, #qc.float<f32>, packed<32>>
!w = !qc.weight<160x2048, #qc.grouped<bits = 4, group = 128, scale = f16>, packed<32>>
!v = !qc.weight<160x2048, #qc.grouped<bits = 8, group = 300, scale = f16>, packed<32>>
!u = !qc.weight<160x2048, #qc.grouped<bits = 8, group = 2048, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 262144>]
qc.weight @w : !w = [#qc.external<"b", 262144, 168960>]
qc.weight @v : !v = [#qc.external<"b", 524288, 338240>]
qc.weight @u : !u = [#qc.external<"b", 1048576, 332800>]
func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<?x160xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %v = qc.get_weight @v : !v
  %u = qc.get_weight @u : !u
  %x = qc.embedding %ids, %e : (tensor<?xi32>, !e) -> tensor<?x2048xf32>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x2048xf32>, !w) -> tensor<?x160xf32>
  %s = qc.matmul %x, [%u] arithmetic(<int8>) : (tensor<?x2048xf32>, !u) -> tensor<?x160xf32>
  %t = arith.addf %y, %s : tensor<?x160xf32>
  %z = qc.matmul %x, [%v] residual(%t) arithmetic(<int8>) : (tensor<?x2048xf32>, !v, tensor<?x160xf32>) -> tensor<?x160xf32>
  return %z : tensor<?x160xf32>
}
