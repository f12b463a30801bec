// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni})' | FileCheck %s

// Activations of long rows have one scale for each K block of the weight; the
// tokens of a tile of eight follow each other, four inputs each.

// CHECK-LABEL: func.func private @matmul_16x1024_grouped_bits_4_group_64_scale_f16_int8(
// CHECK:         memref.collapse_shape {{.*}} : memref<?x1024xi8> into memref<?xi8>
// CHECK:         memref.prefetch {{.*}}, read, locality<2>, data : memref<?xi8>
// CHECK-LABEL: func.func private @prepare_int8_1024_64_64_16(

qc.weight @w : !qc.weight<16x1024, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>> = [#qc.external<"b", 0, 8704>]

func.func @f(%x: tensor<?x1024xf32>) -> tensor<?x16xf32> {
  %w = qc.get_weight @w : !qc.weight<16x1024, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x1024xf32>, !qc.weight<16x1024, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
