// RUN: qc-opt %s --split-input-file --qc-fuse-dequant-matmul | FileCheck %s
// RUN: qc-opt %s --split-input-file --qc-fuse-dequant-matmul="share-input=false" | FileCheck %s --check-prefix=ALONE
// RUN: qc-opt %s --split-input-file --qc-fuse-dequant-matmul="epilogues=false" | FileCheck %s --check-prefix=PLAIN
// RUN: qc-opt %s --split-input-file --qc-fuse-dequant-matmul="activations=int8" | FileCheck %s --check-prefix=INT8

!w = !qc.weight<8x4, #qc.grouped<bits = 4, group = 4, scale = f16>>
!v = !qc.weight<6x4, #qc.grouped<bits = 4, group = 4, scale = f16>>
!b = !qc.weight<8, #qc.float<f16>>

// A bias stays a tensor; the dense matrix goes away.
// CHECK-LABEL: @linear
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: !qc.weight<8x4, {{.*}}>, %[[B:.*]]: !qc.weight<8, #qc.float<f16>>)
// CHECK-NEXT: %[[D:.*]] = qc.dequantize %[[B]]
// CHECK-NEXT: %[[Y:.*]] = qc.matmul %[[X]], [%[[W]]] bias(%[[D]]) :
// CHECK-NEXT: return %[[Y]]
// INT8-LABEL: @linear
// INT8: bias({{.*}}) arithmetic(<int8>)
func.func @linear(%x: tensor<?x4xf32>, %w: !w, %b: !b) -> tensor<?x8xf32> {
  %dw = qc.dequantize %w : !w -> tensor<8x4xf32>
  %db = qc.dequantize %b : !b -> tensor<8xf32>
  %y = lm.linear %x, %dw bias(%db) : (tensor<?x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// Tied embeddings: one stored matrix, two readers.
// CHECK-LABEL: @tied
// CHECK-SAME: %[[W:[^:]*]]: !qc.weight
// CHECK-NOT: qc.dequantize
// CHECK: %[[X:.*]] = qc.embedding %{{.*}}, %[[W]] :
// CHECK: qc.matmul %[[X]], [%[[W]]] :
func.func @tied(%ids: tensor<?xi32>, %w: !w) -> tensor<?x8xf32> {
  %d = qc.dequantize %w : !w -> tensor<8x4xf32>
  %x = lm.embedding %ids, %d : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %y = lm.logits %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// The weights of later matmuls are hoisted to the first.
// CHECK-LABEL: @share
// CHECK: %[[Q:.*]] = qc.get_weight @q
// CHECK: %[[K:.*]] = qc.get_weight @k
// CHECK: %[[Y:.*]]:2 = qc.matmul %{{.*}}, [%[[Q]], %[[K]]] :
// CHECK: lm.rms_norm %[[Y]]#0
// CHECK: return %{{.*}}, %[[Y]]#1
// ALONE-LABEL: @share
// ALONE-COUNT-2: qc.matmul {{.*}} -> tensor
qc.weight @q : !w = [#qc.external<"w", 0, 16>, #qc.external<"w", 16, 16>]
qc.weight @k : !v = [#qc.external<"w", 0, 12>, #qc.external<"w", 16, 12>]
func.func @share(%x: tensor<?x4xf32>, %n: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x6xf32>) {
  %q = qc.get_weight @q : !w
  %dq = qc.dequantize %q : !w -> tensor<8x4xf32>
  %y0 = lm.linear %x, %dq : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %z0 = lm.rms_norm %y0, %n eps 1.0e-5 : tensor<?x8xf32>, tensor<8xf32>
  %k = qc.get_weight @k : !v
  %dk = qc.dequantize %k : !v -> tensor<6x4xf32>
  %y1 = lm.linear %x, %dk : (tensor<?x4xf32>, tensor<6x4xf32>) -> tensor<?x6xf32>
  return %z0, %y1 : tensor<?x8xf32>, tensor<?x6xf32>
}

// -----

!w = !qc.weight<8x4, #qc.grouped<bits = 4, group = 4, scale = f16>>
!g2 = !qc.weight<8x4, #qc.grouped<bits = 4, group = 2, scale = f16>>
!lut = !qc.weight<8x4, #qc.lut<nf4, group = 4, scale = f16>>

// Three formats do not share; each int8 choice follows its format.
// CHECK-LABEL: @formats
// CHECK-COUNT-3: qc.matmul %{{[^,]*}}, [%{{[^,]*}}] :
// INT8-LABEL: @formats
// INT8: qc.matmul {{.*}} arithmetic(<int8>) : {{.*}}group = 4
// INT8: qc.matmul {{.*}} arithmetic(<int8>) : {{.*}}group = 2
// INT8: qc.matmul {{.*}} arithmetic(<int8>) : {{.*}}lut<nf4
func.func @formats(%x: tensor<?x4xf32>, %a: !w, %b: !g2, %c: !lut) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %da = qc.dequantize %a : !w -> tensor<8x4xf32>
  %db = qc.dequantize %b : !g2 -> tensor<8x4xf32>
  %dc = qc.dequantize %c : !lut -> tensor<8x4xf32>
  %0 = lm.linear %x, %da : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %1 = lm.linear %x, %db : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %2 = lm.linear %x, %dc : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %0, %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// With a bias and without one do not mix.
// CHECK-LABEL: @someBiases
// CHECK: %[[AB:.*]]:2 = qc.matmul %{{[^,]*}}, [%{{[^,]*}}, %{{[^,]*}}] bias(%[[B:[^,]*]], %[[B]]) :
// CHECK: %[[C:.*]] = qc.matmul %{{[^,]*}}, [%{{[^,]*}}] :
// CHECK: return %[[AB]]#0, %[[C]], %[[AB]]#1
func.func @someBiases(%x: tensor<?x4xf32>, %a: !w, %b: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  %d = qc.dequantize %a : !w -> tensor<8x4xf32>
  %0 = lm.linear %x, %d bias(%b) : (tensor<?x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %1 = lm.linear %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %2 = lm.linear %x, %d bias(%b) : (tensor<?x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %0, %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// A bias that is computed from the first matmul keeps the second where it is.
// CHECK-LABEL: @computedBias
// CHECK-COUNT-2: qc.matmul %{{[^,]*}}, [%{{[^,]*}}] bias
func.func @computedBias(%x: tensor<1x4xf32>, %a: !w, %b: tensor<8xf32>) -> tensor<1x8xf32> {
  %d = qc.dequantize %a : !w -> tensor<8x4xf32>
  %0 = lm.linear %x, %d bias(%b) : (tensor<1x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<1x8xf32>
  %c = tensor.collapse_shape %0 [[0, 1]] : tensor<1x8xf32> into tensor<8xf32>
  %1 = lm.linear %x, %d bias(%c) : (tensor<1x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<1x8xf32>
  return %1 : tensor<1x8xf32>
}

// -----

!w = !qc.weight<8x4, #qc.float<f32>>
!d = !qc.weight<4x8, #qc.float<f32>>

// A feed-forward block: gate and up in one pass, the sum in the last matmul.
// CHECK-LABEL: @gatedBlock
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[G:.*]]: !qc.weight<8x4, {{.*}}>, %[[U:.*]]: !qc.weight<8x4, {{.*}}>, %[[D:.*]]: !qc.weight<4x8, {{.*}}>)
// CHECK-NEXT: %[[H:.*]] = qc.matmul %[[X]], [%[[G]], %[[U]]] gate(<silu>) :
// CHECK-NEXT: %[[Y:.*]] = qc.matmul %[[H]], [%[[D]]] residual(%[[X]]) :
// CHECK-NEXT: return %[[Y]]
// ALONE-LABEL: @gatedBlock
// ALONE-COUNT-2: qc.matmul %{{[^,]*}}, [%{{[^,]*}}] :
// ALONE: lm.gated_activation
// ALONE: qc.matmul {{.*}} residual
// PLAIN-LABEL: @gatedBlock
// PLAIN: %[[Y:.*]]:2 = qc.matmul %{{[^,]*}}, [%{{[^,]*}}, %{{[^,]*}}] :
// PLAIN: lm.gated_activation <silu> %[[Y]]#0, %[[Y]]#1
// PLAIN: qc.matmul
// PLAIN: arith.addf
// INT8-LABEL: @gatedBlock
// INT8-NOT: arithmetic
func.func @gatedBlock(%x: tensor<?x4xf32>, %g: !w, %u: !w, %d: !d) -> tensor<?x4xf32> {
  %dg = qc.dequantize %g : !w -> tensor<8x4xf32>
  %du = qc.dequantize %u : !w -> tensor<8x4xf32>
  %dd = qc.dequantize %d : !d -> tensor<4x8xf32>
  %0 = lm.linear %x, %dg : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %1 = lm.linear %x, %du : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %h = lm.gated_activation <silu> %0, %1 : tensor<?x8xf32>
  %2 = lm.linear %h, %dd : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %y = arith.addf %x, %2 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// The operands keep their roles when up is computed first.
// CHECK-LABEL: @upFirst
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32>, %[[G:.*]]: !qc.weight<8x4, {{.*}}>, %[[U:.*]]: !qc.weight
// CHECK-NEXT: qc.matmul %[[X]], [%[[G]], %[[U]]] gate(<gelu>) :
func.func @upFirst(%x: tensor<?x4xf32>, %g: !w, %u: !w) -> tensor<?x8xf32> {
  %dg = qc.dequantize %g : !w -> tensor<8x4xf32>
  %du = qc.dequantize %u : !w -> tensor<8x4xf32>
  %1 = lm.linear %x, %du : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %0 = lm.linear %x, %dg : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %h = lm.gated_activation <gelu> %0, %1 : tensor<?x8xf32>
  return %h : tensor<?x8xf32>
}

// Somebody else reads up: no gate.
// CHECK-LABEL: @upReadTwice
// CHECK: %[[Y:.*]]:2 = qc.matmul
// CHECK: %[[H:.*]] = lm.gated_activation <relu> %[[Y]]#0, %[[Y]]#1
// CHECK: return %[[H]], %[[Y]]#1
func.func @upReadTwice(%x: tensor<?x4xf32>, %g: !w, %u: !w) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %dg = qc.dequantize %g : !w -> tensor<8x4xf32>
  %du = qc.dequantize %u : !w -> tensor<8x4xf32>
  %0 = lm.linear %x, %dg : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %1 = lm.linear %x, %du : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %h = lm.gated_activation <relu> %0, %1 : tensor<?x8xf32>
  return %h, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// A residual that is computed after the matmul: the matmul sinks to the sum.
// CHECK-LABEL: @residualLater
// CHECK: %[[R:.*]] = lm.rms_norm
// CHECK-NEXT: qc.matmul %{{.*}}, [%{{.*}}] residual(%[[R]]) :
func.func @residualLater(%x: tensor<?x4xf32>, %r: tensor<?x8xf32>, %n: tensor<8xf32>, %w: !w) -> tensor<?x8xf32> {
  %d = qc.dequantize %w : !w -> tensor<8x4xf32>
  %0 = lm.linear %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %1 = lm.rms_norm %r, %n eps 1.0e-5 : tensor<?x8xf32>, tensor<8xf32>
  %2 = arith.addf %0, %1 : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}

// y + y is not a residual of y.
// CHECK-LABEL: @doubled
// CHECK: %[[Y:.*]] = qc.matmul
// CHECK: arith.addf %[[Y]], %[[Y]]
func.func @doubled(%x: tensor<?x4xf32>, %w: !w) -> tensor<?x8xf32> {
  %d = qc.dequantize %w : !w -> tensor<8x4xf32>
  %0 = lm.linear %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %2 = arith.addf %0, %0 : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}

// The sum of two matmuls of different inputs: one is the other's residual.
// CHECK-LABEL: @sumOfTwo
// CHECK: %[[R:.*]] = qc.matmul %{{[^,]*}}, [%{{[^,]*}}] :
// CHECK: qc.matmul %{{[^,]*}}, [%{{[^,]*}}] residual(%[[R]])
func.func @sumOfTwo(%x: tensor<?x4xf32>, %z: tensor<?x4xf32>, %w: !w) -> tensor<?x8xf32> {
  %d = qc.dequantize %w : !w -> tensor<8x4xf32>
  %0 = lm.linear %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %1 = lm.linear %z, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %2 = arith.addf %0, %1 : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}
