//===- Device.cpp - The device that a model was compiled for --------------===//
#include "qc/Runtime/Device/Device.h"

#include "../CUDA/CUDADevice.h"
#include "../Vulkan/VulkanDevice.h"

#include <string_view>

using namespace qc::rt;

Device::~Device() = default;

bool Device::profile(int, std::span<const int32_t>, int64_t, DeviceProfile &,
                     DeviceError &error) {
  error = {DeviceError::Kind::Unavailable,
           "device '" + info().name + "' has no clock for its kernels here"};
  return false;
}

static bool checkModel(const QCDeviceModel &model, DeviceError &error) {
  error.kind = DeviceError::Kind::Unavailable;
  if (model.abi_version != QC_DEVICE_ABI_VERSION) {
    error.message = "the device model has ABI version " +
                    std::to_string(model.abi_version) + ", this runtime " +
                    std::to_string(QC_DEVICE_ABI_VERSION);
    return false;
  }
  std::string_view target = model.target;
  if (target != "spirv" && target != "nvptx") {
    error.message = std::string("this runtime has no devices for target '") +
                    model.target + "'";
    return false;
  }
  return true;
}

static bool isCUDA(const QCDeviceModel &model) {
  return std::string_view(model.target) == "nvptx";
}

std::unique_ptr<Device> qc::rt::createDevice(const QCDeviceModel &model,
                                             const void *weights,
                                             uint64_t weightBytes,
                                             const DeviceOptions &options,
                                             DeviceError &error) {
  if (!checkModel(model, error))
    return nullptr;
  auto *create =
      isCUDA(model) ? cuda::CUDADevice::create : vulkan::VulkanDevice::create;
  return create(model, weights, weightBytes, options, error);
}

template <typename Api, typename PhysicalDevice, typename Enumerate>
static bool list(Enumerate enumerate, const QCDeviceModel &model,
                 std::vector<DeviceInfo> &devices, DeviceError &error) {
  Api api;
  std::vector<PhysicalDevice> found;
  if (!api.open(error) || !enumerate(api, model, found, error))
    return false;
  for (const PhysicalDevice &device : found)
    devices.push_back(device.info);
  return true;
}

bool qc::rt::listDevices(const QCDeviceModel &model,
                         std::vector<DeviceInfo> &devices, DeviceError &error) {
  if (!checkModel(model, error))
    return false;
  if (isCUDA(model))
    return list<cuda::Api, cuda::PhysicalDevice>(cuda::enumerate, model,
                                                 devices, error);
  return list<vulkan::Api, vulkan::PhysicalDevice>(vulkan::enumerate, model,
                                                   devices, error);
}
