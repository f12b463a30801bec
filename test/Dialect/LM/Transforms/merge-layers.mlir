// RUN: qc-opt %s --split-input-file --lm-merge-layers | FileCheck %s
// RUN: qc-opt %s --split-input-file --lm-merge-layers -o %t.once
// RUN: qc-opt %t.once --lm-merge-layers --split-input-file -o %t.twice
// RUN: diff %t.once %t.twice

// Two layers of one kind, one of another (its second weight has more bits).
// Arguments are appended in the order of use, which is not that of the
// references, and a weight that is used twice is one argument.

!f = !qc.weight<4x4, #qc.float<f32>>
!h = !qc.weight<4x4, #qc.float<f16>>

// CHECK-NOT: func.func private @layer_2
// CHECK: func.func private @layer(%[[X:.*]]: tensor<?x4xf32>, %[[A:.*]]: !qc.weight<4x4, #qc.float<f32>>, %[[B:.*]]: !qc.weight<4x4, #qc.float<f16>>)
// CHECK-NEXT: %[[Y:.*]] = qc.matmul %[[X]], [%[[A]]]
// CHECK-NEXT: %[[Z:.*]] = qc.matmul %[[Y]], [%[[B]]]
// CHECK-NEXT: qc.matmul %[[Z]], [%[[A]]]
// CHECK: func.func private @layer_1({{.*}}: tensor<?x4xf32>, %{{.*}}: !qc.weight<4x4, #qc.float<f32>>, %{{.*}}: !qc.weight<4x4, #qc.float<f32>>)
// CHECK-NOT: func.func private
// CHECK-LABEL: @decode
// CHECK: %[[A0:.*]] = qc.get_weight @a0
// CHECK: %[[B0:.*]] = qc.get_weight @b0
// CHECK: %[[X0:.*]] = call @layer(%{{.*}}, %[[A0]], %[[B0]])
// CHECK: %[[A1:.*]] = qc.get_weight @a1
// CHECK: %[[B1:.*]] = qc.get_weight @b1
// CHECK: %[[X1:.*]] = call @layer_1(%[[X0]], %[[A1]], %[[B1]])
// CHECK: %[[A2:.*]] = qc.get_weight @a2
// CHECK: %[[B2:.*]] = qc.get_weight @b2
// CHECK: call @layer(%[[X1]], %[[A2]], %[[B2]])
// CHECK-LABEL: @score
// CHECK: qc.get_weight @a2
// CHECK: qc.get_weight @b2
// CHECK: call @layer(

qc.weight @a0 : !f = [#qc.external<"w", 0, 64>]
qc.weight @a1 : !f = [#qc.external<"w", 64, 64>]
qc.weight @a2 : !f = [#qc.external<"w", 128, 64>]
qc.weight @b0 : !h = [#qc.external<"w", 192, 32>]
qc.weight @b1 : !f = [#qc.external<"w", 224, 64>]
qc.weight @b2 : !h = [#qc.external<"w", 288, 32>]
func.func private @layer_0(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %b = qc.get_weight @b0 : !h
  %a = qc.get_weight @a0 : !f
  %y = qc.matmul %x, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  %z = qc.matmul %y, [%b] : (tensor<?x4xf32>, !h) -> tensor<?x4xf32>
  %u = qc.matmul %z, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  return %u : tensor<?x4xf32>
}
func.func private @layer_1(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %b = qc.get_weight @b1 : !f
  %a = qc.get_weight @a1 : !f
  %y = qc.matmul %x, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  %z = qc.matmul %y, [%b] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  %u = qc.matmul %z, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  return %u : tensor<?x4xf32>
}
func.func private @layer_2(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = qc.get_weight @a2 : !f
  %y = qc.matmul %x, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  %b = qc.get_weight @b2 : !h
  %z = qc.matmul %y, [%b] : (tensor<?x4xf32>, !h) -> tensor<?x4xf32>
  %a2 = qc.get_weight @a2 : !f
  %u = qc.matmul %z, [%a2] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  return %u : tensor<?x4xf32>
}
func.func @decode(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = call @layer_0(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = call @layer_1(%0) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = call @layer_2(%1) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %2 : tensor<?x4xf32>
}
func.func @score(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %2 = call @layer_2(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %2 : tensor<?x4xf32>
}

// -----

// A weight that two layers use twice, or two weights once: different kinds.
// Attributes count too, and so do constants however large.
!f = !qc.weight<4x4, #qc.float<f32>>
qc.weight @a : !f = [#qc.external<"w", 0, 64>]
qc.weight @b : !f = [#qc.external<"w", 64, 64>]
// CHECK: func.func private @block({{[^!]*}}!qc.weight<4x4, #qc.float<f32>>) ->
// CHECK: func.func private @block_1({{[^!]*}}!qc.weight<4x4, #qc.float<f32>>, %{{.*}}: !qc.weight<4x4, #qc.float<f32>>) ->
// CHECK: func.func private @norm(
// CHECK: func.func private @norm_1(
// CHECK-LABEL: @decode
func.func private @block_7(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = qc.get_weight @a : !f
  %y:2 = qc.matmul %x, [%a, %a] : (tensor<?x4xf32>, !f, !f) -> (tensor<?x4xf32>, tensor<?x4xf32>)
  return %y#0 : tensor<?x4xf32>
}
func.func private @block_8(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = qc.get_weight @a : !f
  %b = qc.get_weight @b : !f
  %y:2 = qc.matmul %x, [%a, %b] : (tensor<?x4xf32>, !f, !f) -> (tensor<?x4xf32>, tensor<?x4xf32>)
  return %y#0 : tensor<?x4xf32>
}
func.func private @norm_0(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %n = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %y = lm.rms_norm %x, %n eps 1.0e-5 : tensor<?x4xf32>, tensor<4xf32>
  return %y : tensor<?x4xf32>
}
func.func private @norm_1(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %n = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %y = lm.rms_norm %x, %n eps 2.0e-5 : tensor<?x4xf32>, tensor<4xf32>
  return %y : tensor<?x4xf32>
}
func.func @decode(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = call @block_7(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = call @block_8(%0) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = call @norm_0(%1) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %3 = call @norm_1(%2) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %3 : tensor<?x4xf32>
}

// -----

// Layers of layers merge from the inside. A function that is referred to by
// anything but a call keeps its signature, a dead one its name.
!f = !qc.weight<4x4, #qc.float<f32>>
qc.weight @a0 : !f = [#qc.external<"w", 0, 64>]
qc.weight @a1 : !f = [#qc.external<"w", 64, 64>]
// CHECK: func.func private @inner(%{{.*}}: tensor<?x4xf32>, %{{.*}}: !qc.weight
// CHECK: func.func private @outer(%[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: !qc.weight
// CHECK-NEXT: call @inner(%[[X]], %[[W]])
// CHECK: func.func private @referenced_0(%{{.*}}: tensor<?x4xf32>) ->
// CHECK: func.func private @dead_0(%{{.*}}: tensor<?x4xf32>) ->
// CHECK-LABEL: @decode
// CHECK: %[[A0:.*]] = qc.get_weight @a0
// CHECK: call @outer(%{{.*}}, %[[A0]])
// CHECK: %[[A1:.*]] = qc.get_weight @a1
// CHECK: call @outer(%{{.*}}, %[[A1]])
func.func private @inner_0(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = qc.get_weight @a0 : !f
  %y = qc.matmul %x, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func private @inner_1(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = qc.get_weight @a1 : !f
  %y = qc.matmul %x, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func private @outer_0(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = call @inner_0(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func private @outer_1(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = call @inner_1(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func private @referenced_0(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = qc.get_weight @a1 : !f
  %y = qc.matmul %x, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func private @dead_0(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = qc.get_weight @a1 : !f
  %y = qc.matmul %x, [%a] : (tensor<?x4xf32>, !f) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func @decode(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %f = constant @referenced_0 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %0 = call @outer_0(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = call @outer_1(%0) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = call @referenced_0(%1) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %2 : tensor<?x4xf32>
}
