//===- Mistral.cpp - Mistral 7B -------------------------------------------===//
//
// Llama without biases, all layers with one sliding window. Jiang et al., arXiv
// 2310.06825. A config.json without "sliding_window" means 4096; null means
// none, as in all versions after the first.
//
//===----------------------------------------------------------------------===//
#include "qc/Frontend/ConfigReader.h"
#include "qc/Frontend/ModelConfig.h"

using namespace qc;

static void configure(ConfigReader &reader, ModelConfig &config) {
  if (reader.mentions("sliding_window") && !reader.find("sliding_window"))
    return;
  int64_t window = reader.integer("sliding_window", 1, int64_t(1) << 40, 4096);
  config.windows.assign(config.windows.size(), window);
}

extern const Architecture qcMistral;
const Architecture qcMistral = {"MistralForCausalLM", "mistral", 0, configure};
