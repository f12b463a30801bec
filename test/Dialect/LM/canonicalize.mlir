// RUN: qc-opt %s --canonicalize --cse | FileCheck %s

// Pure operations of equal operands are one; two attentions append twice.
// CHECK-LABEL: @effects
// CHECK-COUNT-1: lm.rms_norm
// CHECK-COUNT-2: lm.attention
// CHECK-NOT: lm.
// CHECK: return
func.func @effects(%x: tensor<?x8xf32>, %n: tensor<8xf32>, %cache: !lm.kv_cache<2x4xf32>, %pos: index) {
  %q = lm.rms_norm %x, %n eps 1.0e-5 : tensor<?x8xf32>, tensor<8xf32>
  %k = lm.rms_norm %x, %n eps 1.0e-5 : tensor<?x8xf32>, tensor<8xf32>
  %a = lm.attention %q, %k, %k, %cache at %pos scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x8xf32>
  %b = lm.attention %q, %k, %k, %cache at %pos scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x8xf32>
  %dead = lm.gated_activation <silu> %a, %b : tensor<?x8xf32>
  return
}
