// RUN: qc-opt %s | qc-opt | FileCheck %s
// RUN: qc-opt %s --mlir-print-op-generic | qc-opt | FileCheck %s

// CHECK-LABEL: @types
// CHECK-SAME: !lm.kv_cache<22x4x64xf16>
// CHECK-SAME: !lm.kv_cache<1x1xf32>
func.func private @types(!lm.kv_cache<22x4x64xf16>, !lm.kv_cache<1x1xf32>)

// CHECK-LABEL: @ropes
// CHECK-SAME: a = #lm.rope<dim = 64, theta = 1.000000e+04>
// CHECK-SAME: b = #lm.rope<dim = 64, theta = 1.000000e+06, scaling = linear, factor = 2.500000e+00>
// CHECK-SAME: c = #lm.rope<dim = 128, theta = 5.000000e+05, scaling = llama3, factor = 8.000000e+00, original = 8192>
// CHECK-SAME: d = #lm.rope<dim = 128, theta = 5.000000e+05, scaling = llama3, factor = 3.200000e+01, low = 5.000000e-01, high = 8.000000e+00, original = 8192>
func.func private @ropes() attributes {
  a = #lm.rope<dim = 64, theta = 1.0e+04>,
  b = #lm.rope<dim = 64, theta = 1.0e+06, scaling = linear, factor = 2.5>,
  c = #lm.rope<dim = 128, theta = 5.0e+05, scaling = llama3, factor = 8.0, low = 1.0, high = 4.0, original = 8192>,
  d = #lm.rope<dim = 128, theta = 5.0e+05, scaling = llama3, factor = 32.0, low = 0.5, high = 8.0, original = 8192>}

// One decoder layer with every operation; 4 query heads and 2 key/value heads
// of 4 columns.
// CHECK-LABEL: @layer
func.func @layer(%ids: tensor<?xi32>, %table: tensor<100x16xf32>, %pos: index, %all: !lm.kv_cache<2x2x4xf32>,
                 %n: tensor<16xf32>, %nh: tensor<4xf32>, %wq: tensor<16x16xf32>, %wk: tensor<8x16xf32>, %bk: tensor<8xf32>) -> tensor<1x100xf32> {
  // CHECK: %[[X:.*]] = lm.embedding %{{.*}}, %{{.*}} : (tensor<?xi32>, tensor<100x16xf32>) -> tensor<?x16xf32>
  %x = lm.embedding %ids, %table : (tensor<?xi32>, tensor<100x16xf32>) -> tensor<?x16xf32>
  // CHECK: lm.rms_norm %[[X]], %{{.*}} eps 1.000000e-05 : tensor<?x16xf32>, tensor<16xf32>
  %r = lm.rms_norm %x, %n eps 1.0e-5 : tensor<?x16xf32>, tensor<16xf32>
  // CHECK: lm.layer_norm %{{.*}}, %{{.*}}, %{{.*}} eps 1.000000e-05 : tensor<?x16xf32>, tensor<16xf32>, tensor<16xf32>
  %l = lm.layer_norm %r, %n, %n eps 1.0e-5 : tensor<?x16xf32>, tensor<16xf32>, tensor<16xf32>
  // CHECK: lm.linear %{{.*}}, %{{.*}} : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %q0 = lm.linear %l, %wq : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  // CHECK: lm.linear %{{.*}}, %{{.*}} bias(%{{.*}}) : (tensor<?x16xf32>, tensor<8x16xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %k0 = lm.linear %l, %wk bias(%bk) : (tensor<?x16xf32>, tensor<8x16xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  // A norm of each head.
  // CHECK: lm.rms_norm %{{.*}} : tensor<?x16xf32>, tensor<4xf32>
  %q1 = lm.rms_norm %q0, %nh eps 1.0e-6 : tensor<?x16xf32>, tensor<4xf32>
  // CHECK: lm.rotary_table %{{.*}} at %{{.*}} <dim = 4, theta = 1.000000e+04> : tensor<?xi32> -> tensor<?x4xf32>
  %rope = lm.rotary_table %ids at %pos <dim = 4, theta = 1.0e+04> : tensor<?xi32> -> tensor<?x4xf32>
  // CHECK: lm.rotary %{{.*}}, %{{.*}} head_dim 4 : tensor<?x16xf32>, tensor<?x4xf32>
  %q = lm.rotary %q1, %rope head_dim 4 : tensor<?x16xf32>, tensor<?x4xf32>
  // CHECK: lm.rotary %{{.*}}, %{{.*}} head_dim 4 : tensor<?x8xf32>, tensor<?x4xf32>
  %k = lm.rotary %k0, %rope head_dim 4 : tensor<?x8xf32>, tensor<?x4xf32>
  // CHECK: lm.cache_layer %{{.*}}[1] : {{.*}}<2x2x4xf32> -> {{.*}}<2x4xf32>
  %cache = lm.cache_layer %all[1] : !lm.kv_cache<2x2x4xf32> -> !lm.kv_cache<2x4xf32>
  // CHECK: lm.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} at %{{.*}} scale 5.000000e-01 : tensor<?x16xf32>, tensor<?x8xf32>, {{.*}}<2x4xf32> -> tensor<?x16xf32>
  %a = lm.attention %q, %k, %k0, %cache at %pos scale 0.5 : tensor<?x16xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x16xf32>
  // CHECK: lm.attention {{.*}} scale 5.000000e-01 window 128 :
  %b = lm.attention %q, %k, %k0, %cache at %pos scale 0.5 window 128 : tensor<?x16xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x16xf32>
  // CHECK: lm.gated_activation <gelu_tanh> %{{.*}}, %{{.*}} : tensor<?x16xf32>
  %g = lm.gated_activation <gelu_tanh> %a, %b : tensor<?x16xf32>
  // CHECK: lm.last_token %{{.*}} : tensor<?x16xf32> -> tensor<1x16xf32>
  %last = lm.last_token %g : tensor<?x16xf32> -> tensor<1x16xf32>
  // CHECK: lm.logits %{{.*}}, %{{.*}} : (tensor<1x16xf32>, tensor<100x16xf32>) -> tensor<1x100xf32>
  %y = lm.logits %last, %table : (tensor<1x16xf32>, tensor<100x16xf32>) -> tensor<1x100xf32>
  return %y : tensor<1x100xf32>
}

// Attention writes the cache, so it stays although nobody reads its result.
// CHECK-LABEL: @effects
// CHECK: lm.attention
func.func @effects(%q: tensor<?x8xf32>, %cache: !lm.kv_cache<2x4xf32>, %pos: index) {
  %a = lm.attention %q, %q, %q, %cache at %pos scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x8xf32>
  return
}
