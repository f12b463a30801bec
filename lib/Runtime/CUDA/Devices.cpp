//===- Devices.cpp - Which device -----------------------------------------===//
#include "Driver.h"

#include <algorithm>

using namespace qc::rt;
using namespace qc::rt::cuda;

bool cuda::canRun(const QCDeviceCode &code, uint32_t arch) {
  if (code.kind == QC_CODE_CUBIN)
    return code.arch / 10 == arch / 10 && code.arch <= arch;
  return code.kind == QC_CODE_PTX && code.arch <= arch;
}

/// "9.0, 8.0 or later": the architectures of cubins and of PTX.
static std::string codesOf(const QCDeviceModel &model) {
  std::string text;
  for (uint64_t i = 0; i < model.num_codes; ++i) {
    const QCDeviceCode &code = model.codes[i];
    if (code.kind != QC_CODE_PTX && code.kind != QC_CODE_CUBIN)
      continue;
    bool ptx = code.kind == QC_CODE_PTX;
    text += (text.empty() ? "" : ", ") + std::to_string(code.arch / 10) + "." +
            std::to_string(code.arch % 10) + (ptx ? " or later" : "");
  }
  return text.empty() ? "none" : text;
}

static int attribute(const Api &api, CUdevice device, int which) {
  int value = 0;
  if (api.DeviceGetAttribute(&value, static_cast<CUdevice_attribute>(which),
                             device) != CUDA_SUCCESS)
    return 0;
  return value;
}

/// Why the device cannot run the model; empty if it can.
static std::string checkDevice(const Api &api, const QCDeviceModel &model,
                               const PhysicalDevice &device) {
  bool found = false;
  for (uint64_t i = 0; i < model.num_codes; ++i)
    found |= canRun(model.codes[i], device.arch);
  if (!found)
    return "it has compute capability " + std::to_string(device.arch / 10) +
           "." + std::to_string(device.arch % 10) +
           ", the model's code is for " + codesOf(model) +
           " (qc-compile --gpu-arch)";
  auto threads = static_cast<uint64_t>(
      attribute(api, device.handle, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK));
  auto shared = static_cast<uint32_t>(
      attribute(api, device.handle,
                CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  for (uint64_t i = 0; i < model.num_kernels; ++i) {
    const QCDeviceKernel &kernel = model.kernels[i];
    uint64_t wanted = uint64_t(kernel.workgroup_size[0]) *
                      kernel.workgroup_size[1] * kernel.workgroup_size[2];
    if (wanted > threads)
      return "blocks of " + std::to_string(threads) + " threads, expected " +
             std::to_string(wanted);
    if (kernel.shared_bytes > shared)
      return std::to_string(shared) + " bytes of shared memory, expected " +
             std::to_string(kernel.shared_bytes);
  }
  return "";
}

static void inspect(const Api &api, const QCDeviceModel &model,
                    PhysicalDevice &device) {
  char name[256] = {};
  if (api.DeviceGetName(name, sizeof(name) - 1, device.handle) == CUDA_SUCCESS)
    device.info.name = name;
  size_t bytes = 0;
  if (api.DeviceTotalMem(&bytes, device.handle) == CUDA_SUCCESS)
    device.info.memoryBytes = bytes;
  int major = attribute(api, device.handle,
                        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  int minor = attribute(api, device.handle,
                        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  device.arch = static_cast<uint32_t>(10 * major + minor);
  for (int i = 0; i < 3; ++i)
    device.maxGrid[i] = static_cast<uint32_t>(
        attribute(api, device.handle, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + i));
  device.info.type = "compute capability " + std::to_string(major) + "." +
                     std::to_string(minor);
  device.info.driver = "CUDA " + versionText(api.version);
  device.info.unsuitable = checkDevice(api, model, device);
}

bool cuda::enumerate(const Api &api, const QCDeviceModel &model,
                     std::vector<PhysicalDevice> &devices, DeviceError &error) {
  int count = 0;
  CUresult result = api.DeviceGetCount(&count);
  if (result != CUDA_SUCCESS || count == 0) {
    error = {DeviceError::Kind::Unavailable,
             result == CUDA_SUCCESS || result == CUDA_ERROR_NO_DEVICE
                 ? "no NVIDIA GPU was found (CUDA_VISIBLE_DEVICES? permissions "
                   "of /dev/nvidia*?)"
                 : "NVIDIA GPUs cannot be listed: " + api.describe(result)};
    return false;
  }
  for (int i = 0; i < count; ++i) {
    PhysicalDevice device;
    result = api.DeviceGet(&device.handle, i);
    if (result != CUDA_SUCCESS) {
      error = {DeviceError::Kind::Unavailable,
               "GPU " + std::to_string(i) + ": " + api.describe(result)};
      return false;
    }
    inspect(api, model, device);
    devices.push_back(std::move(device));
  }
  return true;
}
