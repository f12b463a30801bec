//===- Info.cpp - What this file is ---------------------------------------===//
#include "Program.h"

#include <cinttypes>
#include <cstdio>

using namespace qc::rt;
using nlohmann::json;

int Program::info() {
  if (options.json) {
    json all = metadata;
    all["abi"] = {{"version", qc_model.abi_version},
                  {"cpu_features", qc_model.cpu_features},
                  {"target_cpu", qc_model.target_cpu},
                  {"vocab_size", qc_model.vocab_size},
                  {"hidden_size", qc_model.hidden_size},
                  {"num_layers", qc_model.num_layers},
                  {"max_positions", qc_model.max_positions},
                  {"max_tokens", qc_model.max_tokens},
                  {"arena_bytes", qc_model.arena_bytes},
                  {"kv_bytes_per_token", qc_model.kv_bytes_per_token},
                  {"weights_bytes", qc_model.weights_bytes},
                  {"num_kernels", qc_model.num_kernels},
                  {"num_format_tests", qc_model.num_format_tests}};
    all["missing_cpu_features"] = missingFeatures(qc_model);
    std::puts(all.dump(2, ' ', false, json::error_handler_t::replace).c_str());
    return Success;
  }
  auto text = [&](const char *key) {
    return metadata.value(key, std::string());
  };
  auto number = [&](const json &object, const char *key) {
    return object.value(key, int64_t(0));
  };
  std::printf("model            %s (%s)\n", text("model").c_str(),
              text("architecture").c_str());
  std::printf("parameters       %" PRId64 "\n", number(metadata, "parameters"));
  std::printf("weights          %s, %.3f bits per weight, %" PRId64 " bytes\n",
              text("format").c_str(), metadata.value("bits_per_weight", 0.0),
              qc_model.weights_bytes);
  if (metadata.contains("weights") && metadata["weights"].is_array())
    for (const json &row : metadata["weights"])
      std::printf(
          "  %-48s %4" PRId64 " tensors %12" PRId64 " parameters %7.3f bits\n",
          row.value("format", std::string()).c_str(), number(row, "count"),
          number(row, "parameters"), row.value("bits_per_weight", 0.0));
  std::printf("read per token   %" PRId64 " bytes\n",
              number(metadata, "bytes_per_token"));
  std::printf("context          up to %" PRId64 " tokens, %" PRId64
              " bytes of KV cache each (%s)\n",
              qc_model.max_positions, qc_model.kv_bytes_per_token,
              text("kv_cache").c_str());
  if (tokenizerInfo.present)
    std::printf("tokenizer        %s%s\n",
                tokenizerInfo.sentencePiece ? "sentencepiece"
                                            : "tokenizer.json",
                tokenizerInfo.chatTemplate.empty() ? "" : ", chat template");
  else
    std::printf("tokenizer        none\n");
  std::printf("compiled for     %s (%s)\n", qc_model.target_cpu,
              qc_model.cpu_features);
  if (std::string missing = missingFeatures(qc_model); !missing.empty())
    std::printf("this CPU lacks   %s\n", missing.c_str());
  if (std::string recipe = text("quantization"); !recipe.empty())
    std::printf("quantization     %s\n", recipe.c_str());
  if (std::string pipeline = text("pipeline"); !pipeline.empty())
    std::printf("pipeline         %s\n", pipeline.c_str());
  if (metadata.contains("tuning") && metadata["tuning"].is_object()) {
    const json &tuning = metadata["tuning"];
    std::string machine = tuning.value("measured_on", std::string());
    std::printf("tuning           %s%s\n",
                tuning.value("kernels", std::string()).c_str(),
                machine.empty() ? "" : (", measured on " + machine).c_str());
  }
  std::printf("compiled by      qc %s\n", text("qc_version").c_str());
  return Success;
}
