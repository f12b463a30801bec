// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads fuse-steps shared-bytes=98304" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads fuse-steps" | FileCheck %s --check-prefix=GLOBAL
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm max-threads=512 wide-loads fuse-steps shared-bytes=98304" --qc-gpu-kernels-to-nvvm | FileCheck %s --check-prefix=NVVM

// Two codebooks of 256 entries of 8 bytes, 16 copies of each entry: 64 KB. Of
// 300 row blocks, 264 workgroups have one or two.

// CHECK:       module attributes {{.*}}qc.device = {{.*}}name = "matmul_9600x512_codebook_books_2_bits_8_vector_8_scale_f16_entry_f16_int8_quantizing_tables_m1", shared = 65536 : i64, threads = 128
// CHECK-SAME:  decode = [{{.*}}grid = array<i32: 264, 0, 1, 0, 1, 0>, kernel = "matmul_9600x512

// CHECK-LABEL: gpu.func @matmul_9600x512_codebook_books_2
// CHECK-SAME:  qc.shared = 65536 : i64
// CHECK:         gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
// A thread copies an entry sixteen times.
// CHECK:         scf.for
// CHECK:           vector.load %arg0{{.*}} {alignment = 8 : i64} : memref<?xi32>, vector<2xi32>
// CHECK-COUNT-16:  vector.store {{.*}} : memref<16384xi32, #gpu.address_space<workgroup>>, vector<2xi32>
// CHECK:         gpu.barrier
// CHECK:         scf.for %{{.*}} = %{{.*}} to %c300{{.*}} step %c264
// CHECK:           scf.for
// CHECK:             arith.ori
// CHECK:             vector.load {{.*}} {alignment = 8 : i64} : memref<16384xi32, #gpu.address_space<workgroup>>, vector<2xi32>
// CHECK-NOT:         vector.load %arg0{{.*}} vector<2xi32>
// CHECK:             nvvm.dot.accumulate.4way

// Tables of words have 32 copies. The products of a gate follow each other.
// CHECK-LABEL: gpu.func @matmul_32x9600_e8p
// CHECK-SAME:  qc.shared = 65536 : i64
// CHECK-COUNT-32: memref.store {{.*}} : memref<16384xi32, #gpu.address_space<workgroup>>
// CHECK:         nvvm.dot.accumulate.4way
// CHECK-COUNT-32: memref.store {{.*}} : memref<16384xi32, #gpu.address_space<workgroup>>
// CHECK:         nvvm.dot.accumulate.4way

// GLOBAL-NOT:   qc.shared
// GLOBAL-NOT:   dynamic_shared_memory

// NVVM:       llvm.mlir.global external @__dynamic_shmem__0() {addr_space = 3 : i32, alignment = 16 : i64{{.*}}} : !llvm.array<0 x i8>
// NVVM:       llvm.func @matmul_9600x512
// NVVM-SAME:  nvvm.minctasm = 2 : i32

!e = !qc.weight<4x512, #qc.float<f32>, packed<32>>
!w = !qc.weight<9600x512, #qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>, packed<32>>
!g = !qc.weight<32x9600, #qc.e8p<scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 65536>]
qc.weight @w : !w = [#qc.external<"b", 65536, 1287744>]
qc.weight @g : !g = [#qc.external<"b", 1353472, 79488>]
qc.weight @u : !g = [#qc.external<"b", 1433088, 79488>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x32xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %g = qc.get_weight @g : !g
  %u = qc.get_weight @u : !g
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x512xf32>
  %h = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<1x512xf32>, !w) -> tensor<1x9600xf32>
  %y = qc.matmul %h, [%g, %u] gate(<silu>) arithmetic(<int8>) : (tensor<1x9600xf32>, !g, !g) -> tensor<1x32xf32>
  return %y : tensor<1x32xf32>
}
