// RUN: qc-opt %s --qc-gpu-kernels-to-spirv | FileCheck %s

// A cast of a buffer and an index to a pointer is the address of the element.
// Subgroups reduce, and products of bytes need what Vulkan 1.3 and
// VK_KHR_cooperative_matrix have.

// CHECK:      spirv.module @kernels Logical GLSL450 requires #spirv.vce<v1.6, [
// CHECK-SAME:   CooperativeMatrixKHR
// CHECK-SAME:   SPV_KHR_cooperative_matrix
// CHECK:        spirv.func @products()
// CHECK:          %[[SUM:.*]] = spirv.GroupNonUniformFAdd <Subgroup> <Reduce> %{{.*}} : f32
// CHECK:          %[[P:.*]] = spirv.AccessChain %{{.*}} : !spirv.ptr<!spirv.struct<(!spirv.array<256 x i32>)>, Workgroup>, i32, i32 -> !spirv.ptr<i32, Workgroup>
// CHECK:          spirv.KHR.CooperativeMatrixLoad %[[P]], %{{.*}}, <RowMajor>
// CHECK:          spirv.KHR.CooperativeMatrixMulAdd
gpu.module @kernels {
  gpu.func @products(%x: memref<?xf32>) kernel attributes {known_block_size = array<i32: 128, 1, 1>} {
    %codes = memref.alloc() : memref<256xi32, #gpu.address_space<workgroup>>
    %i = gpu.thread_id x
    %v = memref.load %x[%i] : memref<?xf32>
    %sum = gpu.subgroup_reduce add %v : (f32) -> f32
    memref.store %sum, %x[%i] : memref<?xf32>
    %p = builtin.unrealized_conversion_cast %codes, %i : memref<256xi32, #gpu.address_space<workgroup>>, index to !spirv.ptr<i32, Workgroup>
    %stride = spirv.Constant 8 : i32
    %a = spirv.KHR.CooperativeMatrixLoad %p, %stride, <RowMajor> : !spirv.ptr<i32, Workgroup>, i32 -> !spirv.coopmatrix<16x32xsi8, Subgroup, MatrixA>
    %b = spirv.KHR.CooperativeMatrixLoad %p, %stride, <ColumnMajor> : !spirv.ptr<i32, Workgroup>, i32 -> !spirv.coopmatrix<32x16xsi8, Subgroup, MatrixB>
    %c = spirv.KHR.CooperativeMatrixLoad %p, %stride, <RowMajor> : !spirv.ptr<i32, Workgroup>, i32 -> !spirv.coopmatrix<16x16xsi32, Subgroup, MatrixAcc>
    %r = spirv.KHR.CooperativeMatrixMulAdd %a, %b, %c, <ASigned|BSigned|CSigned|ResultSigned> : !spirv.coopmatrix<16x32xsi8, Subgroup, MatrixA>, !spirv.coopmatrix<32x16xsi8, Subgroup, MatrixB> -> !spirv.coopmatrix<16x16xsi32, Subgroup, MatrixAcc>
    spirv.KHR.CooperativeMatrixStore %p, %r, %stride, <RowMajor> : !spirv.ptr<i32, Workgroup>, !spirv.coopmatrix<16x16xsi32, Subgroup, MatrixAcc>, i32
    gpu.return
  }
}
