//===- Qwen3.cpp - Qwen 3, dense ------------------------------------------===//
//
// Llama with RMSNorm of every head of q and k before the rotary embedding. Yang
// et al., arXiv 2505.09388. head_dim is 128 unless config.json says otherwise.
//
//===----------------------------------------------------------------------===//
#include "QwenWindows.h"

using namespace qc;

static void configure(ConfigReader &reader, ModelConfig &config) {
  config.qkNorm = true;
  config.qkvBias = config.outputBias = reader.boolean("attention_bias", false);
  readQwenWindows(reader, config);
}

extern const Architecture qcQwen3;
const Architecture qcQwen3 = {"Qwen3ForCausalLM", "qwen3", 128, configure};
