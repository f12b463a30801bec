// RUN: not qc-opt %s --split-input-file --qc-fuse-dequant-matmul=activations=bf16 2> %t | FileCheck %s
// RUN: FileCheck %s --input-file=%t --check-prefix=ERROR

// Weights in bf16 get the arithmetic, others keep theirs.
!w = !qc.weight<8x4, #qc.float<bf16>>
!v = !qc.weight<8x4, #qc.float<f16>>
// CHECK-LABEL: @linear
// CHECK: qc.matmul %{{.*}} arithmetic(<bf16>) : {{.*}}bf16
// CHECK: qc.matmul %{{.*}}, [%{{.*}}] : {{.*}}f16
func.func @linear(%x: tensor<?x4xf32>, %w: !w, %v: !v) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %dw = qc.dequantize %w : !w -> tensor<8x4xf32>
  %dv = qc.dequantize %v : !v -> tensor<8x4xf32>
  %y = lm.linear %x, %dw : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %z = lm.linear %x, %dv : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// ERROR: error: activations in bf16 need weights stored in bf16, there are none
// ERROR-NOT: error
!v = !qc.weight<8x4, #qc.float<f16>>
func.func @none(%x: tensor<?x4xf32>, %v: !v) -> tensor<?x8xf32> {
  %dv = qc.dequantize %v : !v -> tensor<8x4xf32>
  %z = lm.linear %x, %dv : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}
