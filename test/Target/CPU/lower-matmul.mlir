// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni})' | FileCheck %s
// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4})' | FileCheck %s --check-prefix=V4

// A 4-bit product with int8 activations: quantize the activations once, then
// integer dot products of 16 rows; the residual is added by the thread that
// computed the rows.

// CHECK-LABEL: func.func private @fused_64x172_grouped_bits_4_group_64_scale_f16_int8_residual(
// One token: parts of the rows as threads claim them.
// CHECK:         %[[FEW:.*]] = arith.cmpi slt, %{{.*}}, %c16
// CHECK:         %[[LEAST:.*]] = arith.select %[[FEW]], %c1{{.*}}, %c4
// CHECK:         scf.while
// CHECK:           call @qc_claim(%{{.*}}) : (!llvm.ptr, i64, i64, i64, i64) -> i64
// CHECK:           scf.condition
// CHECK:         call @matmul_64x172_grouped_bits_4_group_64_scale_f16_int8
// CHECK:         arith.addf

// CHECK-LABEL: func.func private @matmul_64x172_grouped_bits_4_group_64_scale_f16_int8(
// CHECK:         vector.load {{.*}} : memref<?xi8>, vector<64xi8>
// CHECK:         llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"
// V4-LABEL:    func.func private @matmul_64x172_grouped_bits_4_group_64_scale_f16_int8(
// V4-NOT:        vpdpbusd
// V4:            llvm.call_intrinsic "llvm.x86.avx512.pmaddubs.w.512"

// Short rows in blocks of 32, six of them for the weight's three K blocks.
// CHECK-LABEL: func.func private @prepare_int8_172_32_32_6(
// CHECK:         math.roundeven

qc.weight @w : !qc.weight<64x172, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>> = [#qc.external<"b", 0, 6656>]

// CHECK-LABEL: func.func private @f(
// CHECK-SAME:    memref<?x172xf32>
// CHECK:         memref.alloc(%{{.*}}) : memref<?x192xi8>
// CHECK:         call @prepare_int8_172_32_32_6
// CHECK-NEXT:    call @qc_barrier
// CHECK-NEXT:    call @fused_64x172
// CHECK-NEXT:    call @qc_barrier
// CHECK-NEXT:    return
func.func @f(%x: tensor<?x172xf32>, %r: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = qc.get_weight @w : !qc.weight<64x172, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>
  %y = qc.matmul %x, [%w] residual(%r) arithmetic(<int8>) : (tensor<?x172xf32>, !qc.weight<64x172, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// The test entry points of the kernel.
// CHECK: func.func @qc_kernel_0_matmul(%{{.*}}: !llvm.ptr
// CHECK: func.func @qc_kernel_0_decode(
// CHECK: func.func @qc_format_0_decode(
