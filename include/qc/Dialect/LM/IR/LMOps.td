//===- LMOps.td - lm operations -----------------------------*- tablegen -*-===//
#ifndef QC_DIALECT_LM_IR_LMOPS_TD
#define QC_DIALECT_LM_IR_LMOPS_TD

include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "qc/Dialect/LM/IR/LMDialect.td"
include "qc/Dialect/QC/IR/QCAttrs.td"

class LM_Op<string mnemonic, list<Trait> traits = []>
    : Op<LM_Dialect, mnemonic, traits>;

def LM_Activations : 2DTensorOf<[F32]>;
def LM_Vector : 1DTensorOf<[F32]>;
def LM_Ids : 1DTensorOf<[I32]>;

def LM_EmbeddingOp : LM_Op<"embedding", [Pure]> {
  let summary = "Looks up the embeddings of tokens";
  let description = [{
    `result[i] = table[ids[i]]`. C1: result is [ids, columns of table].
  }];
  let arguments = (ins LM_Ids:$ids, LM_Activations:$table);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` `(` type($ids) `,` type($table) `)` `->` type($result)";
  let hasVerifier = 1;
}

def LM_RMSNormOp : LM_Op<"rms_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Root mean square normalization";
  let description = [{
    `x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich, arXiv 1910.07467) over
    consecutive groups of as many columns as `weight` has values: a whole row,
    or each head where `weight` is one head long.

    C1: the columns are a multiple of the weight's length. C2: eps > 0.
  }];
  let arguments = (ins LM_Activations:$input, LM_Vector:$weight, F64Attr:$eps);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$input `,` $weight `eps` $eps attr-dict `:` type($input) `,` type($weight)";
  let hasVerifier = 1;
}

def LM_LayerNormOp : LM_Op<"layer_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Layer normalization";
  let description = [{
    `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias` of each row (Ba et al.,
    arXiv 1607.06450).

    C1: weight and bias have as many values as the input has columns. C2: eps > 0.
  }];
  let arguments = (ins LM_Activations:$input, LM_Vector:$weight, LM_Vector:$bias, F64Attr:$eps);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$input `,` $weight `,` $bias `eps` $eps attr-dict `:` type($input) `,` type($weight) `,` type($bias)";
  let hasVerifier = 1;
}

def LM_LinearOp : LM_Op<"linear", [Pure]> {
  let summary = "Linear layer, y = x W^T + b";
  let description = [{
    C1: W is [N, K], x [?, K], b [N], y [?, N].
  }];
  let arguments = (ins LM_Activations:$input, LM_Activations:$weight, Optional<LM_Vector>:$bias);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$input `,` $weight (`bias` `(` $bias^ `)`)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def LM_LogitsOp : LM_Op<"logits", [Pure]> {
  let summary = "Scores of every token of the vocabulary";
  let description = [{
    `hidden E^T`. C1: E is [V, K], hidden [?, K], the result [?, V].
  }];
  let arguments = (ins LM_Activations:$hidden, LM_Activations:$weight);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$hidden `,` $weight attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def LM_LastTokenOp : LM_Op<"last_token", [Pure]> {
  let summary = "The row of the last token";
  let description = [{ C1: result is [1, columns of input]. }];
  let arguments = (ins LM_Activations:$input);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def LM_GatedActivationOp : LM_Op<"gated_activation",
    [Pure, AllTypesMatch<["gate", "up", "result"]>]> {
  let summary = "act(gate) * up, elementwise";
  let description = [{
    The gated linear unit of Shazeer, arXiv 2002.05202, with its two projections
    as operands.
  }];
  let arguments = (ins LM_Activations:$gate, LM_Activations:$up, QC_GateKindAttr:$activation);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$activation $gate `,` $up attr-dict `:` type($result)";
}

def LM_RotaryTableOp : LM_Op<"rotary_table", [Pure]> {
  let summary = "Cosines and sines of the step's positions";
  let description = [{
    Row i holds `cos(p * inv_freq)` in its first half and `sin(p * inv_freq)` in
    its second, p = position + i, one row for each token of `ids`.

    C1: the result is [ids, dim].
  }];
  let arguments = (ins LM_Ids:$ids, Index:$position, LM_RopeAttr:$rope);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$ids `at` $position $rope attr-dict `:` type($ids) `->` type($result)";
  let hasVerifier = 1;
}

def LM_RotaryOp : LM_Op<"rotary", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotates each head by its position";
  let description = [{
    For each head of `head_dim` columns and table of `dim` <= head_dim columns:
    `(a, b) -> (a cos - b sin, b cos + a sin)` on the pairs (i, i + dim/2),
    i < dim/2 (Su et al., arXiv 2104.09864, in the half-split order of
    GPT-NeoX). Columns from dim on pass unchanged.

    C1: the input's columns are a multiple of head_dim. C2: the table's columns
    are even and at most head_dim.
  }];
  let arguments = (ins LM_Activations:$input, LM_Activations:$table, I64Attr:$head_dim);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = "$input `,` $table `head_dim` $head_dim attr-dict `:` type($input) `,` type($table)";
  let hasVerifier = 1;
}

def LM_CacheLayerOp : LM_Op<"cache_layer", [Pure]> {
  let summary = "One layer of the KV cache";
  let description = [{ C1: the layer exists. C2: heads, head size and element type agree. }];
  let arguments = (ins LM_KVCacheType:$cache, I64Attr:$layer);
  let results = (outs LM_KVCacheType:$result);
  let assemblyFormat = "$cache `[` $layer `]` attr-dict `:` type($cache) `->` type($result)";
  let hasVerifier = 1;
}

def LM_AttentionOp : LM_Op<"attention", [AllTypesMatch<["key", "value"]>]> {
  let summary = "Appends keys and values to the cache and attends over it";
  let description = [{
    Writes `key` and `value` at `position`, `position` + 1, ... of `cache`, then for
    each token i (at p = position + i) and head h:
    `softmax(scale * q_h K^T) V` over positions (p - window, p], or [0, p] without
    window; query head h reads key/value head h / (heads / kv heads)
    (Ainslie et al., arXiv 2305.13245).

    C1: query columns are a multiple of key columns; key and value columns are
    heads x head size of the cache. C2: the cache is one layer. C3: window > 0.
  }];
  let arguments = (ins LM_Activations:$query, LM_Activations:$key, LM_Activations:$value,
                       Arg<LM_KVCacheType, "", [MemRead, MemWrite]>:$cache,
                       Index:$position, F64Attr:$scale, OptionalAttr<I64Attr>:$window);
  let results = (outs LM_Activations:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $cache `at` $position `scale` $scale
    (`window` $window^)? attr-dict `:` type($query) `,` type($key) `,` type($cache)
    `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // QC_DIALECT_LM_IR_LMOPS_TD
