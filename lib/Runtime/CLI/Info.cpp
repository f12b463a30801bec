//===- Info.cpp - What this file is ---------------------------------------===//
#include "Program.h"

#include <cinttypes>
#include <cstdio>

using namespace qc::rt;
using nlohmann::json;

int Program::info() {
  if (options.json) {
    json all = metadata;
    all["abi"] = {
        {"version", activeModel().abi_version},
        {"cpu_features", activeModel().cpu_features},
        {"target_cpu", activeModel().target_cpu},
        {"vocab_size", activeModel().vocab_size},
        {"hidden_size", activeModel().hidden_size},
        {"num_layers", activeModel().num_layers},
        {"max_positions", activeModel().max_positions},
        {"max_tokens", activeModel().max_tokens},
        {"arena_bytes", activeModel().arena_bytes},
        {"kv_bytes_per_token", activeModel().kv_bytes_per_token},
        {"weights_bytes", activeModel().weights_bytes},
        {"gpu_layers", activeModel().gpu_layers},
        {"device_weights_offset", activeModel().device_weights_offset},
        {"num_kernels", activeModel().num_kernels},
        {"num_format_tests", activeModel().num_format_tests}};
    for (int64_t i = 0; i < qc_model.num_versions; ++i)
      all["abi"]["versions"].push_back(qc_model.versions[i]->target_cpu);
    all["missing_cpu_features"] = missingFeatures(activeModel());
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
              activeModel().weights_bytes);
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
              activeModel().max_positions, activeModel().kv_bytes_per_token,
              text("kv_cache").c_str());
  if (tokenizerInfo.present)
    std::printf("tokenizer        %s%s\n",
                tokenizerInfo.sentencePiece ? "sentencepiece"
                                            : "tokenizer.json",
                tokenizerInfo.chatTemplate.empty() ? "" : ", chat template");
  else
    std::printf("tokenizer        none\n");
  if (int64_t layers = activeModel().gpu_layers)
    std::printf(
        "placement        %" PRId64 " layers on the CPU, %" PRId64
        " and the head on a GPU (%s): %" PRId64 " bytes of weights, %" PRIu64
        " of KV cache a token\n",
        activeModel().num_layers - layers, layers, activeModel().device->target,
        activeModel().weights_bytes - activeModel().device_weights_offset,
        activeModel().device->kv_bytes_per_position);
  std::printf("compiled for     %s (%s)\n", activeModel().target_cpu,
              activeModel().cpu_features);
  if (qc_model.num_versions) {
    std::printf("code versions    ");
    for (int64_t i = 0; i < qc_model.num_versions; ++i)
      std::printf("%s%s", i ? ", " : "", qc_model.versions[i]->target_cpu);
    std::printf(": %s runs here\n", activeModel().target_cpu);
  }
  if (std::string missing = missingFeatures(activeModel()); !missing.empty())
    std::printf("this CPU lacks   %s\n", missing.c_str());
  if (metadata.value("reproducible", false))
    std::printf(
        "arithmetic       reproducible: the same bits on every target\n");
  if (std::string backend = text("prefill_backend"); !backend.empty())
    std::printf("prompts          by %s, where it is installed\n",
                backend.c_str());
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

int Program::listDevices() {
  std::vector<DeviceInfo> devices;
  DeviceError error;
  if (!qc::rt::listDevices(*qc_model.device, devices, error))
    return fail(UnsupportedCPU, error.message);
  if (options.json) {
    json list = json::array();
    for (const DeviceInfo &device : devices)
      list.push_back({{"name", device.name},
                      {"type", device.type},
                      {"driver", device.driver},
                      {"memory_bytes", device.memoryBytes},
                      {"unsuitable", device.unsuitable}});
    std::puts(list.dump(2, ' ', false, json::error_handler_t::replace).c_str());
    return Success;
  }
  for (size_t i = 0; i < devices.size(); ++i)
    std::printf("%zu  %s (%s, %s, %.1f GB)%s%s\n", i, devices[i].name.c_str(),
                devices[i].type.c_str(), devices[i].driver.c_str(),
                static_cast<double>(devices[i].memoryBytes) / 1e9,
                devices[i].unsuitable.empty() ? ""
                                              : ": cannot run this model: ",
                devices[i].unsuitable.c_str());
  return Success;
}
