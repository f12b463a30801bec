// RUN: qc-opt %s --qc-lower-to-gpu-kernels -split-input-file -verify-diagnostics

!w = !qc.weight<8x16, #qc.float<f32>, packed<16>>
qc.weight @w : !w = [#qc.external<"b", 0, 1024>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x8xf32> {
  %w = qc.get_weight @w : !w
  // expected-error @below {{must be packed<32> for a GPU}}
  %x = qc.embedding %ids, %w : (tensor<1xi32>, !w) -> tensor<1x16xf32>
  %y = qc.matmul %x, [%w] : (tensor<1x16xf32>, !w) -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}

// -----

!w = !qc.weight<8x16, #qc.float<f32>, packed<32>>
qc.weight @w : !w = [#qc.external<"b", 64, 2048>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf16>) -> tensor<1x8xf32> {
  // expected-error @below {{lies at byte 64, expected a multiple of 256: run qc-pack-weights{alignment=256}}}
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %w : (tensor<1xi32>, !w) -> tensor<1x16xf32>
  %y = qc.matmul %x, [%w] : (tensor<1x16xf32>, !w) -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}

// -----

!w = !qc.weight<8x16, #qc.float<f32>, packed<32>>
qc.weight @w : !w = [#qc.external<"b", 0, 2048>]
// expected-error @below {{expected (tensor<?xi32>, index, !lm.kv_cache<...>[, tensor<?xHxf32>]) -> tensor<?xVxf32>}}
func.func @decode(%ids: tensor<1xi32>) -> tensor<1x8xf32> {
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %w : (tensor<1xi32>, !w) -> tensor<1x16xf32>
  %y = qc.matmul %x, [%w] : (tensor<1x16xf32>, !w) -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}

// -----

!w = !qc.weight<16x16, #qc.float<f32>, packed<32>>
qc.weight @w : !w = [#qc.external<"b", 0, 2048>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x16xf16>) -> tensor<1x16xf32> {
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %w : (tensor<1xi32>, !w) -> tensor<1x16xf32>
  // expected-error @below {{has no GPU kernel}}
  %y = arith.mulf %x, %x : tensor<1x16xf32>
  %z = qc.matmul %y, [%w] : (tensor<1x16xf32>, !w) -> tensor<1x16xf32>
  return %z : tensor<1x16xf32>
}

// -----

!w = !qc.weight<16x16, #qc.float<f32>, packed<32>>
qc.weight @w : !w = [#qc.external<"b", 0, 2048>]
func.func @decode(%ids: tensor<1xi32>, %p: index, %c: !lm.kv_cache<1x1x16xf16>) -> tensor<1x16xf32> {
  %w = qc.get_weight @w : !w
  %x = qc.embedding %ids, %w : (tensor<1xi32>, !w) -> tensor<1x16xf32>
  // expected-error @below {{must return the result of a qc.matmul}}
  return %x : tensor<1x16xf32>
}
