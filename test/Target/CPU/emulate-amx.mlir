// RUN: qc-opt %s --pass-pipeline='builtin.module(func.func(qc-emulate-amx),canonicalize,cse)' | FileCheck %s

// A is read as signed, B as unsigned bytes: element [k][4 n + j] of B meets
// element [m][4 k + j] of A.

// CHECK-LABEL: func.func @product
// CHECK-NOT:     amx.
// CHECK-DAG:     memref.alloca() {alignment = 64 : i64} : memref<16x8xi8>
// CHECK-DAG:     memref.alloca() {alignment = 64 : i64} : memref<2x64xi8>
// CHECK-DAG:     memref.alloca() {alignment = 64 : i64} : memref<16x16xi32>
// CHECK:         scf.for
// CHECK:           %[[OFFSET:.*]] = arith.muli %{{.*}}, %arg3 : index
// CHECK:           vector.load %arg0[%[[OFFSET]]] : memref<?xi8>, vector<8xi8>
// CHECK:         scf.for
// CHECK:           scf.for {{.*}} iter_args({{.*}}) -> (vector<16xi32>)
// CHECK:             %[[WORDS:.*]] = vector.bitcast %{{.*}} : vector<64xi8> to vector<16xi32>
// CHECK:             arith.extsi %{{.*}} : i8 to i32
// CHECK:             %[[TOP:.*]] = arith.shli %[[WORDS]]
// CHECK:             arith.shrui %[[TOP]]
// CHECK:         vector.store %{{.*}}, %arg2[%{{.*}}, %{{.*}}] : memref<16x16xi32>, vector<16xi32>
func.func @product(%a: memref<?xi8>, %b: memref<2x64xi8>, %c: memref<16x16xi32>, %stride: index) {
  %i0 = arith.constant 0 : index
  %zero = amx.tile_zero : !amx.tile<16x16xi32>
  %ta = amx.tile_load %a[%i0], %stride : memref<?xi8> into !amx.tile<16x8xi8>
  %tb = amx.tile_load %b[%i0, %i0] : memref<2x64xi8> into !amx.tile<2x64xi8>
  %tc = amx.tile_muli %ta, %tb zext, %zero : !amx.tile<16x8xi8>, !amx.tile<2x64xi8>, !amx.tile<16x16xi32>
  amx.tile_store %c[%i0, %i0], %tc : memref<16x16xi32>, !amx.tile<16x16xi32>
  return
}

// CHECK-LABEL: func.func @signs
// CHECK:         arith.extui %{{.*}} : i8 to i32
// CHECK:         arith.shrsi
// CHECK-NOT:     arith.shrui
func.func @signs(%a: memref<1x4xi8>, %b: memref<1x64xi8>, %c: memref<1x16xi32>) {
  %i0 = arith.constant 0 : index
  %zero = amx.tile_zero : !amx.tile<1x16xi32>
  %ta = amx.tile_load %a[%i0, %i0] : memref<1x4xi8> into !amx.tile<1x4xi8>
  %tb = amx.tile_load %b[%i0, %i0] : memref<1x64xi8> into !amx.tile<1x64xi8>
  %tc = amx.tile_muli %ta zext, %tb, %zero : !amx.tile<1x4xi8>, !amx.tile<1x64xi8>, !amx.tile<1x16xi32>
  amx.tile_store %c[%i0, %i0], %tc : memref<1x16xi32>, !amx.tile<1x16xi32>
  return
}

// Pairs of bf16, whose upper halves of words they are; even and odd products
// are summed apart.
// CHECK-LABEL: func.func @bf16
// CHECK-NOT:     amx.
// CHECK:         scf.for {{.*}} iter_args({{.*}}) -> (vector<16xf32>, vector<16xf32>)
// CHECK:           %[[EVEN:.*]] = arith.shli %{{.*}} : vector<16xi32>
// CHECK:           %[[X:.*]] = vector.bitcast %[[EVEN]] : vector<16xi32> to vector<16xf32>
// CHECK:           arith.mulf %{{.*}}, %[[X]] : vector<16xf32>
// CHECK:           arith.addf
// CHECK:           arith.andi %{{.*}} : vector<16xi32>
// CHECK:           arith.mulf
// CHECK:           arith.addf
// CHECK:         arith.addf
// CHECK:         arith.addf
// CHECK:         vector.store %{{.*}} : memref<16x16xf32>, vector<16xf32>
func.func @bf16(%a: memref<16x32xbf16>, %b: memref<16x32xbf16>, %c: memref<16x16xf32>) {
  %i0 = arith.constant 0 : index
  %zero = amx.tile_zero : !amx.tile<16x16xf32>
  %ta = amx.tile_load %a[%i0, %i0] : memref<16x32xbf16> into !amx.tile<16x32xbf16>
  %tb = amx.tile_load %b[%i0, %i0] : memref<16x32xbf16> into !amx.tile<16x32xbf16>
  %tc = amx.tile_mulf %ta, %tb, %zero : !amx.tile<16x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<16x16xf32>
  amx.tile_store %c[%i0, %i0], %tc : memref<16x16xf32>, !amx.tile<16x16xf32>
  return
}
