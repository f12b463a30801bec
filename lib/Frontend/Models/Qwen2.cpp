//===- Qwen2.cpp - Qwen 1.5, 2 and 2.5 ------------------------------------===//
//
// Llama with biases of q, k and v. Yang et al., arXiv 2407.10671.
//
//===----------------------------------------------------------------------===//
#include "QwenWindows.h"

using namespace qc;

static void configure(ConfigReader &reader, ModelConfig &config) {
  config.qkvBias = true;
  readQwenWindows(reader, config);
}

extern const Architecture qcQwen2;
const Architecture qcQwen2 = {"Qwen2ForCausalLM", "qwen2", 0, configure};
