// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=x86-64-v3 -split-input-file -verify-diagnostics

qc.weight @w : !qc.weight<8x16, #qc.float<f32>> = [#qc.external<"b", 0, 512>]
func.func @f(%x: tensor<?x16xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{must be packed: run qc-pack-weights}}
  %w = qc.get_weight @w : !qc.weight<8x16, #qc.float<f32>>
  %y = qc.matmul %x, [%w] : (tensor<?x16xf32>, !qc.weight<8x16, #qc.float<f32>>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

qc.weight @w : !qc.weight<8x16, #qc.float<f32>, packed<4>> = [#qc.external<"b", 0, 512>]
func.func @f(%x: tensor<?x16xf32>) -> tensor<?x8xf32> {
  %w = qc.get_weight @w : !qc.weight<8x16, #qc.float<f32>, packed<4>>
  // expected-error @below {{must be packed<8> for this CPU}}
  %y = qc.matmul %x, [%w] : (tensor<?x16xf32>, !qc.weight<8x16, #qc.float<f32>, packed<4>>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

qc.weight @w : !qc.weight<8x16, #qc.float<f32>, packed<8>> = [#qc.external<"b", 0, 512>]
func.func @f() -> tensor<8x16xf32> {
  %w = qc.get_weight @w : !qc.weight<8x16, #qc.float<f32>, packed<8>>
  // expected-error @below {{of a matrix was not fused: run qc-fuse-dequant-matmul}}
  %d = qc.dequantize %w : !qc.weight<8x16, #qc.float<f32>, packed<8>> -> tensor<8x16xf32>
  return %d : tensor<8x16xf32>
}

// -----

func.func @f(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  // expected-error @below {{has no CPU kernel}}
  %y = arith.mulf %x, %x : tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

func.func @f(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  // expected-error @below {{cannot return an argument, or a value twice}}
  return %x : tensor<?x16xf32>
}
