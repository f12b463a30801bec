// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=spirv cooperative-matrix=16,16,32,32" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=15 cooperative-matrix=16,16,32,32" | FileCheck %s --check-prefix=FEW
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=100 cooperative-matrix=16,16,32,32 reproducible=true" | FileCheck %s --check-prefix=FEW
// RUN: not qc-opt %s --qc-lower-to-gpu-kernels=cooperative-matrix=16,16,24,32 2>&1 | FileCheck %s --check-prefix=SHAPE
// RUN: not qc-opt %s --qc-lower-to-gpu-kernels=cooperative-matrix=16,16,32 2>&1 | FileCheck %s --check-prefix=SHAPE
// SHAPE: error: cooperative-matrix must be M,N,K and the size of a subgroup that tile 32 rows, 32 tokens and 64 inputs evenly

// Row blocks of 32, 64 tokens at a time; of the two weights of a gate 32.
// CHECK-LABEL: module
// CHECK-SAME:  {buffers = 7 : i64, name = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_residual_m64_coop", subgroup = 32 : i64, threads = 128 : i64}
// CHECK-SAME:  grid = array<i32: 5, 0, 1, 32, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_160x512_grouped_bits_4_group_64_scale_f16_silu_m32_coop"}
// CHECK-SAME:  grid = array<i32: 5, 0, 1, 64, 1, 0>, kernel = "matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_residual_m64_coop"}

// Four subgroups have two matrices of 16 x 16 each: eight, for 32 rows and 64
// tokens. A block of 32 activations is a stage, one product of each matrix.
// CHECK-LABEL: gpu.func @matmul_160x512_grouped_bits_4_group_64_scale_f16_int8_residual_m64_coop(
// CHECK-SAME:    qc.subgroup_size = 32 : i64
// CHECK:         memref.alloc() : memref<2048xi32, #gpu.address_space<workgroup>>
// CHECK:         scf.for {{.*}} -> (!spirv.coopmatrix<16x16xf32, Subgroup, MatrixAcc>, !spirv.coopmatrix<16x16xf32, Subgroup, MatrixAcc>) {
// CHECK:           gpu.barrier
// CHECK:           arith.xori
// CHECK:           gpu.barrier
// CHECK-COUNT-2:   spirv.KHR.CooperativeMatrixMulAdd %{{.*}}, %{{.*}}, %{{.*}}, <ASigned|BSigned|CSigned|ResultSigned> : !spirv.coopmatrix<16x32xsi8, Subgroup, MatrixA>, !spirv.coopmatrix<32x16xsi8, Subgroup, MatrixB> -> !spirv.coopmatrix<16x16xsi32, Subgroup, MatrixAcc>
// CHECK-NOT:       spirv.KHR.CooperativeMatrixMulAdd
// CHECK:           spirv.ConvertSToF
// CHECK:           scf.yield
// CHECK-COUNT-2: spirv.KHR.CooperativeMatrixStore

// FEW-NOT: coop
!e = !qc.weight<4x512, #qc.float<f32>, packed<32>>
!w = !qc.weight<160x512, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 65536>]
qc.weight @w : !w = [#qc.external<"b", 65536, 43520>]
func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<?x160xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<?xi32>, !e) -> tensor<?x512xf32>
  %g = qc.matmul %x, [%w, %w] gate(<silu>) arithmetic(<int8>) : (tensor<?x512xf32>, !w, !w) -> tensor<?x160xf32>
  %y = qc.matmul %x, [%w] residual(%g) arithmetic(<int8>) : (tensor<?x512xf32>, !w, tensor<?x160xf32>) -> tensor<?x160xf32>
  return %y : tensor<?x160xf32>
}
