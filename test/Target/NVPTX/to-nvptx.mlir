// RUN: qc-opt %s --qc-to-nvptx=max-tokens=8 | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 integer-dot=nvvm" --qc-gpu-kernels-to-nvvm | FileCheck %s

// Parameters are the buffers' addresses alone; bytes are multiplied by dp4a; no
// function of libdevice is called, no i64 computes an index.

// CHECK-LABEL: gpu.module @kernels
// CHECK-NOT:   __nv_
// CHECK:       llvm.func @matmul_8x64_grouped_bits_4_group_64_scale_f16_int8{{(_quantizing)?}}_m1(
// CHECK-SAME:    !llvm.ptr {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}
// CHECK-SAME:    gpu.kernel
// CHECK-SAME:    nvvm.kernel
// CHECK-NOT:     llvm.mul {{.*}} : i64
// CHECK:         nvvm.dot.accumulate.4way %{{.*}} <unsigned>, %{{.*}} <signed>, %{{.*}} : vector<4xi8>, vector<4xi8>
// CHECK:         nvvm.barrier
// CHECK-NOT:   unrealized_conversion_cast

!e = !qc.weight<4x64, #qc.float<f32>, packed<32>>
!w = !qc.weight<8x64, #qc.grouped<bits = 4, group = 64, scale = f16>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 8192>]
qc.weight @w : !w = [#qc.external<"b", 8192, 1088>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x8xf32> {
  %e = qc.get_weight @e : !e
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x64xf32>
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<1x64xf32>, !w) -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}
