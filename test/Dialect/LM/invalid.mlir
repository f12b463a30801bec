// RUN: qc-opt %s -verify-diagnostics -split-input-file

// kv_cache: rank
// expected-error @+1 {{KV cache must be [layers x] heads x head size, found 1 dimensions}}
func.func private @f(!lm.kv_cache<4xf32>)

// -----

// kv_cache: sizes
// expected-error @+1 {{KV cache has a dimension of size 0, expected a positive size}}
func.func private @f(!lm.kv_cache<4x0xf32>)

// -----

// kv_cache: elements
// expected-error @+1 {{KV cache elements must be f32, f16 or i8, found 'bf16'}}
func.func private @f(!lm.kv_cache<4x8xbf16>)

// -----

// expected-error @+1 {{rope dim must be positive and even, found 5}}
func.func private @f() attributes {a = #lm.rope<dim = 5, theta = 1.0e+04>}

// -----

// expected-error @+1 {{rope theta must be positive, found}}
func.func private @f() attributes {a = #lm.rope<dim = 4, theta = 0.0>}

// -----

// expected-error @+1 {{rope factor must be positive, found}}
func.func private @f() attributes {a = #lm.rope<dim = 4, theta = 1.0e+04, scaling = linear, factor = 0.0>}

// -----

// expected-error @+1 {{llama3 rope scaling needs original > 0 and 0 < low < high}}
func.func private @f() attributes {a = #lm.rope<dim = 4, theta = 1.0e+04, scaling = llama3, factor = 8.0, low = 4.0, high = 1.0, original = 8192>}

// -----

// embedding C1
func.func @f(%ids: tensor<?xi32>, %t: tensor<9x4xf32>) {
  // expected-error @+1 {{'lm.embedding' op result is 'tensor<?x9xf32>', expected one row for each id and 4 columns}}
  %y = lm.embedding %ids, %t : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x9xf32>
  return
}

// -----

// rms_norm C1
func.func @f(%x: tensor<?x6xf32>, %n: tensor<4xf32>) {
  // expected-error @+1 {{'lm.rms_norm' op input has 6 columns, expected a multiple of the weight's 4}}
  %y = lm.rms_norm %x, %n eps 1.0e-5 : tensor<?x6xf32>, tensor<4xf32>
  return
}

// -----

// rms_norm C2
func.func @f(%x: tensor<?x4xf32>, %n: tensor<4xf32>) {
  // expected-error @+1 {{'lm.rms_norm' op eps must be positive}}
  %y = lm.rms_norm %x, %n eps 0.0 : tensor<?x4xf32>, tensor<4xf32>
  return
}

// -----

// layer_norm C1
func.func @f(%x: tensor<?x4xf32>, %n: tensor<4xf32>, %b: tensor<2xf32>) {
  // expected-error @+1 {{'lm.layer_norm' op weight and bias must have 4 values, found 4 and 2}}
  %y = lm.layer_norm %x, %n, %b eps 1.0e-5 : tensor<?x4xf32>, tensor<4xf32>, tensor<2xf32>
  return
}

// -----

// layer_norm C2
func.func @f(%x: tensor<?x4xf32>, %n: tensor<4xf32>) {
  // expected-error @+1 {{'lm.layer_norm' op eps must be positive}}
  %y = lm.layer_norm %x, %n, %n eps -1.0 : tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// linear C1: K
func.func @f(%x: tensor<?x4xf32>, %w: tensor<3x5xf32>) {
  // expected-error @+1 {{'lm.linear' op weight has 5 inputs, expected 4}}
  %y = lm.linear %x, %w : (tensor<?x4xf32>, tensor<3x5xf32>) -> tensor<?x3xf32>
  return
}

// -----

// linear C1: N
func.func @f(%x: tensor<?x4xf32>, %w: tensor<3x4xf32>) {
  // expected-error @+1 {{'lm.linear' op result is 'tensor<?x4xf32>', expected the input's rows and 3 columns}}
  %y = lm.linear %x, %w : (tensor<?x4xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

// linear C1: bias
func.func @f(%x: tensor<?x4xf32>, %w: tensor<3x4xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{'lm.linear' op bias has 4 values, expected 3}}
  %y = lm.linear %x, %w bias(%b) : (tensor<?x4xf32>, tensor<3x4xf32>, tensor<4xf32>) -> tensor<?x3xf32>
  return
}

// -----

// logits C1
func.func @f(%x: tensor<?x4xf32>, %w: tensor<9x5xf32>) {
  // expected-error @+1 {{'lm.logits' op weight has 5 inputs, expected 4}}
  %y = lm.logits %x, %w : (tensor<?x4xf32>, tensor<9x5xf32>) -> tensor<?x9xf32>
  return
}

// -----

// last_token C1
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error @+1 {{'lm.last_token' op result is 'tensor<2x4xf32>', expected 1 row and 4 columns}}
  %y = lm.last_token %x : tensor<?x4xf32> -> tensor<2x4xf32>
  return
}

// -----

// gated_activation: types
// expected-note @+1 {{prior use here}}
func.func @f(%x: tensor<?x4xf32>, %z: tensor<?x5xf32>) {
  // expected-error @+1 {{use of value '%z' expects different type than prior uses}}
  %y = lm.gated_activation <silu> %x, %z : tensor<?x4xf32>
  return
}

// -----

// rotary_table C1
func.func @f(%ids: tensor<?xi32>, %pos: index) {
  // expected-error @+1 {{'lm.rotary_table' op result is 'tensor<?x8xf32>', expected one row for each id and 4 columns}}
  %t = lm.rotary_table %ids at %pos <dim = 4, theta = 1.0e+04> : tensor<?xi32> -> tensor<?x8xf32>
  return
}

// -----

// rotary C1
func.func @f(%x: tensor<?x6xf32>, %t: tensor<?x4xf32>) {
  // expected-error @+1 {{'lm.rotary' op input has 6 columns, expected a multiple of head_dim 4}}
  %y = lm.rotary %x, %t head_dim 4 : tensor<?x6xf32>, tensor<?x4xf32>
  return
}

// -----

// rotary C2
func.func @f(%x: tensor<?x8xf32>, %t: tensor<?x6xf32>) {
  // expected-error @+1 {{'lm.rotary' op table has 6 columns, expected an even number up to head_dim 4}}
  %y = lm.rotary %x, %t head_dim 4 : tensor<?x8xf32>, tensor<?x6xf32>
  return
}

// -----

// cache_layer C1
func.func @f(%c: !lm.kv_cache<3x2x4xf32>) {
  // expected-error @+1 {{'lm.cache_layer' op layer 3 is outside of '!lm.kv_cache<3x2x4xf32>'}}
  %l = lm.cache_layer %c[3] : !lm.kv_cache<3x2x4xf32> -> !lm.kv_cache<2x4xf32>
  return
}

// -----

// cache_layer C1
func.func @f(%c: !lm.kv_cache<3x2x4xf32>) {
  // expected-error @+1 {{'lm.cache_layer' op layer -1 is outside of '!lm.kv_cache<3x2x4xf32>'}}
  %l = lm.cache_layer %c[-1] : !lm.kv_cache<3x2x4xf32> -> !lm.kv_cache<2x4xf32>
  return
}

// -----

// cache_layer C2
func.func @f(%c: !lm.kv_cache<3x2x4xf32>) {
  // expected-error @+1 {{'lm.cache_layer' op result is '!lm.kv_cache<2x4xf16>', expected one layer of '!lm.kv_cache<3x2x4xf32>'}}
  %l = lm.cache_layer %c[0] : !lm.kv_cache<3x2x4xf32> -> !lm.kv_cache<2x4xf16>
  return
}

// -----

// cache_layer C2: a layer of a layer
func.func @f(%c: !lm.kv_cache<2x4xf32>) {
  // expected-error @+1 {{'lm.cache_layer' op cache is '!lm.kv_cache<2x4xf32>', expected all layers}}
  %l = lm.cache_layer %c[0] : !lm.kv_cache<2x4xf32> -> !lm.kv_cache<2x4xf32>
  return
}

// -----

// attention C1: query
func.func @f(%q: tensor<?x12xf32>, %k: tensor<?x8xf32>, %c: !lm.kv_cache<2x4xf32>, %pos: index) {
  // expected-error @+1 {{'lm.attention' op queries have 12 columns, expected a multiple of 8}}
  %a = lm.attention %q, %k, %k, %c at %pos scale 0.5 : tensor<?x12xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x12xf32>
  return
}

// -----

// attention C1: key
func.func @f(%q: tensor<?x8xf32>, %k: tensor<?x4xf32>, %c: !lm.kv_cache<2x4xf32>, %pos: index) {
  // expected-error @+1 {{'lm.attention' op keys have 4 columns, expected 8 for '!lm.kv_cache<2x4xf32>'}}
  %a = lm.attention %q, %k, %k, %c at %pos scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x8xf32>
  return
}

// -----

// attention C1: result
func.func @f(%q: tensor<?x8xf32>, %c: !lm.kv_cache<2x4xf32>, %pos: index) {
  // expected-error @+1 {{'lm.attention' op result is 'tensor<?x4xf32>', expected the type of the queries}}
  %a = lm.attention %q, %q, %q, %c at %pos scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x4xf32>
  return
}

// -----

// attention C2
func.func @f(%q: tensor<?x8xf32>, %c: !lm.kv_cache<3x2x4xf32>, %pos: index) {
  // expected-error @+1 {{'lm.attention' op cache is '!lm.kv_cache<3x2x4xf32>', expected one layer}}
  %a = lm.attention %q, %q, %q, %c at %pos scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<3x2x4xf32> -> tensor<?x8xf32>
  return
}

// -----

// attention C3
func.func @f(%q: tensor<?x8xf32>, %c: !lm.kv_cache<2x4xf32>, %pos: index) {
  // expected-error @+1 {{'lm.attention' op window must be positive, found 0}}
  %a = lm.attention %q, %q, %q, %c at %pos scale 0.5 window 0 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x8xf32>
  return
}
