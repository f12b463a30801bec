// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=sapphirerapids | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=x86-64-v4-vbmi | FileCheck %s --check-prefix=NONE
// NONE-NOT: amx

// Tiles of 16 tokens go to a kernel of their own; the rest, and single tokens,
// to integer dot products.

// CHECK-LABEL: func.func private @matmul_40x1088_grouped_bits_4_group_64_scale_f16_int8(
// CHECK:         %[[TILES:.*]] = arith.divui %{{.*}}, %c16
// CHECK:         %[[FULL:.*]] = arith.muli %[[TILES]], %c16
// CHECK:         scf.if
// CHECK-NEXT:      func.call @matmul_40x1088_grouped_bits_4_group_64_scale_f16_int8_amx
// CHECK:         scf.for %{{.*}} = %[[FULL]] to
// CHECK:           vpdpbusd

// A K block of 64 inputs is one A tile and a B tile of 16 rows of registers. The
// zero point 8 is subtracted from the codes. Behind each product some sums of
// the tiles before are scaled.
// CHECK-LABEL: func.func private @matmul_40x1088_grouped_bits_4_group_64_scale_f16_int8_amx(
// CHECK-SAME:    attributes {passthrough = ["noinline"]}
// CHECK:         %[[EIGHT:.*]] = arith.constant dense<8> : vector<64xi8>
// CHECK:         arith.subi %{{.*}}, %[[EIGHT]] : vector<64xi8>
// CHECK:         vector.store %{{.*}} : memref<2048xi8>, vector<64xi8>
// CHECK:         amx.tile_zero : !amx.tile<16x16xi32>
// CHECK:         amx.tile_load %{{.*}} : memref<?xi8> into !amx.tile<16x64xi8>
// CHECK:         amx.tile_load %{{.*}} : memref<2048xi8> into !amx.tile<16x64xi8>
// CHECK:         amx.tile_muli %{{.*}}, %{{.*}}, %{{.*}} : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
// CHECK-NOT:     amx
// CHECK:         arith.sitofp
// CHECK-NOT:     amx
// CHECK:         math.fma
// CHECK:         amx.tile_muli
// CHECK:         math.fma
// CHECK:         amx.tile_muli
// CHECK:         math.fma
// CHECK:         amx.tile_muli
// CHECK:         math.fma
// CHECK-COUNT-4: amx.tile_store

qc.weight @w : !qc.weight<40x1088, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>> = [#qc.external<"b", 0, 27840>]

func.func @f(%x: tensor<?x1088xf32>) -> tensor<?x40xf32> {
  %w = qc.get_weight @w : !qc.weight<40x1088, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x1088xf32>, !qc.weight<40x1088, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
