//===- Llama.cpp - Llama 1 to 3 and what follows them ---------------------===//
//
// Pre-norm decoder: RMSNorm, rotary embedding, grouped-query attention, gated
// MLP. Touvron et al., arXiv 2302.13971; Grattafiori et al., arXiv 2407.21783
// (rope scaling "llama3").
//
//===----------------------------------------------------------------------===//
#include "qc/Frontend/ConfigReader.h"
#include "qc/Frontend/ModelConfig.h"

using namespace qc;

static void configure(ConfigReader &reader, ModelConfig &config) {
  config.qkvBias = config.outputBias = reader.boolean("attention_bias", false);
  config.mlpBias = reader.boolean("mlp_bias", false);
}

extern const Architecture qcLlama;
const Architecture qcLlama = {"LlamaForCausalLM", "llama", 0, configure};
