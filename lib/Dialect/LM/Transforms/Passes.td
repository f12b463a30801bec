//===- Passes.td - Passes of the lm dialect -----------------*- tablegen -*-===//
#ifndef QC_DIALECT_LM_TRANSFORMS_PASSES_TD
#define QC_DIALECT_LM_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def MergeLayersPass : Pass<"lm-merge-layers", "::mlir::ModuleOp"> {
  let summary = "Keep one function for all layers that differ in their weights only";
  let description = [{
    Private functions that are equal but for the symbols of their
    `qc.get_weight` operations become one function that takes the weights as
    arguments, appended in the order of their first use; calls pass the
    weights. Mixed precision gives one function for each kind of layer. A model is
    then compiled in the time of one layer.

    Functions that are the only one of their kind get the same form. The
    functions are named after their first member without its number: `@layer`,
    `@layer_1`, ...

    Before:

    ```mlir
    func.func private @layer_0(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
      %w = qc.get_weight @w0 : !qc.weight<4x4, #qc.float<f32>>
      %y = qc.matmul %x, [%w] : ...
      return %y : tensor<?x4xf32>
    }
    ```

    After:

    ```mlir
    func.func private @layer(%x: tensor<?x4xf32>, %w: !qc.weight<4x4, #qc.float<f32>>) -> tensor<?x4xf32>
    ```
  }];
  let statistics = [
    Statistic<"numMerged", "merged", "Functions merged into another">,
    Statistic<"numKept", "kept", "Kinds of functions that remain">,
  ];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::qc::QCDialect"];
}

def PlaceLayersPass : Pass<"lm-place-layers", "::mlir::ModuleOp"> {
  let summary = "Keep the half of a model that one side of a mixed placement runs";
  let description = [{
    A model that the CPU and a GPU run together is cut between two layers. The last
    `gpu-layers` layers, what follows them (final norm and head) are the GPU's, what
    comes before is the CPU's. The module becomes one of both halves, with entry points
    of the same names:

    * `side=cpu`: they return the hidden state of every token, `tensor<?xHxf32>`,
      instead of logits;
    * `side=gpu`: they take it as one more argument, the last.

    The cache of a half has its own layers only, counted from 0. The module gets
    `lm.placement = {gpu_layers, side}`. Layers are the calls that take an
    `lm.cache_layer`; a layer that reads more of the other half than one
    hidden state is an error. Functions and weights of the other half lose their last
    use; `symbol-dce` and `qc-pack-weights` drop them.

    Before:

    ```mlir
    func.func @decode(%ids: tensor<1xi32>, %at: index, %cache: !lm.kv_cache<2x4x8xf16>) -> tensor<1x9xf32> {
      ...
      %h = call @layer(%x, %cache_0, %w0) : ...
      %y = call @layer(%h, %cache_1, %w1) : ...
      %logits = qc.matmul %y, [%head] : ...
      return %logits : tensor<1x9xf32>
    }
    ```

    After `lm-place-layers{gpu-layers=1 side=gpu}`:

    ```mlir
    func.func @decode(%ids: tensor<1xi32>, %at: index, %cache: !lm.kv_cache<1x4x8xf16>, %h: tensor<?x32xf32>) -> tensor<1x9xf32> {
      %y = call @layer(%h, %cache_0, %w1) : ...
      %logits = qc.matmul %y, [%head] : ...
      return %logits : tensor<1x9xf32>
    }
    ```
  }];
  let options = [
    Option<"gpuLayers", "gpu-layers", "int64_t", "0",
           "Last layers that the GPU runs, from 1 to all but one">,
    Option<"side", "side", "std::string", "\"cpu\"", "Half to keep: cpu or gpu">,
  ];
  let statistics = [
    Statistic<"numLayers", "layers", "Layers of this half">,
  ];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def SelectKVCachePass : Pass<"lm-select-kv-cache", "::mlir::ModuleOp"> {
  let summary = "Choose the element type of the KV cache";
  let description = [{
    Replaces the element type of every `!lm.kv_cache` of the module: in function
    signatures, block arguments, results and attributes. Keys and values are
    rounded to it when they are appended; attention computes in f32.
  }];
  let options = [
    Option<"type", "type", "std::string", "\"f32\"", "Element type: f32, f16 or i8">,
  ];
}

def VerifyModelPass : Pass<"lm-verify-model", "::mlir::ModuleOp"> {
  let summary = "Check that the module is a complete model";
  let description = [{
    C1: `lm.config` has strings `name`, `architecture`, and positive integers
    `vocab_size`, `hidden_size`, `num_layers`, `max_positions`. C2: `@prefill`,
    `@decode` and `@score` are public functions with a body.
    C3: their arguments are token ids (`tensor<1xi32>` for decode, `tensor<?xi32>`
    for the others), a position and the cache of all layers, the same in all.
    C4: their result is `tensor<1xVxf32>`, `tensor<?xVxf32>` for score, V being
    `vocab_size`. C5: the cache has `num_layers` layers.
  }];
}

#endif // QC_DIALECT_LM_TRANSFORMS_PASSES_TD
