// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: qc-opt %s --allow-unregistered-dialect --lm-verify-model
// One change each makes the model incomplete.
// RUN: sed 's/lm.config/lm.other/' %s > no-config.mlir
// RUN: not qc-opt no-config.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=CONFIG
// RUN: sed 's/name = "n"/name = 1/' %s > no-name.mlir
// RUN: not qc-opt no-name.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: sed 's/vocab_size = 9/vocab_size = 0/' %s > no-vocabulary.mlir
// RUN: not qc-opt no-vocabulary.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=VOCABULARY
// RUN: sed 's/func @score/func private @score/' %s > private.mlir
// RUN: not qc-opt private.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=PRIVATE
// RUN: sed 's/tensor<1xi32>/tensor<2xi32>/g' %s > two-ids.mlir
// RUN: not qc-opt two-ids.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=IDS
// RUN: sed 's/tensor<?x9xf32>/tensor<?x8xf32>/g' %s > columns.mlir
// RUN: not qc-opt columns.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=LOGITS
// RUN: sed 's/<3x2x4xf32>/<4x2x4xf32>/g' %s > layers.mlir
// RUN: not qc-opt layers.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=LAYERS
// RUN: sed '/@decode/s/<3x2x4xf32>/<3x2x4xf16>/' %s > caches.mlir
// RUN: not qc-opt caches.mlir --allow-unregistered-dialect --lm-verify-model 2>&1 | FileCheck %s --check-prefix=CACHES

// CONFIG: error: the module has no dictionary attribute 'lm.config'
// NAME: error: 'lm.config' has no string 'name'
// VOCABULARY: error: 'lm.config' has no positive integer 'vocab_size'
// PRIVATE: error: entry point @score is missing, expected a public function with a body
// IDS: error: @decode is {{.*}}, expected arguments 'tensor<1xi32>', index and a KV cache
// LOGITS: error: @score is {{.*}}, expected the result 'tensor<?x9xf32>'
// LAYERS: error: the cache of @prefill is '!lm.kv_cache<4x2x4xf32>', expected 3 layers
// CACHES: error: the cache of @decode is '!lm.kv_cache<3x2x4xf16>', but that of @prefill is '!lm.kv_cache<3x2x4xf32>'

module attributes {lm.config = {architecture = "A", name = "n", vocab_size = 9 : i64, hidden_size = 4 : i64, num_layers = 3 : i64, max_positions = 16 : i64}} {
  func.func @prefill(%ids: tensor<?xi32>, %pos: index, %cache: !lm.kv_cache<3x2x4xf32>) -> tensor<1x9xf32> {
    %y = "test.model"(%ids) : (tensor<?xi32>) -> tensor<1x9xf32>
    return %y : tensor<1x9xf32>
  }
  func.func @decode(%ids: tensor<1xi32>, %pos: index, %cache: !lm.kv_cache<3x2x4xf32>) -> tensor<1x9xf32> {
    %y = "test.model"(%ids) : (tensor<1xi32>) -> tensor<1x9xf32>
    return %y : tensor<1x9xf32>
  }
  func.func @score(%ids: tensor<?xi32>, %pos: index, %cache: !lm.kv_cache<3x2x4xf32>) -> tensor<?x9xf32> {
    %y = "test.model"(%ids) : (tensor<?xi32>) -> tensor<?x9xf32>
    return %y : tensor<?x9xf32>
  }
}
