// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-plan-memory{max-tokens=4})' | FileCheck %s

// Three buffers, of which the first is dead when the third begins: they share
// its place. Sizes: 4 tokens x 16 floats = 256 bytes each.

// CHECK: module attributes {qc.arena_bytes = 512 : i64}
// CHECK-LABEL: func.func private @f(
// CHECK-SAME:    %[[X:[a-z0-9]+]]: memref<?x16xf32>, %[[ARENA:[a-z0-9]+]]: memref<?xi8> {qc.arena}, %[[FRAME:[a-z0-9]+]]: index)
// CHECK-NOT:     memref.alloc
// CHECK:         %[[O0:.*]] = arith.constant 0 : index
// CHECK:         %[[P0:.*]] = arith.addi %[[FRAME]], %[[O0]]
// CHECK:         %[[A:.*]] = memref.view %[[ARENA]][%[[P0]]]
// CHECK:         %[[O1:.*]] = arith.constant 256 : index
// CHECK:         %[[P1:.*]] = arith.addi %[[FRAME]], %[[O1]]
// CHECK:         %[[B:.*]] = memref.view %[[ARENA]][%[[P1]]]
// CHECK:         %[[O2:.*]] = arith.constant 0 : index
// CHECK:         %[[P2:.*]] = arith.addi %[[FRAME]], %[[O2]]
// CHECK:         %[[C:.*]] = memref.view %[[ARENA]][%[[P2]]]

// Whole tiles of 16 rows: 16 x 4 floats.
// CHECK-LABEL: func.func private @tiles(
// CHECK:         arith.constant 0 : index
// CHECK:         arith.constant 256 : index
// CHECK-NOT:     memref.alloc
module {
  func.func private @use(memref<?x16xf32>, memref<?x16xf32>)
  func.func private @f(%x: memref<?x16xf32>, %arena: memref<?xi8> {qc.arena}, %frame: index {qc.frame}) {
    %c0 = arith.constant 0 : index
    %m = memref.dim %x, %c0 : memref<?x16xf32>
    %a = memref.alloc(%m) : memref<?x16xf32>
    call @use(%x, %a) : (memref<?x16xf32>, memref<?x16xf32>) -> ()
    %b = memref.alloc(%m) : memref<?x16xf32>
    call @use(%a, %b) : (memref<?x16xf32>, memref<?x16xf32>) -> ()
    %c = memref.alloc(%m) : memref<?x16xf32>
    call @use(%b, %c) : (memref<?x16xf32>, memref<?x16xf32>) -> ()
    return
  }
  func.func private @tiles(%m: index, %arena: memref<?xi8> {qc.arena}, %frame: index {qc.frame}) {
    %c16 = arith.constant 16 : index
    %count = arith.ceildivui %m, %c16 : index
    %rows = arith.muli %count, %c16 : index
    %a = memref.alloc(%rows) {qc.row_tile = 16 : i64} : memref<?x4xf32>
    %b = memref.alloc(%rows) {qc.row_tile = 16 : i64} : memref<?x4xf32>
    call @use4(%a, %b) : (memref<?x4xf32>, memref<?x4xf32>) -> ()
    return
  }
  func.func private @use4(memref<?x4xf32>, memref<?x4xf32>)
}
