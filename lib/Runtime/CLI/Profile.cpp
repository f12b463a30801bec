//===- Profile.cpp - Where the time of a step goes on a device ------------===//
#include "Program.h"

#include <algorithm>
#include <cstdio>

using namespace qc::rt;
using nlohmann::json;

/// Kernels by the time they take of a step, most first.
static void sortByTime(DeviceProfile &profile) {
  auto key = [](const KernelProfile &kernel) {
    return std::pair(-kernel.microseconds *
                         static_cast<double>(kernel.launches),
                     kernel.name);
  };
  std::sort(profile.kernels.begin(), profile.kernels.end(),
            [&](const KernelProfile &a, const KernelProfile &b) {
              return key(a) < key(b);
            });
}

/// Weights that a launch reads to the end; an embedding looks up rows.
static uint64_t bytesOf(const KernelProfile &kernel) {
  return kernel.name.rfind("embedding", 0) == 0 ? 0 : kernel.weightBytes;
}

static json toJson(const DeviceProfile &profile, int64_t tokens) {
  json kernels = json::array();
  for (const KernelProfile &kernel : profile.kernels)
    kernels.push_back({{"name", kernel.name},
                       {"launches", kernel.launches},
                       {"microseconds", kernel.microseconds},
                       {"bytes", bytesOf(kernel)}});
  return {{"tokens", tokens},
          {"microseconds", profile.microseconds},
          {"kernels", std::move(kernels)}};
}

static void print(const char *step, const DeviceProfile &profile,
                  int64_t tokens) {
  std::printf("%s of %lld tokens: %.1f us\n", step,
              static_cast<long long>(tokens), profile.microseconds);
  double sum = 0;
  for (const KernelProfile &kernel : profile.kernels) {
    double all = kernel.microseconds * static_cast<double>(kernel.launches);
    sum += all;
    std::printf("  %9.1f us = %5llu x %8.2f us", all,
                static_cast<unsigned long long>(kernel.launches),
                kernel.microseconds);
    if (uint64_t bytes = bytesOf(kernel); bytes >= 65536)
      std::printf("  %8.1f GB/s",
                  static_cast<double>(bytes) / (1e3 * kernel.microseconds));
    else
      std::printf("               ");
    std::printf("  %s\n", kernel.name.c_str());
  }
  std::printf("  %9.1f us in all kernels\n", sum);
}

/// The prompt's step first; decoding then has that many positions behind it.
int Program::runProfile() {
  int64_t prompt, tokens;
  if (int code = benchSizes(prompt, tokens))
    return code;
  prompt = std::min(prompt, activeModel().max_tokens);
  int64_t position = tokens - 1;
  DeviceError error;
  auto device = openDevice(std::max(prompt, position + 1), error);
  if (!device)
    return failDevice(error);
  std::vector<int32_t> ids(static_cast<size_t>(prompt));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(
        (i * 7919 + 1) % static_cast<size_t>(activeModel().vocab_size));
  // Hidden states from the CPU: any numbers do.
  if (float *input = device->input())
    std::fill_n(input,
                static_cast<size_t>(prompt) *
                    static_cast<size_t>(qc_model.device->input_columns),
                0.5f);
  DeviceProfile prefill, decode;
  int step = stepFor(*qc_model.device, QC_STEP_PREFILL, ids.size());
  if (!device->profile(step, ids, 0, prefill, error) ||
      !device->profile(QC_STEP_DECODE, std::span(ids).first(1), position,
                       decode, error))
    return failDevice(error);
  sortByTime(prefill);
  sortByTime(decode);
  if (options.json) {
    std::puts(json{
        {"model", metadata.value("model", std::string())},
        {"format", metadata.value("format", std::string())},
        {"device", device->info().name},
        {"bytes_per_token", metadata.value("bytes_per_token", 0.0)},
        {"steps",
         {{"prefill", toJson(prefill, prompt)}, {"decode", toJson(decode, 1)}}}}
                  .dump()
                  .c_str());
    return Success;
  }
  std::printf("%s\n", device->info().name.c_str());
  print("prefill", prefill, prompt);
  std::printf("behind %lld tokens, ", static_cast<long long>(position));
  print("decode", decode, 1);
  return Success;
}
