// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v3})' | FileCheck %s

// Every format decodes through the same generator.

// CHECK-LABEL: func.func private @matmul_8x16_codebook_books_2_bits_8_vector_8_scale_f16_entry_f16_f32(
// CHECK-COUNT-16: vector.gather
// CHECK-LABEL: func.func private @matmul_8x64_lut_nf4_group_64_scale_f32_f32(
// CHECK:         llvm.call_intrinsic "llvm.x86.avx2.permps"
// CHECK:         llvm.call_intrinsic "llvm.x86.avx2.permps"
// CHECK:         arith.select
// CHECK-LABEL: func.func private @matmul_8x32_grouped_bits_3_group_32_scale_f16_zero_int_f32(
// CHECK:         arith.shrui
// CHECK:         arith.ori
// CHECK-LABEL: func.func private @matmul_8x16_float_bf16_f32(
// CHECK:         arith.shli
// CHECK:         math.fma

qc.weight @a : !qc.weight<8x16, #qc.float<bf16>, packed<8>> = [#qc.external<"b", 0, 256>]
qc.weight @b : !qc.weight<8x32, #qc.grouped<bits = 3, group = 32, scale = f16, zero = int>, packed<8>> = [#qc.external<"b", 256, 128>]
qc.weight @c : !qc.weight<8x64, #qc.lut<nf4, group = 64, scale = f32>, packed<8>> = [#qc.external<"b", 512, 512>]
qc.weight @d : !qc.weight<8x16, #qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>, packed<8>> = [#qc.external<"b", 1024, 20608>]

func.func @fa(%x: tensor<?x16xf32>) -> tensor<?x8xf32> {
  %w = qc.get_weight @a : !qc.weight<8x16, #qc.float<bf16>, packed<8>>
  %y = qc.matmul %x, [%w] : (tensor<?x16xf32>, !qc.weight<8x16, #qc.float<bf16>, packed<8>>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
func.func @fb(%x: tensor<?x32xf32>) -> tensor<?x8xf32> {
  %w = qc.get_weight @b : !qc.weight<8x32, #qc.grouped<bits = 3, group = 32, scale = f16, zero = int>, packed<8>>
  %y = qc.matmul %x, [%w] : (tensor<?x32xf32>, !qc.weight<8x32, #qc.grouped<bits = 3, group = 32, scale = f16, zero = int>, packed<8>>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
func.func @fc(%x: tensor<?x64xf32>) -> tensor<?x8xf32> {
  %w = qc.get_weight @c : !qc.weight<8x64, #qc.lut<nf4, group = 64, scale = f32>, packed<8>>
  %y = qc.matmul %x, [%w] : (tensor<?x64xf32>, !qc.weight<8x64, #qc.lut<nf4, group = 64, scale = f32>, packed<8>>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
func.func @fd(%x: tensor<?x16xf32>) -> tensor<?x8xf32> {
  %w = qc.get_weight @d : !qc.weight<8x16, #qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>, packed<8>>
  %y = qc.matmul %x, [%w] : (tensor<?x16xf32>, !qc.weight<8x16, #qc.codebook<books = 2, bits = 8, vector = 8, scale = f16, entry = f16>, packed<8>>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
