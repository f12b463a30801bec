// What is not fused is named: a warning, or with `strict` an error.
// RUN: qc-opt %s --split-input-file --verify-diagnostics --qc-fuse-dequant-matmul
// RUN: not qc-opt %s --split-input-file --qc-fuse-dequant-matmul=strict 2>&1 | FileCheck %s --check-prefix=STRICT
// RUN: not qc-opt %s --split-input-file --qc-fuse-dequant-matmul=activations=f16 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: unknown activations 'f16', expected f32, bf16 or int8
// STRICT: error: @w stays a dense 2x2 matrix: 'func.return' is not a linear layer
// STRICT: error: argument 0 of @asActivations stays a dense 2x2 matrix
// STRICT: error: 'lm.linear' is not fused

!w = !qc.weight<2x2, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"w", 0, 16>]
func.func @returned() -> tensor<2x2xf32> {
  %w = qc.get_weight @w : !w
  // expected-warning @+1 {{@w stays a dense 2x2 matrix: 'func.return' is not a linear layer, logits or an embedding of it}}
  %d = qc.dequantize %w : !w -> tensor<2x2xf32>
  // expected-note @+1 {{read here}}
  return %d : tensor<2x2xf32>
}

// -----

!w = !qc.weight<2x2, #qc.float<f32>>
func.func @asActivations(%w: !w) -> tensor<2x2xf32> {
  // expected-warning @+1 {{argument 0 of @asActivations stays a dense 2x2 matrix: 'qc.matmul' reads it as activations}}
  %d = qc.dequantize %w : !w -> tensor<2x2xf32>
  // expected-note @+1 {{read here}}
  %y = lm.linear %d, %d : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @denseWeight(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> tensor<?x8xf32> {
  // expected-warning @+1 {{'lm.linear' is not fused: its weight is not the result of qc.dequantize}}
  %y = lm.linear %x, %w : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Vectors may be dense.
!v = !qc.weight<4, #qc.float<bf16>>
func.func @vector(%x: tensor<?x4xf32>, %v: !v) -> tensor<?x4xf32> {
  %d = qc.dequantize %v : !v -> tensor<4xf32>
  %y = lm.rms_norm %x, %d eps 1.0e-5 : tensor<?x4xf32>, tensor<4xf32>
  return %y : tensor<?x4xf32>
}
