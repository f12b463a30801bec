// RUN: qc-opt %s --qc-to-spirv=max-tokens=8 | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=8 wide-loads=true" --qc-gpu-kernels-to-spirv | FileCheck %s

// Every value is an i32, f32 or bool; buffers are arrays of 32-bit words, so
// nothing beyond Vulkan 1.1 is needed.

// CHECK-LABEL: spirv.module @kernels Logical GLSL450 requires #spirv.vce<v1.0, [Shader, Matrix], [SPV_KHR_storage_buffer_storage_class]>
// CHECK-NOT:   {{i8|f16|i64|i16}}
// CHECK-DAG:   spirv.GlobalVariable @matmul_8x16_lut_nf4_group_16_scale_f16_m1_arg_0 bind(0, 0) : !spirv.ptr<!spirv.struct<(!spirv.rtarray<i32, stride=4> [0])>, StorageBuffer>
// CHECK-DAG:   spirv.GlobalVariable @{{.*}} : !spirv.ptr<!spirv.struct<(!spirv.array<512 x f32>)>, Workgroup>
// CHECK:       spirv.func @matmul_8x16_lut_nf4_group_16_scale_f16_m1()
// CHECK:         spirv.GL.Fma
// CHECK:         spirv.ControlBarrier <Workgroup>
// CHECK:       spirv.ExecutionMode @matmul_8x16_lut_nf4_group_16_scale_f16_m1 "LocalSize", 128, 1, 1
// CHECK-NOT:   gpu.module

!w = !qc.weight<8x16, #qc.lut<nf4, group = 16, scale = f16>, packed<32>>
qc.weight @w : !w = [#qc.external<"b", 0, 512>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x8xf32> {
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %w : (tensor<1xi32>, !w) -> tensor<1x16xf32>
  %y = qc.matmul %x, [%w] : (tensor<1x16xf32>, !w) -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}
