// RUN: qc-opt %s --qc-lower-to-gpu-kernels=reproducible | FileCheck %s
// RUN: qc-opt %s --qc-to-spirv=reproducible | FileCheck %s --check-prefix=SPIRV
// RUN: qc-opt %s --qc-to-nvptx=reproducible | FileCheck %s --check-prefix=NVVM
// RUN: qc-opt %s --qc-lower-to-cpu-kernels="mcpu=x86-64-v4 reproducible" --qc-plan-memory | FileCheck %s --check-prefix=CPU
// RUN: qc-opt %s --qc-lower-to-gpu-kernels | FileCheck %s --check-prefix=DEFAULT

// Additions, products and integer operations alone: what devices agree on.

// DEFAULT:     math.fma
// DEFAULT:     arith.divf

// CHECK-LABEL: gpu.module @kernels
// CHECK-NOT:   {{math.fma|math.exp|math.sqrt|arith.divf|fastmath}}
// CHECK:       arith.mulf
// CHECK-NOT:   {{math.fma|math.exp|math.sqrt|arith.divf|fastmath}}

// SPIRV-LABEL: spirv.module
// SPIRV-NOT:   {{spirv.GL.Fma|spirv.FDiv|spirv.GL.Exp|spirv.GL.Sqrt}}
// SPIRV:       spirv.FMul {{.*}} {no_contraction} : f32
// SPIRV:       spirv.FAdd {{.*}} {no_contraction} : f32
// SPIRV-NOT:   {{spirv.GL.Fma|spirv.FDiv|spirv.GL.Exp|spirv.GL.Sqrt}}
// SPIRV-NOT:   spirv.F{{Add|Mul|Sub}} %{{[0-9a-z_]+}}, %{{[0-9a-z_]+}} : f32

// NVVM-LABEL:  gpu.module @kernels
// NVVM-NOT:    {{llvm.intr.fma|llvm.fdiv|sqrt|fastmath}}
// NVVM:        llvm.fmul
// NVVM-NOT:    {{llvm.intr.fma|llvm.fdiv|sqrt|fastmath}}

// CPU-NOT:     {{math.fma|math.exp|math.sqrt|arith.divf|fastmath|vector.reduction <add>, .* : vector<[0-9]+xf32>}}
// CPU:         func.func private @rms_norm_32_32
// CPU:         vector<128xf32>
// CPU-NOT:     {{math.fma|math.exp|math.sqrt|arith.divf|fastmath|vector.reduction <add>, .* : vector<[0-9]+xf32>}}

!e = !qc.weight<32x32, #qc.float<f32>, packed<32>>
!g = !qc.weight<32, #qc.float<f32>>
qc.weight @e : !e = [#qc.external<"b", 0, 4096>]
qc.weight @g : !g = [#qc.external<"b", 4096, 128>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x32xf16>) -> tensor<1x32xf32> {
  %i = arith.constant 0 : index
  %e = qc.get_weight @e : !e
  %gamma = qc.get_weight @g : !g
  %v = qc.dequantize %gamma : !g -> tensor<32xf32>
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x32xf32>
  %n = lm.rms_norm %x, %v eps 1.0e-5 : tensor<1x32xf32>, tensor<32xf32>
  %y = qc.matmul %n, [%e, %e] gate(<silu>) : (tensor<1x32xf32>, !e, !e) -> tensor<1x32xf32>
  %o = qc.matmul %y, [%e] : (tensor<1x32xf32>, !e) -> tensor<1x32xf32>
  return %o : tensor<1x32xf32>
}
