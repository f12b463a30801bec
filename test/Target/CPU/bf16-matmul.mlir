// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=cooperlake | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=sapphirerapids | FileCheck %s --check-prefix=AMX
// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=icelake-server | FileCheck %s --check-prefix=NONE

// Activations are rounded to bf16, K is padded to whole tiles of 32; pairs of
// inputs are multiplied.

// CHECK-LABEL: func.func private @matmul_40x70_float_bf16_bf16(
// CHECK-SAME:    memref<?x96xbf16>
// CHECK:         vector.shuffle {{.*}} [0, 16, 1, 17
// CHECK:         llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK-LABEL: func.func private @prepare_bf16_70_70_96_1(
// CHECK-SAME:    memref<?x70xf32>, %{{.*}}: memref<?x96xbf16>
// CHECK:         arith.truncf %{{.*}} : vector<16xf32> to vector<16xbf16>
// CHECK-NOT:   amx

// 16 tokens at a time in tile registers; three tiles of inputs, 4 products each,
// with sums of two tiles of tokens by two of rows.
// AMX-LABEL: func.func private @matmul_40x70_float_bf16_bf16(
// AMX:         scf.if
// AMX-NEXT:      func.call @matmul_40x70_float_bf16_bf16_amx
// AMX:         dpbf16ps
// AMX-LABEL: func.func private @matmul_40x70_float_bf16_bf16_amx(
// AMX-SAME:    attributes {passthrough = ["noinline"]}
// AMX:         amx.tile_load %{{.*}} : memref<{{.*}}xf32> into !amx.tile<16x16xf32>
// AMX:         amx.tile_load %{{.*}} : memref<?xbf16> into !amx.tile<16x32xbf16>
// AMX-COUNT-12: amx.tile_mulf %{{.*}} : !amx.tile<16x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<16x16xf32>
// AMX-COUNT-4: amx.tile_store

// CPUs without these instructions compute in f32, which is more exact.
// NONE-LABEL: func.func private @matmul_40x70_float_bf16_f32(
// NONE-NOT:   dpbf16ps

qc.weight @w : !qc.weight<40x70, #qc.float<bf16>, packed<16>> = [#qc.external<"b", 0, 6720>]

func.func @f(%x: tensor<?x70xf32>) -> tensor<?x40xf32> {
  %w = qc.get_weight @w : !qc.weight<40x70, #qc.float<bf16>, packed<16>>
  %y = qc.matmul %x, [%w] arithmetic(<bf16>) : (tensor<?x70xf32>, !qc.weight<40x70, #qc.float<bf16>, packed<16>>) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
