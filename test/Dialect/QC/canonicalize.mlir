// RUN: qc-opt %s --canonicalize | FileCheck %s

!w = !qc.weight<6x5, #qc.grouped<bits = 3, group = 4, scale = f16>>
!v = !qc.weight<6x5, #qc.grouped<bits = 4, group = 4, scale = f16>>
qc.weight @w : !w = [#qc.external<"w", 0, 12>, #qc.external<"w", 12, 24>]

// Every value of a format is its own nearest value.
// CHECK-LABEL: @roundTrip
// CHECK-SAME: %[[W:.*]]: !qc.weight
// CHECK-NEXT: return %[[W]]
func.func @roundTrip(%w: !w) -> !w {
  %d = qc.dequantize %w : !w -> tensor<6x5xf32>
  %q = qc.quantize %d : tensor<6x5xf32> -> !w
  return %q : !w
}

// Another format rounds.
// CHECK-LABEL: @otherFormat
// CHECK: qc.dequantize
// CHECK: qc.quantize
func.func @otherFormat(%w: !w) -> !v {
  %d = qc.dequantize %w : !w -> tensor<6x5xf32>
  %q = qc.quantize %d : tensor<6x5xf32> -> !v
  return %q : !v
}

// What nobody reads goes away: all of qc is pure.
// CHECK-LABEL: @dead
// CHECK-NEXT: return
func.func @dead(%x: tensor<?x5xf32>, %ids: tensor<?xi32>) {
  %w = qc.get_weight @w : !w
  %d = qc.dequantize %w : !w -> tensor<6x5xf32>
  %y = qc.matmul %x, [%w] : (tensor<?x5xf32>, !w) -> tensor<?x6xf32>
  %e = qc.embedding %ids, %w : (tensor<?xi32>, !w) -> tensor<?x5xf32>
  return
}
