// RUN: qc-opt %s --qc-prepare-spirv -split-input-file -verify-diagnostics | FileCheck %s

// CHECK:       gpu.module @kernels attributes {spirv.target_env = #spirv.target_env<#spirv.vce<v1.3, [Shader, GroupNonUniform], [SPV_KHR_storage_buffer_storage_class]>, api=Vulkan
// CHECK:         gpu.func @k(%[[X:.*]]: memref<?xf32, #spirv.storage_class<StorageBuffer>>, %[[N:.*]]: index) kernel
// CHECK-SAME:      spirv.entry_point_abi = #spirv.entry_point_abi<workgroup_size = [64, 1, 1]>
// CHECK:           memref.alloc() : memref<64xf32, #spirv.storage_class<Workgroup>>
gpu.module @kernels {
  gpu.func @k(%x: memref<?xf32>, %n: index) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %zero = arith.constant 0.0 : f32
    %shared = memref.alloc() : memref<64xf32, #gpu.address_space<workgroup>>
    // The loop may run zero times: its result is selected.
    // CHECK: %[[SUM:.*]] = scf.for %{{.*}} = %[[BEGIN:[a-z0-9_]+]] to %[[N]] step %{{.*}} iter_args(%{{.*}} = %[[ZERO:[a-z0-9_]+]])
    // CHECK: %[[RUNS:.*]] = arith.cmpi slt, %[[BEGIN]], %[[N]]
    // CHECK: %[[RESULT:.*]] = arith.select %[[RUNS]], %[[SUM]], %[[ZERO]]
    // CHECK: memref.store %[[RESULT]]
    %sum = scf.for %i = %c0 to %n step %c1 iter_args(%s = %zero) -> (f32) {
      %v = memref.load %x[%i] : memref<?xf32>
      %t = arith.addf %s, %v : f32
      scf.yield %t : f32
    }
    memref.store %sum, %shared[%c0] : memref<64xf32, #gpu.address_space<workgroup>>
    // This one always runs.
    // CHECK: %[[FOUR:.*]] = scf.for
    // CHECK-NOT: arith.select
    // CHECK: memref.store %[[FOUR]]
    %four = scf.for %i = %c0 to %c4 step %c1 iter_args(%s = %zero) -> (f32) {
      %v = memref.load %x[%i] : memref<?xf32>
      %t = arith.addf %s, %v : f32
      scf.yield %t : f32
    }
    memref.store %four, %x[%c0] : memref<?xf32>
    gpu.return
  }
}

// -----

// Words that are loaded by two or four have another view of the same binding.
gpu.module @kernels {
  // CHECK:       gpu.func @wide(%{{.*}}: memref<?xi32, #spirv.storage_class<StorageBuffer>> {spirv.interface_var_abi = #spirv.interface_var_abi<(0, 0)>}
  // CHECK-SAME:    %[[OUT:[a-z0-9]+]]: memref<?xi32, #spirv.storage_class<StorageBuffer>> {spirv.interface_var_abi = #spirv.interface_var_abi<(0, 1)>}
  // CHECK-SAME:    %[[FOUR:[a-z0-9]+]]: memref<?xvector<4xi32>, #spirv.storage_class<StorageBuffer>> {spirv.interface_var_abi = #spirv.interface_var_abi<(0, 0)>}
  // CHECK-SAME:    %[[TWO:[a-z0-9]+]]: memref<?xvector<2xi32>, #spirv.storage_class<StorageBuffer>> {spirv.interface_var_abi = #spirv.interface_var_abi<(0, 0)>}
  gpu.func @wide(%w: memref<?xi32>, %out: memref<?xi32>) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
    %i = gpu.thread_id x
    // CHECK: %[[C4:.*]] = arith.constant 4 : index
    // CHECK: %[[Q:.*]] = arith.divui %{{.*}}, %[[C4]]
    // CHECK: memref.load %[[FOUR]][%[[Q]]]
    %a = vector.load %w[%i] {alignment = 16 : i64} : memref<?xi32>, vector<4xi32>
    // CHECK: memref.load %[[TWO]][
    %b = vector.load %w[%i] {alignment = 8 : i64} : memref<?xi32>, vector<2xi32>
    %a0 = vector.extract %a[0] : i32 from vector<4xi32>
    %b1 = vector.extract %b[1] : i32 from vector<2xi32>
    %sum = arith.addi %a0, %b1 : i32
    memref.store %sum, %out[%i] : memref<?xi32>
    gpu.return
  }
}

// -----

gpu.module @kernels {
  gpu.func @unaligned(%w: memref<?xi32>) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
    %i = gpu.thread_id x
    // expected-error @below {{must load two or four words of a buffer, aligned}}
    %a = vector.load %w[%i] : memref<?xi32>, vector<4xi32>
    gpu.return
  }
}

// -----

gpu.module @kernels {
  gpu.func @written(%w: memref<?xi32>, %v: i32) kernel attributes {known_block_size = array<i32: 64, 1, 1>} {
    %i = gpu.thread_id x
    %a = vector.load %w[%i] {alignment = 16 : i64} : memref<?xi32>, vector<4xi32>
    // expected-error @below {{stores to a buffer that is loaded by vectors}}
    memref.store %v, %w[%i] : memref<?xi32>
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
