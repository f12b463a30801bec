// RUN: rm -rf %t && split-file %s %t
// RUN: qc-opt %t/model.mlir --lm-place-layers="gpu-layers=2 side=cpu" | FileCheck %t/model.mlir --check-prefix=CPU
// RUN: qc-opt %t/model.mlir --lm-place-layers="gpu-layers=2 side=gpu" | FileCheck %t/model.mlir --check-prefix=GPU
// The kind of layer that only the other half has goes away.
// RUN: qc-opt %t/model.mlir --lm-place-layers="gpu-layers=1 side=cpu" --symbol-dce | FileCheck %t/model.mlir --check-prefix=DCE --implicit-check-not=@other
// RUN: not qc-opt %t/model.mlir --lm-place-layers="gpu-layers=0 side=cpu" 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not qc-opt %t/model.mlir --lm-place-layers="gpu-layers=-1 side=cpu" 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: not qc-opt %t/model.mlir --lm-place-layers="gpu-layers=3 side=gpu" 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: not qc-opt %t/model.mlir --lm-place-layers="gpu-layers=1 side=left" 2>&1 | FileCheck %s --check-prefix=SIDE
// RUN: not qc-opt %t/no-entry.mlir --lm-place-layers="gpu-layers=1" 2>&1 | FileCheck %s --check-prefix=ENTRY
// RUN: not qc-opt %t/no-cache.mlir --lm-place-layers="gpu-layers=1" 2>&1 | FileCheck %s --check-prefix=CACHE
// RUN: not qc-opt %t/no-layers.mlir --lm-place-layers="gpu-layers=1" 2>&1 | FileCheck %s --check-prefix=LAYERS
// RUN: not qc-opt %t/inline.mlir --lm-place-layers="gpu-layers=1" 2>&1 | FileCheck %s --check-prefix=INLINE
// RUN: not qc-opt %t/twice.mlir --lm-place-layers="gpu-layers=1" 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not qc-opt %t/hidden.mlir --lm-place-layers="gpu-layers=1" 2>&1 | FileCheck %s --check-prefix=HIDDEN
// RUN: not qc-opt %t/skip.mlir --lm-place-layers="gpu-layers=1 side=gpu" 2>&1 | FileCheck %s --check-prefix=SKIP

// ZERO: error: gpu-layers is 0, expected 1 to 2 of the 3 layers of @prefill
// NEGATIVE: error: gpu-layers is -1, expected 1 to 2 of the 3 layers of @prefill
// ALL: error: gpu-layers is 3, expected 1 to 2 of the 3 layers of @prefill
// SIDE: error: side must be cpu or gpu, found 'left'
// ENTRY: error: no entry point found, expected @prefill, @decode or @score
// CACHE: error: @decode is '(tensor<1xi32>) -> tensor<1xi32>', expected ids, a position and the KV cache of all layers
// LAYERS: error: @decode has no call that takes the cache of layer 0 (lm.cache_layer)
// INLINE: error: @decode: expected each layer's cache in one call, found none for {{.*}}lm.cache_layer
// TWICE: error: @decode has two calls of layer 0
// HIDDEN: error: 'func.call' op of layer 0 must return the hidden state of all tokens, tensor<?xHxf32>, and nothing else
// SKIP: error: @decode cannot be cut before layer 2: more than one hidden state of layer 0 is read behind it

//--- model.mlir
// CPU: module attributes {lm.placement = {gpu_layers = 2 : i64, side = "cpu"}}
// CPU-LABEL: func.func @prefill
// CPU-SAME: (%[[IDS:.*]]: tensor<?xi32>, %[[AT:.*]]: index, %[[KV:.*]]: !lm.kv_cache<1x2x4xf32>) -> tensor<?x4xf32>
// CPU-NEXT: %[[C:.*]] = lm.cache_layer %[[KV]][0] : <1x2x4xf32>
// CPU-NEXT: %[[X:.*]] = call @embed(%[[IDS]])
// CPU-NEXT: %[[H:.*]] = call @layer(%[[X]], %[[C]], %[[AT]])
// CPU-NEXT: return %[[H]] : tensor<?x4xf32>
// CPU-LABEL: func.func @decode
// CPU-SAME: (%{{.*}}: tensor<1xi32>, %{{.*}}: index, %{{.*}}: !lm.kv_cache<1x2x4xf32>) -> tensor<?x4xf32>
// CPU: call @layer
// CPU-NEXT: return

// GPU: module attributes {lm.placement = {gpu_layers = 2 : i64, side = "gpu"}}
// GPU-LABEL: func.func @prefill
// GPU-SAME: (%{{.*}}: tensor<?xi32>, %[[AT:.*]]: index, %[[KV:.*]]: !lm.kv_cache<2x2x4xf32>, %[[X:.*]]: tensor<?x4xf32>) -> tensor<1x4xf32>
// GPU-NEXT: %[[C1:.*]] = lm.cache_layer %[[KV]][0] : <2x2x4xf32>
// GPU-NEXT: %[[C2:.*]] = lm.cache_layer %[[KV]][1] : <2x2x4xf32>
// GPU-NEXT: %[[H1:.*]] = call @layer(%[[X]], %[[C1]], %[[AT]])
// GPU-NEXT: %[[H2:.*]] = call @other(%[[H1]], %[[C2]], %[[AT]])
// GPU-NEXT: %[[Y:.*]] = lm.last_token %[[H2]]
// GPU-NEXT: return %[[Y]] : tensor<1x4xf32>
// GPU-LABEL: func.func @decode
// GPU-SAME: !lm.kv_cache<2x2x4xf32>, %{{.*}}: tensor<?x4xf32>) -> tensor<1x4xf32>
// GPU-NOT: tensor.cast
// GPU-NOT: call @embed

// DCE-COUNT-2: call @layer
module {
  func.func private @layer(%x: tensor<?x4xf32>, %cache: !lm.kv_cache<2x4xf32>, %at: index) -> tensor<?x4xf32> {
    %y = arith.addf %x, %x : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
  func.func private @other(%x: tensor<?x4xf32>, %cache: !lm.kv_cache<2x4xf32>, %at: index) -> tensor<?x4xf32> {
    %y = arith.addf %x, %x : tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
  func.func private @embed(tensor<?xi32>) -> tensor<?x4xf32>
  func.func @prefill(%ids: tensor<?xi32>, %at: index, %kv: !lm.kv_cache<3x2x4xf32>) -> tensor<1x4xf32> {
    %c0 = lm.cache_layer %kv[0] : <3x2x4xf32> -> <2x4xf32>
    %c1 = lm.cache_layer %kv[1] : <3x2x4xf32> -> <2x4xf32>
    %c2 = lm.cache_layer %kv[2] : <3x2x4xf32> -> <2x4xf32>
    %x = call @embed(%ids) : (tensor<?xi32>) -> tensor<?x4xf32>
    %h0 = call @layer(%x, %c0, %at) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>, index) -> tensor<?x4xf32>
    %h1 = call @layer(%h0, %c1, %at) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>, index) -> tensor<?x4xf32>
    %h2 = call @other(%h1, %c2, %at) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>, index) -> tensor<?x4xf32>
    %y = lm.last_token %h2 : tensor<?x4xf32> -> tensor<1x4xf32>
    return %y : tensor<1x4xf32>
  }
  func.func @decode(%id: tensor<1xi32>, %at: index, %kv: !lm.kv_cache<3x2x4xf32>) -> tensor<1x4xf32> {
    %ids = tensor.cast %id : tensor<1xi32> to tensor<?xi32>
    %c0 = lm.cache_layer %kv[0] : <3x2x4xf32> -> <2x4xf32>
    %c1 = lm.cache_layer %kv[1] : <3x2x4xf32> -> <2x4xf32>
    %c2 = lm.cache_layer %kv[2] : <3x2x4xf32> -> <2x4xf32>
    %x = call @embed(%ids) : (tensor<?xi32>) -> tensor<?x4xf32>
    %h0 = call @layer(%x, %c0, %at) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>, index) -> tensor<?x4xf32>
    %h1 = call @layer(%h0, %c1, %at) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>, index) -> tensor<?x4xf32>
    %h2 = call @other(%h1, %c2, %at) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>, index) -> tensor<?x4xf32>
    %y = lm.last_token %h2 : tensor<?x4xf32> -> tensor<1x4xf32>
    return %y : tensor<1x4xf32>
  }
}

//--- no-entry.mlir
func.func @other() {
  return
}

//--- no-cache.mlir
func.func @decode(%ids: tensor<1xi32>) -> tensor<1xi32> {
  return %ids : tensor<1xi32>
}

//--- no-layers.mlir
func.func @decode(%ids: tensor<1xi32>, %at: index, %kv: !lm.kv_cache<2x2x4xf32>) -> tensor<1xi32> {
  return %ids : tensor<1xi32>
}

//--- inline.mlir
func.func @decode(%x: tensor<?x8xf32>, %at: index, %kv: !lm.kv_cache<2x2x4xf32>) -> tensor<?x8xf32> {
  %c0 = lm.cache_layer %kv[0] : <2x2x4xf32> -> <2x4xf32>
  %y = lm.attention %x, %x, %x, %c0 at %at scale 1.0 : tensor<?x8xf32>, tensor<?x8xf32>, <2x4xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

//--- twice.mlir
func.func private @layer(tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> tensor<?x4xf32>
func.func @decode(%x: tensor<?x4xf32>, %at: index, %kv: !lm.kv_cache<2x2x4xf32>) -> tensor<?x4xf32> {
  %c0 = lm.cache_layer %kv[0] : <2x2x4xf32> -> <2x4xf32>
  %h0 = call @layer(%x, %c0) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> tensor<?x4xf32>
  %c1 = lm.cache_layer %kv[0] : <2x2x4xf32> -> <2x4xf32>
  %h1 = call @layer(%h0, %c1) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> tensor<?x4xf32>
  return %h1 : tensor<?x4xf32>
}

//--- hidden.mlir
func.func private @layer(tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>)
func.func @decode(%x: tensor<?x4xf32>, %at: index, %kv: !lm.kv_cache<2x2x4xf32>) -> tensor<?x4xf32> {
  %c0 = lm.cache_layer %kv[0] : <2x2x4xf32> -> <2x4xf32>
  %h0:2 = call @layer(%x, %c0) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>)
  %c1 = lm.cache_layer %kv[1] : <2x2x4xf32> -> <2x4xf32>
  %h1:2 = call @layer(%h0#1, %c1) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>)
  return %h1#0 : tensor<?x4xf32>
}

//--- skip.mlir
func.func private @layer(tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> tensor<?x4xf32>
func.func @decode(%x: tensor<?x4xf32>, %at: index, %kv: !lm.kv_cache<3x2x4xf32>) -> tensor<?x4xf32> {
  %c0 = lm.cache_layer %kv[0] : <3x2x4xf32> -> <2x4xf32>
  %h0 = call @layer(%x, %c0) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> tensor<?x4xf32>
  %c1 = lm.cache_layer %kv[1] : <3x2x4xf32> -> <2x4xf32>
  %h1 = call @layer(%h0, %c1) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> tensor<?x4xf32>
  %c2 = lm.cache_layer %kv[2] : <3x2x4xf32> -> <2x4xf32>
  %h2 = call @layer(%h1, %c2) : (tensor<?x4xf32>, !lm.kv_cache<2x4xf32>) -> tensor<?x4xf32>
  %y = arith.addf %h2, %h0 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
