// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=spirv" | FileCheck %s --check-prefix=WORDS

// A table of 16 bytes is in four registers, loaded before the loop. The codes
// of a packed word are the nibbles of selectors: two lookups and a choice for
// four codes, and two to put eight in order.

// CHECK-LABEL: gpu.func @matmul_32x512_lut_nf4_group_64_scale_f32_double_quant_256_int8
// CHECK-COUNT-5: memref.load %arg0
// CHECK:         scf.for
// CHECK:         arith.andi %{{.*}}, %cst{{.*}} : vector<1xi32>
// CHECK-COUNT-8: llvm.call_intrinsic "llvm.nvvm.prmt"
// CHECK-NOT:     llvm.nvvm.prmt
// CHECK-COUNT-2: nvvm.dot.accumulate.4way
// CHECK:         gpu.return

// WORDS-LABEL: gpu.func @matmul_32x512_lut_nf4
// WORDS-NOT:   llvm.nvvm.prmt

!e = !qc.weight<4x512, #qc.float<f32>, packed<32>>
!w = !qc.weight<32x512, #qc.lut<nf4, group = 64, scale = f32, double_quant = 256>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 65536>]
qc.weight @w : !w = [#qc.external<"b", 65536, 9408>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x32xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x512xf32>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<1x512xf32>, !w) -> tensor<1x32xf32>
  return %y : tensor<1x32xf32>
}
