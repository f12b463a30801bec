// RUN: qc-opt %s -verify-diagnostics -split-input-file

// weight C1
!w = !qc.weight<6x5, #qc.grouped<bits = 3, group = 4, scale = f16>>
// expected-error @+1 {{'qc.weight' op has 1 components, expected 2 for '!qc.weight<6x5, #qc.grouped<bits = 3, group = 4, scale = f16>>'}}
qc.weight @w : !w = [#qc.external<"w", 0, 12>]

// -----

// weight C1, packed
!w = !qc.weight<6x5, #qc.grouped<bits = 3, group = 4, scale = f16>, packed<4>>
// expected-error @+1 {{'qc.weight' op has 2 components, expected 1}}
qc.weight @w : !w = [#qc.external<"w", 0, 12>, #qc.external<"w", 12, 24>]

// -----

// weight C2: the scales are short.
!w = !qc.weight<6x5, #qc.grouped<bits = 3, group = 4, scale = f16>>
// expected-error @+1 {{'qc.weight' op component 1 has 12 bytes, expected 24}}
qc.weight @w : !w = [#qc.external<"w", 0, 12>, #qc.external<"w", 12, 12>]

// -----

// get_weight C1: no symbol
!w = !qc.weight<6, #qc.float<f32>>
func.func @f() {
  // expected-error @+1 {{'qc.get_weight' op references @w, which is not a qc.weight}}
  %w = qc.get_weight @w : !w
  return
}

// -----

// get_weight C1: another symbol
!w = !qc.weight<6, #qc.float<f32>>
func.func @f() {
  // expected-error @+1 {{'qc.get_weight' op references @f, which is not a qc.weight}}
  %w = qc.get_weight @f : !w
  return
}

// -----

// get_weight C2
qc.weight @w : !qc.weight<6, #qc.float<f32>> = [#qc.external<"w", 0, 24>]
func.func @f() {
  // expected-error @+1 {{'qc.get_weight' op has type '!qc.weight<7, #qc.float<f32>>' but @w is '!qc.weight<6, #qc.float<f32>>'}}
  %w = qc.get_weight @w : !qc.weight<7, #qc.float<f32>>
  return
}

// -----

// dequantize C1
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%w: !w) {
  // expected-error @+1 {{'qc.dequantize' op result is 'tensor<5x6xf32>', expected the shape of '!qc.weight<6x5, #qc.float<f32>>'}}
  %d = qc.dequantize %w : !w -> tensor<5x6xf32>
  return
}

// -----

// quantize C1
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%d: tensor<6xf32>) {
  // expected-error @+1 {{'qc.quantize' op operand is 'tensor<6xf32>', expected the shape of '!qc.weight<6x5, #qc.float<f32>>'}}
  %w = qc.quantize %d : tensor<6xf32> -> !w
  return
}

// -----

// quantize C2
!w = !qc.weight<6x5, #qc.float<f32>, packed<4>>
func.func @f(%d: tensor<6x5xf32>) {
  // expected-error @+1 {{'qc.quantize' op result must not be packed: qc-pack-weights packs}}
  %w = qc.quantize %d : tensor<6x5xf32> -> !w
  return
}

// -----

// matmul C1: a vector
!w = !qc.weight<5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w) {
  // expected-error @+1 {{'qc.matmul' op weight 0 is '!qc.weight<5, #qc.float<f32>>', expected a matrix of 5 inputs}}
  %y = qc.matmul %x, [%w] : (tensor<?x5xf32>, !w) -> tensor<?x1xf32>
  return
}

// -----

// matmul C1: another K
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x6xf32>, %w: !w) {
  // expected-error @+1 {{'qc.matmul' op weight 0 is '!qc.weight<6x5, #qc.float<f32>>', expected a matrix of 6 inputs}}
  %y = qc.matmul %x, [%w] : (tensor<?x6xf32>, !w) -> tensor<?x5xf32>
  return
}

// -----

// matmul C1: at least one weight
func.func @f(%x: tensor<?x6xf32>) {
  // expected-error @+1 {{'qc.matmul' op needs at least one weight}}
  qc.matmul %x, [] : (tensor<?x6xf32>) -> ()
  return
}

// -----

// matmul C2: number
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w, %b: tensor<6xf32>) {
  // expected-error @+1 {{'qc.matmul' op has 1 biases for 2 weights, expected none or one each}}
  %y:2 = qc.matmul %x, [%w, %w] bias(%b) : (tensor<?x5xf32>, !w, !w, tensor<6xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
  return
}

// -----

// matmul C2: length
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w, %b: tensor<5xf32>) {
  // expected-error @+1 {{'qc.matmul' op bias 0 is 'tensor<5xf32>', expected 6 values}}
  %y = qc.matmul %x, [%w] bias(%b) : (tensor<?x5xf32>, !w, tensor<5xf32>) -> tensor<?x6xf32>
  return
}

// -----

// matmul C3: two weights
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w, %r: tensor<?x6xf32>) {
  // expected-error @+1 {{'qc.matmul' op residual needs exactly one weight and no gate}}
  %y:2 = qc.matmul %x, [%w, %w] residual(%r) : (tensor<?x5xf32>, !w, !w, tensor<?x6xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
  return
}

// -----

// matmul C3: shape
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w, %r: tensor<?x5xf32>) {
  // expected-error @+1 {{'qc.matmul' op residual is 'tensor<?x5xf32>', expected 'tensor<?x6xf32>'}}
  %y = qc.matmul %x, [%w] residual(%r) : (tensor<?x5xf32>, !w, tensor<?x5xf32>) -> tensor<?x6xf32>
  return
}

// -----

// matmul C4: number
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w) {
  // expected-error @+1 {{'qc.matmul' op gate needs two weights, found 1}}
  %y = qc.matmul %x, [%w] gate(<silu>) : (tensor<?x5xf32>, !w) -> tensor<?x6xf32>
  return
}

// -----

// matmul C4: N
!w = !qc.weight<6x5, #qc.float<f32>>
!v = !qc.weight<7x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w, %v: !v) {
  // expected-error @+1 {{'qc.matmul' op gate needs two weights of equal N}}
  %y = qc.matmul %x, [%w, %v] gate(<silu>) : (tensor<?x5xf32>, !w, !v) -> tensor<?x6xf32>
  return
}

// -----

// matmul C5: number
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w) {
  // expected-error @+1 {{'qc.matmul' op has 1 results, expected 2}}
  %y = qc.matmul %x, [%w, %w] : (tensor<?x5xf32>, !w, !w) -> tensor<?x6xf32>
  return
}

// -----

// matmul C5: rows
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%x: tensor<?x5xf32>, %w: !w) {
  // expected-error @+1 {{'qc.matmul' op result 0 is 'tensor<1x6xf32>', expected the input's rows and 6 columns}}
  %y = qc.matmul %x, [%w] : (tensor<?x5xf32>, !w) -> tensor<1x6xf32>
  return
}

// -----

// matmul C6
!w = !qc.weight<6x5, #qc.float<f16>>
func.func @f(%x: tensor<?x5xf32>, %w: !w) {
  // expected-error @+1 {{'qc.matmul' op int8 arithmetic needs formats with integer codes, weight 0 is '!qc.weight<6x5, #qc.float<f16>>'}}
  %y = qc.matmul %x, [%w] arithmetic(<int8>) : (tensor<?x5xf32>, !w) -> tensor<?x6xf32>
  return
}

// -----

// embedding C1
!w = !qc.weight<6, #qc.float<f32>>
func.func @f(%ids: tensor<?xi32>, %w: !w) {
  // expected-error @+1 {{'qc.embedding' op weight is '!qc.weight<6, #qc.float<f32>>', expected a matrix}}
  %y = qc.embedding %ids, %w : (tensor<?xi32>, !w) -> tensor<?x6xf32>
  return
}

// -----

// embedding C2
!w = !qc.weight<6x5, #qc.float<f32>>
func.func @f(%ids: tensor<?xi32>, %w: !w) {
  // expected-error @+1 {{'qc.embedding' op result is 'tensor<?x6xf32>', expected one row for each id and 5 columns}}
  %y = qc.embedding %ids, %w : (tensor<?xi32>, !w) -> tensor<?x6xf32>
  return
}

// -----

!w = !qc.weight<6x4, #qc.float<f16>>

func.func @bf16_arithmetic(%x: tensor<?x4xf32>, %w: !w) -> tensor<?x6xf32> {
  // expected-error @+1 {{'qc.matmul' op bf16 arithmetic needs weights in bf16, weight 0 is '!qc.weight<6x4, #qc.float<f16>>'}}
  %y = qc.matmul %x, [%w] arithmetic(<bf16>) : (tensor<?x4xf32>, !w) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
