// RUN: qc-opt %s --pass-pipeline='builtin.module(qc-plan-memory{max-tokens=2})' | FileCheck %s

// A callee's frame begins behind its caller's; the arena holds the deepest chain.
// CHECK: module attributes {qc.arena_bytes = 192 : i64}
// CHECK-LABEL: func.func private @caller(
// CHECK:         %[[SIZE:.*]] = arith.constant 64 : index
// CHECK:         %[[NEXT:.*]] = arith.addi %{{.*}}, %[[SIZE]]
// CHECK:         call @callee(%{{.*}}, %[[NEXT]])
module {
  func.func private @use(memref<?x4xf32>)
  func.func private @callee(%arena: memref<?xi8> {qc.arena}, %frame: index {qc.frame}) {
    %m = arith.constant 2 : index
    %a = memref.alloc(%m) : memref<?x4xf32>
    %b = memref.alloc(%m) : memref<?x4xf32>
    call @use(%a) : (memref<?x4xf32>) -> ()
    call @use(%b) : (memref<?x4xf32>) -> ()
    call @use(%a) : (memref<?x4xf32>) -> ()
    return
  }
  func.func private @caller(%arena: memref<?xi8> {qc.arena}, %frame: index {qc.frame}) {
    %m = arith.constant 2 : index
    %a = memref.alloc(%m) : memref<?x4xf32>
    call @use(%a) : (memref<?x4xf32>) -> ()
    call @callee(%arena, %frame) : (memref<?xi8>, index) -> ()
    call @use(%a) : (memref<?x4xf32>) -> ()
    return
  }
}
