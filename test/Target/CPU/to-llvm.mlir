// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{mcpu=x86-64-v3},qc-plan-memory,qc-cpu-kernels-to-llvm)' | FileCheck %s

// Nothing but the LLVM dialect and the declarations of weights remains.
// CHECK: qc.weight @w
// CHECK-NOT: {{(func|arith|memref|vector|scf|math)\.}}
// CHECK: llvm.func @qc_kernel_0_matmul
qc.weight @w : !qc.weight<8x16, #qc.grouped<bits = 8, group = 16, scale = f32>, packed<8>> = [#qc.external<"b", 0, 192>]
func.func @f(%x: tensor<?x16xf32>) -> tensor<?x8xf32> {
  %w = qc.get_weight @w : !qc.weight<8x16, #qc.grouped<bits = 8, group = 16, scale = f32>, packed<8>>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x16xf32>, !qc.weight<8x16, #qc.grouped<bits = 8, group = 16, scale = f32>, packed<8>>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
