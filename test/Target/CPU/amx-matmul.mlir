// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=sapphirerapids | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=x86-64-v4-vbmi | FileCheck %s --check-prefix=NONE
// NONE-NOT: amx

// Five and more tokens go to a kernel of their own in tiles of 16; fewer to
// integer dot products.

// CHECK-LABEL: func.func private @matmul_40x1088_grouped_bits_4_group_64_scale_f16_int8(
// CHECK:         %[[TOKENS:.*]] = memref.dim
// CHECK:         %[[MANY:.*]] = arith.cmpi sgt, %[[TOKENS]], %c4
// CHECK:         scf.if %[[MANY]]
// CHECK-NEXT:      func.call @matmul_40x1088_grouped_bits_4_group_64_scale_f16_int8_amx
// CHECK-NEXT:    } else {
// CHECK:           vpdpbusd

// A K block of 64 inputs is one A tile and a B tile of 16 rows of registers. The
// zero point 8 is subtracted from the codes.
// CHECK-LABEL: func.func private @matmul_40x1088_grouped_bits_4_group_64_scale_f16_int8_amx(
// CHECK-SAME:    attributes {passthrough = ["noinline"]}

// A tile of rows that is left over has no pipeline.
// CHECK:         %[[EIGHT:.*]] = arith.constant dense<8> : vector<64xi8>
// CHECK-COUNT-9: amx.tile_muli

// One tile of tokens: behind each product a tile of the next block is decoded
// while its weights further ahead are fetched, and sums of the block before are
// scaled.
// CHECK:         arith.subi %{{.*}}, %[[EIGHT]] : vector<64xi8>
// CHECK:         vector.store %{{.*}} : memref<4096xi8>, vector<64xi8>
// CHECK-COUNT-2: amx.tile_zero
// CHECK:         amx.tile_load %{{.*}} : memref<?xi8> into !amx.tile<16x64xi8>
// CHECK:         amx.tile_load %{{.*}} : memref<4096xi8> into !amx.tile<16x64xi8>
// CHECK:         amx.tile_muli %{{.*}}, %{{.*}}, %{{.*}} : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
// CHECK-NOT:     amx
// CHECK:         arith.subi {{.*}} : vector<64xi8>
// CHECK-NEXT:    vector.store {{.*}} : memref<4096xi8>, vector<64xi8>
// CHECK-NOT:     amx
// CHECK:         memref.prefetch
// CHECK-NOT:     amx
// CHECK:         math.fma
// CHECK:         amx.tile_muli {{.*}}
// CHECK-NOT:     amx
// CHECK:         vector.store {{.*}} : memref<4096xi8>, vector<64xi8>
// CHECK:         math.fma
// CHECK-COUNT-2: amx.tile_store

// Two or three, by 2x2 tiles of sums.
// CHECK-COUNT-4: amx.tile_zero
// CHECK:         amx.tile_muli {{.*}}
// CHECK-NOT:     amx
// CHECK:         vector.store {{.*}} : memref<4096xi8>, vector<64xi8>
// CHECK:         math.fma
// CHECK-COUNT-3: amx.tile_muli
// CHECK:         math.fma
// CHECK-COUNT-4: amx.tile_store

// More: a block is decoded before its products.
// CHECK:         vector.store {{.*}} : memref<4096xi8>, vector<64xi8>
// CHECK-COUNT-4: amx.tile_zero
// CHECK:         amx.tile_muli {{.*}}
// CHECK-NOT:     vector.store {{.*}} : memref<4096xi8>
// CHECK:         math.fma
// CHECK:         amx.tile_muli {{.*}}
// CHECK:         math.fma
// CHECK-COUNT-4: amx.tile_store

qc.weight @w : !qc.weight<40x1088, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>> = [#qc.external<"b", 0, 27840>]

func.func @f(%x: tensor<?x1088xf32>) -> tensor<?x40xf32> {
  %w = qc.get_weight @w : !qc.weight<40x1088, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x1088xf32>, !qc.weight<40x1088, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
