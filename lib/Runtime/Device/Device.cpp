//===- Device.cpp - The device that a model was compiled for --------------===//
#include "qc/Runtime/Device/Device.h"

#include "../Vulkan/VulkanDevice.h"

#include <cstring>

using namespace qc::rt;

Device::~Device() = default;

static bool checkModel(const QCDeviceModel &model, DeviceError &error) {
  error.kind = DeviceError::Kind::Unavailable;
  if (model.abi_version != QC_DEVICE_ABI_VERSION) {
    error.message = "the device model has ABI version " +
                    std::to_string(model.abi_version) + ", this runtime " +
                    std::to_string(QC_DEVICE_ABI_VERSION);
    return false;
  }
  if (std::strcmp(model.target, "spirv") != 0) {
    error.message = std::string("this runtime has no devices for target '") +
                    model.target + "'";
    return false;
  }
  return true;
}

std::unique_ptr<Device> qc::rt::createDevice(const QCDeviceModel &model,
                                             const void *weights,
                                             uint64_t weightBytes,
                                             const DeviceOptions &options,
                                             DeviceError &error) {
  if (!checkModel(model, error))
    return nullptr;
  return vulkan::VulkanDevice::create(model, weights, weightBytes, options,
                                      error);
}

bool qc::rt::listDevices(const QCDeviceModel &model,
                         std::vector<DeviceInfo> &devices, DeviceError &error) {
  if (!checkModel(model, error))
    return false;
  vulkan::Api api;
  std::vector<vulkan::PhysicalDevice> found;
  if (!api.open(error) || !vulkan::enumerate(api, model, found, error))
    return false;
  for (const vulkan::PhysicalDevice &device : found)
    devices.push_back(device.info);
  return true;
}
