// RUN: qc-opt %s --split-input-file --verify-diagnostics --qc-check-no-dense-weights

// Matmuls on stored weights, dense vectors and activations are fine, also
// activations that happen to have a weight's shape.
!w = !qc.weight<8x4, #qc.float<f32>>
!n = !qc.weight<4, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"w", 0, 128>]
qc.weight @n : !n = [#qc.external<"w", 0, 16>]
func.func @stored(%x: tensor<4x4xf32>) -> tensor<4x8xf32> {
  %n = qc.get_weight @n : !n
  %dn = qc.dequantize %n : !n -> tensor<4xf32>
  %z = lm.rms_norm %x, %dn eps 1.0e-5 : tensor<4x4xf32>, tensor<4xf32>
  %w = qc.get_weight @w : !w
  %y = qc.matmul %z, [%w] : (tensor<4x4xf32>, !w) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

!w = !qc.weight<8x4, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"w", 0, 128>]
func.func @dequantized(%x: tensor<?x4xf32>) -> tensor<?x8xf32> {
  %w = qc.get_weight @w : !w
  // expected-error @+1 {{'qc.dequantize' makes a dense copy of @w, 8x4}}
  %d = qc.dequantize %w : !w -> tensor<8x4xf32>
  %y = lm.linear %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

!w = !qc.weight<8x4, #qc.float<f32>>
func.func @dequantizedArgument(%w: !w) -> tensor<8x4xf32> {
  // expected-error @+1 {{'qc.dequantize' makes a dense copy of a 8x4 weight}}
  %d = qc.dequantize %w : !w -> tensor<8x4xf32>
  return %d : tensor<8x4xf32>
}

// -----

!w = !qc.weight<8x4, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"w", 0, 128>]
// expected-error @+1 {{argument 0 of 'func.func' is 'tensor<8x4xf32>', as large as weight @w}}
func.func private @argument(%d: tensor<8x4xf32>) {
  return
}

// -----

!w = !qc.weight<8x4, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"w", 0, 128>]
func.func @transposed() -> tensor<4x8xf16> {
  // expected-error @+1 {{result 0 of 'arith.constant' is 'tensor<4x8xf16>', as large as weight @w}}
  %d = arith.constant dense<0.0> : tensor<4x8xf16>
  return %d : tensor<4x8xf16>
}

// -----

func.func @denseReader(%x: tensor<?x4xf32>, %d: tensor<8x4xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{'lm.linear' reads a dense weight of type 'tensor<8x4xf32>'}}
  %y = lm.linear %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
