// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni tuning="token-tile=4,prefetch=0,decode-prefetch=0,sums=2"})' | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni tuning={sums=2; grouped<bits = 4, group = 64, scale = f16>/int8: token-tile=4,prefetch=0,decode-prefetch=0}})' | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni tuning={grouped<bits = 8, group = 64, scale = f16>/int8: token-tile=4}})' | FileCheck %s --check-prefixes=OTHER,ALL
// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni tuning={token-tile=8,strip=256,prefetch=8,sums=4,score-registers=16}})' | FileCheck %s --check-prefixes=OTHER,ALL
// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni tuning={strip=1}})' | FileCheck %s --check-prefix=STRIP
// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v4-vnni tuning={prefetch=0}})' | FileCheck %s --check-prefix=DECODE
// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=znver4 tuning={prefetch=0}})' | FileCheck %s --check-prefix=AMD

// A tile of four tokens: four inputs of each are 16 codes; nothing is fetched
// ahead.

// ALL-LABEL:   func.func private @matmul_16x1024_grouped_bits_4_group_64_scale_f16_int8
// CHECK-SAME:    _token_tile_4_prefetch_0_decode_prefetch_0_sums_2(
// CHECK-NOT:     memref.prefetch
// OTHER-SAME:    (
// OTHER:         memref.prefetch

// CHECK:       func.func private @prepare_int8_1024_64_64_16_tile4(
// OTHER:       func.func private @prepare_int8_1024_64_64_16(

// Eight rows of 1024 codes are more than a strip of 1 KiB: one tile at a time.
// STRIP-LABEL: func.func private @matmul_16x1024_grouped_bits_4_group_64_scale_f16_int8_strip_1(
// STRIP:         %[[TILE:.*]] = arith.constant 8 : index
// STRIP:         scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{c8.*}} {

// For one token the weights 8 KiB ahead, but not on AMD's CPUs.
// DECODE-LABEL: func.func private @matmul_16x1024_grouped_bits_4_group_64_scale_f16_int8_prefetch_0(
// DECODE:         arith.constant 8192 : index
// DECODE:         memref.prefetch {{.*}}, read, locality<2>, data : memref<?xi8>
// AMD-LABEL:    func.func private @matmul_16x1024_grouped_bits_4_group_64_scale_f16_int8_prefetch_0(
// AMD-NOT:        memref.prefetch

qc.weight @w : !qc.weight<16x1024, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>> = [#qc.external<"b", 0, 8704>]

func.func @f(%x: tensor<?x1024xf32>) -> tensor<?x16xf32> {
  %w = qc.get_weight @w : !qc.weight<16x1024, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x1024xf32>, !qc.weight<16x1024, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<16>>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
