// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads=true warp-size=32" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads=true warp-size=32 reproducible=true" | FileCheck %s --check-prefix=SAME
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 wide-loads=true" | FileCheck %s --check-prefix=SHARED
// RUN: not qc-opt %s --qc-lower-to-gpu-kernels=warp-size=64 2>&1 | FileCheck %s --check-prefix=WARP
// WARP: error: warp-size must be 0 or 32, found 64

// Eight lanes of a warp have a block of 32 activations, a workgroup all 16.
// CHECK-LABEL: module
// CHECK-SAME:  grid = array<i32: 1, 0, 1, 0, 1, 0>, kernel = "quantize_512_32_32_16"}
// CHECK-LABEL: gpu.func @quantize_512_32_32_16(
// CHECK:         vector.load %{{.*}} {alignment = 16 : i64} : memref<?xf32>, vector<4xf32>
// CHECK-COUNT-3: gpu.shuffle xor
// CHECK-NOT:     gpu.shuffle
// CHECK:         arith.divf
// CHECK-COUNT-3: gpu.shuffle xor
// CHECK-NOT:     gpu.shuffle
// CHECK:         memref.store %{{.*}} : memref<?xi32>
// CHECK:         scf.if
// CHECK-NOT:     gpu.barrier
// CHECK:         gpu.return

// A thread has four rows: their scales are two words, their codes four. The parts
// of a warp exchange sums: two shuffles carry the rows that 16 lanes away are
// kept, one that of 8 away.
// CHECK-LABEL: gpu.func @matmul_64x512_grouped_bits_4_group_128_scale_f16_int8_t512_m1(
// CHECK-DAG:     %[[FAR:.*]] = arith.constant 16 : i32
// CHECK-DAG:     %[[NEAR:.*]] = arith.constant 8 : i32
// CHECK:         vector.load %{{.*}} {alignment = 8 : i64} : memref<?xi32>, vector<2xi32>
// CHECK:         arith.extf %{{.*}} : vector<4xf16> to vector<4xf32>
// CHECK:         vector.load %{{.*}} {alignment = 16 : i64} : memref<?xi32>, vector<4xi32>
// CHECK-COUNT-8: nvvm.dot.accumulate.4way
// CHECK-NOT:     nvvm.dot.accumulate.4way
// CHECK:         gpu.shuffle xor %{{.*}}, %[[FAR]], %{{.*}} : f32
// CHECK:         gpu.shuffle xor %{{.*}}, %[[FAR]], %{{.*}} : f32
// CHECK:         gpu.shuffle xor %{{.*}}, %[[NEAR]], %{{.*}} : f32
// CHECK-NOT:     gpu.shuffle
// CHECK:         gpu.barrier

// Where warps are not known, 16 sums of each row meet in shared memory.
// SHARED-LABEL: gpu.func @matmul_64x512_grouped_bits_4_group_128_scale_f16_int8_m1(
// SHARED:         memref.alloc() : memref<512xf32, #gpu.address_space<workgroup>>
// SHARED:         vector.load %{{.*}} {alignment = 16 : i64} : memref<?xi32>, vector<4xi32>
// SHARED-NOT:     gpu.shuffle
// SHARED-COUNT-4: memref.store %{{.*}} : memref<512xf32, #gpu.address_space<workgroup>>
// SHARED:         gpu.barrier
// SHARED-COUNT-16: memref.load %{{.*}} : memref<512xf32, #gpu.address_space<workgroup>>

// SAME:     grid = array<i32: 16, 0, 1, 0, 1, 0>, kernel = "quantize_512_32_32_16"}
// SAME-NOT: vector<4xi32>
// SAME-NOT: gpu.shuffle
!e = !qc.weight<4x512, #qc.float<f32>, packed<32>>
!w = !qc.weight<64x512, #qc.grouped<bits = 4, group = 128, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 65536>]
qc.weight @w : !w = [#qc.external<"b", 65536, 16896>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x64xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x512xf32>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<1x512xf32>, !w) -> tensor<1x64xf32>
  return %y : tensor<1x64xf32>
}
