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
