// RUN: qc-opt %s --qc-prepare-nvvm -split-input-file -verify-diagnostics | FileCheck %s

// Buffers get a static shape and say that they do not overlap; what no store
// names is read only. Shared memory becomes an attribution. Functions of
// libdevice become arithmetic or instructions.

// CHECK-LABEL: gpu.func @k(
// CHECK-SAME:    %[[X:[a-z0-9]+]]: memref<1073741824xf32> {llvm.align = 16 : i64, llvm.noalias, llvm.readonly}
// CHECK-SAME:    %{{[a-z0-9]+}}: memref<1073741824xf32> {llvm.align = 16 : i64, llvm.noalias})
// CHECK-SAME:    workgroup(%{{[a-z0-9]+}} : memref<64xf32, #gpu.address_space<workgroup>>)
// CHECK-SAME:    kernel
// CHECK-SAME:    known_block_size = array<i32: 64, 1, 1>
// CHECK-SAME:    nvvm.minctasm = 2 : i32
// CHECK-NOT:     memref.alloc
// CHECK-NOT:     math.exp
// CHECK:         llvm.call_intrinsic "llvm.floor.f32"
// CHECK:         llvm.call_intrinsic "llvm.sqrt.f32"
// CHECK:         llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"
// CHECK:         llvm.call_intrinsic "llvm.maxnum.f32"
// CHECK:         gpu.return
gpu.module @kernels {
  gpu.func @k(%x: memref<?xf32>, %y: memref<?xf32>) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
    %i = gpu.thread_id x
    %shared = memref.alloc() : memref<64xf32, #gpu.address_space<workgroup>>
    %v = memref.load %x[%i] : memref<?xf32>
    %e = math.exp %v : f32
    %s = math.sqrt %e : f32
    %p = math.exp2 %s : f32
    %m = arith.maxnumf %p, %s : f32
    memref.store %m, %shared[%i] : memref<64xf32, #gpu.address_space<workgroup>>
    memref.store %s, %y[%i] : memref<?xf32>
    gpu.return
  }
}

// -----

gpu.module @kernels {
  // expected-error @below {{has no known_block_size}}
  gpu.func @k() kernel {
    gpu.return
  }
}
