//===- Passes.td - Passes of the qc dialect -----------------*- tablegen -*-===//
#ifndef QC_DIALECT_QC_TRANSFORMS_PASSES_TD
#define QC_DIALECT_QC_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def FuseDequantMatmulPass : Pass<"qc-fuse-dequant-matmul", "::mlir::ModuleOp"> {
  let summary = "Fold dequantize into the linear layers and look-ups that read it";
  let description = [{
    `lm.linear` and `lm.logits` of a dequantized matrix become `qc.matmul`,
    `lm.embedding` of one becomes `qc.embedding`. Then, in this order:

    1. `lm.gated_activation` of two matmuls of the same input that nothing else
       reads becomes one matmul with a `gate` (needs `share-input` and `epilogues`),
    2. matmuls of the same input, K, format and arithmetic, all with a bias or
       none, become one matmul with several weights (`share-input`),
    3. `arith.addf` of a matmul with one weight that nothing else reads becomes
       its `residual` (`epilogues`).

    Only operations of one block are combined. A matrix that stays dense is
    reported where it is dequantized, with its name and the operation that needs it.
    Dead `qc.dequantize` and `qc.get_weight` go away.

    Before:

    ```mlir
    %d = qc.dequantize %w : !qc.weight<8x4, #qc.float<f32>> -> tensor<8x4xf32>
    %y = lm.linear %x, %d : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
    ```

    After:

    ```mlir
    %y = qc.matmul %x, [%w] : (tensor<?x4xf32>, !qc.weight<8x4, #qc.float<f32>>) -> tensor<?x8xf32>
    ```
  }];
  let options = [
    Option<"shareInput", "share-input", "bool", "true",
           "Merge matmuls that read the same input">,
    Option<"epilogues", "epilogues", "bool", "true",
           "Fuse gated activations and residual additions into matmuls">,
    Option<"activations", "activations", "std::string", "\"f32\"",
           "Arithmetic of matmuls that have none yet: f32, int8 where all weights have integer codes, or bf16 where they are stored in bf16">,
    Option<"strict", "strict", "bool", "false",
           "Make a matrix that stays dense an error instead of a warning">,
  ];
  let statistics = [
    Statistic<"numFused", "fused", "Linear layers and look-ups fused with their dequantize">,
    Statistic<"numShared", "shared", "Matmuls merged into another of the same input">,
    Statistic<"numEpilogues", "epilogues", "Gates and residuals fused">,
    Statistic<"numDense", "dense", "Matrices that stay dense">,
  ];
  let dependentDialects = ["::mlir::qc::QCDialect"];
}

def CheckNoDenseWeightsPass : Pass<"qc-check-no-dense-weights", "::mlir::ModuleOp"> {
  let summary = "Fail if a full-size float copy of a weight matrix exists";
  let description = [{
    Every one of these is an error that names the weight or its shape:

    * `qc.dequantize` of a matrix;
    * a weight or table operand of `lm.linear`, `lm.logits` or `lm.embedding`:
      they read dense matrices;
    * a tensor with the shape of a weight matrix of the module, or its
      transpose, unless it has a single row, or is an activation (a result of
      another operation of lm or qc).
  }];
}

def PackWeightsPass : Pass<"qc-pack-weights", "::mlir::ModuleOp"> {
  let summary = "Write all weights to one file in the layout of the target";
  let description = [{
    Writes every used weight to `output`: matrices in their format's packed
    layout for kernels with `rows` output rows in a vector, vectors as f32. The
    symbols then refer to that file, and their types say `packed<rows>` and
    `#qc.float<f32>`, everywhere in the module. Weights that nothing
    references are dropped.

    Offsets are multiples of `alignment` bytes, in the order in which decoding one token
    streams the weights; tables that are only looked up come first.
    The module gets `qc.weights = {file, bytes}` and `qc.weight_stats`, a
    dictionary `{format, count, parameters, bytes}` for each format, bytes as stored
    in the file.

    `append` names a file that this pass has written for another module, the half that
    a GPU runs: its bytes follow at the next multiple of 4096, which `qc.weights` then
    calls `appended`. Weights that refer to that file are in it already and stay as they
    are packed there.

    Source files are mapped read only and packed block by block, so memory
    does not grow with the model. Values that a format forbids (NaN, infinite,
    code out of range) are errors that name the weight and the element. The file
    appears under its name when it is complete; on failure nothing is left.
  }];
  let options = [
    Option<"rows", "rows", "int64_t", "16",
           "Output rows in the lanes of a vector, in [1, 256]">,
    Option<"alignment", "alignment", "int64_t", "64",
           "Of the weights' offsets, a power of two in [64, 65536]">,
    Option<"output", "output", "std::string", "\"\"", "File to write">,
    Option<"append", "append", "std::string", "\"\"",
           "Packed weights of another module that follow in the same file">,
    Option<"threads", "threads", "int64_t", "0",
           "Threads that pack; 0: as many as the machine runs">,
  ];
  let statistics = [
    Statistic<"numPacked", "packed", "Weights written">,
    Statistic<"numDropped", "dropped", "Unused weights dropped">,
  ];
}

#endif // QC_DIALECT_QC_TRANSFORMS_PASSES_TD
