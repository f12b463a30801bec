//===- LMDialect.td - lm dialect ----------------------------*- tablegen -*-===//
#ifndef QC_DIALECT_LM_IR_LMDIALECT_TD
#define QC_DIALECT_LM_IR_LMDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def LM_Dialect : Dialect {
  let name = "lm";
  let cppNamespace = "::mlir::lm";
  let summary = "The graph of a transformer language model";
  let description = [{
    Operations at the level at which papers draw a decoder: normalization,
    rotary embedding, attention over a KV cache, gated activations, embedding
    and logits. Activations are `tensor<?xHxf32>`: `?` is the number of tokens
    of one step (all of a prompt's chunk, or one).

    An imported model is a module with one function for each decoder layer and
    three entry points over them:

    * `@prefill(ids, position, cache)`: logits of the last token,
    * `@decode`: the same for exactly one token,
    * `@score`: logits of every token.

    Module attributes: `lm.config`, a dictionary with `name`, `architecture`,
    `source` (folder), `vocab_size`, `hidden_size`, `num_layers`,
    `max_positions`; and `lm.tokenizer`, a dictionary with `kind`
    ("tokenizer.json" or "sentencepiece"), `file`, `eos_ids`, `add_bos` and, where
    known, `bos_id`, `bos_token`, `eos_token`, `chat_template`.
  }];
  // Operations of lm have attributes of qc.
  let dependentDialects = ["::mlir::qc::QCDialect"];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
}

def LM_KVCacheType : TypeDef<LM_Dialect, "KVCache"> {
  let mnemonic = "kv_cache";
  let summary = "The keys and values of all positions so far";
  let description = [{
    `!lm.kv_cache<LxHxDxf32>`: L layers of H key/value heads of D elements of f32, f16
    or i8 (with a scale a position and head);
    `!lm.kv_cache<HxDxf32>`: one layer of it. The number of positions is chosen
    at run time.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape,
                        "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getHeads() const { return getShape()[getShape().size() - 2]; }
    int64_t getHeadDim() const { return getShape().back(); }
  }];
}

def LM_RopeScaling : I32EnumAttr<"RopeScaling", "frequency scaling of a rotary embedding", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Linear", 1, "linear">,
    I32EnumAttrCase<"Llama3", 2, "llama3">]> {
  let cppNamespace = "::mlir::lm";
  let genSpecializedAttr = 0;
}

def LM_RopeAttr : AttrDef<LM_Dialect, "Rope"> {
  let mnemonic = "rope";
  let summary = "Frequencies of a rotary position embedding";
  let description = [{
    `inv_freq[i] = theta^(-2i/dim)` (Su et al., arXiv 2104.09864); `linear` divides
    them by `factor`; `llama3` divides the low frequencies, keeps the high ones and
    interpolates between, by wavelength against `original` / `low` and `original` / `high`.

    Examples: `#lm.rope<dim = 64, theta = 1.0e+04>`,
    `#lm.rope<dim = 64, theta = 5.0e+05, scaling = llama3, factor = 8.0, low = 1.0, high = 4.0, original = 8192>`.
  }];
  let parameters = (ins "int64_t":$dim, "::mlir::lm::Real":$theta,
      DefaultValuedParameter<"::mlir::lm::RopeScaling", "::mlir::lm::RopeScaling::None">:$scaling,
      DefaultValuedParameter<"::mlir::lm::Real", "::mlir::lm::Real{1.0}">:$factor,
      DefaultValuedParameter<"::mlir::lm::Real", "::mlir::lm::Real{1.0}">:$low,
      DefaultValuedParameter<"::mlir::lm::Real", "::mlir::lm::Real{4.0}">:$high,
      DefaultValuedParameter<"int64_t", "0">:$original);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// dim / 2 frequencies in radians a position.
    ::llvm::SmallVector<double> getInverseFrequencies() const;
  }];
}

#endif // QC_DIALECT_LM_IR_LMDIALECT_TD
