// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads warp-size=32 fuse-steps shared-bytes=98304" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads warp-size=32 fuse-steps" | FileCheck %s --check-prefix=GLOBAL
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads warp-size=32 fuse-steps shared-bytes=98304 programmatic-launch" | FileCheck %s --check-prefix=EARLY
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads warp-size=32 fuse-steps shared-bytes=98304" --qc-gpu-kernels-to-nvvm | FileCheck %s --check-prefix=NVVM

// Two codebooks of 256 entries of 8 bytes, 16 copies of each entry: 64 KB. Of
// 600 units of 16 rows 132 workgroups have four or five.

// CHECK:       module attributes {{.*}}qc.device = {{.*}}name = "matmul_9600x2048_codebook_books_2_bits_8_vector_8_scale_f16_entry_f16_int8_quantizing_t512_m1_tables16", shared = 65536 : i64, threads = 512
// CHECK-SAME:  decode = [{{.*}}grid = array<i32: 132, 0, 1, 0, 1, 0>, kernel = "matmul_9600x2048

// CHECK-LABEL: gpu.func @matmul_9600x2048_codebook_books_2
// CHECK-SAME:  qc.shared = 65536 : i64
// CHECK:         gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
// The codes of the first step come before the input; a thread copies an entry
// sixteen times.
// CHECK:         vector.load %arg0{{.*}} {alignment = 8 : i64} : memref<?xi32>, vector<2xi32>
// CHECK-COUNT-4: memref.load %arg0{{.*}} : memref<?xi32>
// CHECK-COUNT-16: vector.store {{.*}} {alignment = 8 : i64} : memref<?xi8, #gpu.address_space<workgroup>>, vector<8xi8>
// CHECK:         gpu.barrier
// Activations are loaded once, two chunks of two words.
// CHECK-COUNT-2: vector.load {{.*}} {alignment = 8 : i64} : memref<512xi32, #gpu.address_space<workgroup>>, vector<2xi32>
// CHECK:         scf.for {{.*}} -> (i32, i32, i32, i32)
// CHECK-COUNT-4:   memref.load %arg0{{.*}} : memref<?xi32>
// CHECK:           arith.ori
// CHECK:           vector.load {{.*}} {alignment = 8 : i64} : memref<?xi8, #gpu.address_space<workgroup>>, vector<8xi8>
// CHECK-NOT:       vector.load %arg0{{.*}} vector<2xi32>
// CHECK-NOT:       memref<512xi32, #gpu.address_space<workgroup>>
// CHECK:           nvvm.dot.accumulate.4way
// CHECK:           gpu.shuffle

// Tables of words have 32 copies. The products of a gate follow each other.
// CHECK-LABEL: gpu.func @matmul_32x9600_e8p
// CHECK-SAME:  qc.shared = 65536 : i64
// CHECK-COUNT-32: vector.store {{.*}} : memref<?xi8, #gpu.address_space<workgroup>>, vector<4xi8>
// CHECK:         nvvm.dot.accumulate.4way
// CHECK-COUNT-32: vector.store {{.*}} : memref<?xi8, #gpu.address_space<workgroup>>, vector<4xi8>
// CHECK:         nvvm.dot.accumulate.4way

// GLOBAL-NOT:   qc.shared
// GLOBAL-NOT:   dynamic_shared_memory

// Tables are filled before the kernel waits.
// EARLY-LABEL: gpu.func @matmul_9600x2048_codebook_books_2
// EARLY:         memref.prefetch %arg0
// EARLY-COUNT-16: vector.store {{.*}} : memref<?xi8, #gpu.address_space<workgroup>>, vector<8xi8>
// EARLY:         nvvm.griddepcontrol wait
// EARLY:         scf.for
// EARLY:           nvvm.griddepcontrol launch_dependents

// NVVM:       llvm.mlir.global external @__dynamic_shmem__0() {addr_space = 3 : i32, alignment = 16 : i64{{.*}}} : !llvm.array<0 x i8>
// NVVM:       llvm.func @matmul_9600x2048
// NVVM-SAME:  nvvm.minctasm = 2 : i32

!e = !qc.weight<4x2048, #qc.float<f32>, packed<32>>
!w = !qc.weight<9600x2048, #qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>, packed<32>>
!g = !qc.weight<32x9600, #qc.e8p<scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 262144>]
qc.weight @w : !w = [#qc.external<"b", 262144, 4974144>]
qc.weight @g : !g = [#qc.external<"b", 5236480, 79488>]
qc.weight @u : !g = [#qc.external<"b", 5316096, 79488>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x32xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %g = qc.get_weight @g : !g
  %u = qc.get_weight @u : !g
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x2048xf32>
  %h = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<1x2048xf32>, !w) -> tensor<1x9600xf32>
  %y = qc.matmul %h, [%g, %u] gate(<silu>) arithmetic(<int8>) : (tensor<1x9600xf32>, !g, !g) -> tensor<1x32xf32>
  return %y : tensor<1x32xf32>
}
