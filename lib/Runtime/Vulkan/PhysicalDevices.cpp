//===- PhysicalDevices.cpp - Which device ---------------------------------===//
#include "Loader.h"

#include "../Device/Common.h"

#include <algorithm>
#include <cstring>

using namespace qc::rt;
using namespace qc::rt::vulkan;

static const char *typeName(VkPhysicalDeviceType type) {
  switch (type) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return "discrete GPU";
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    return "integrated GPU";
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    return "virtual GPU";
  case VK_PHYSICAL_DEVICE_TYPE_CPU:
    return "CPU";
  default:
    return "other";
  }
}

int PhysicalDevice::rank() const {
  switch (properties.deviceType) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return 4;
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    return 3;
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    return 2;
  case VK_PHYSICAL_DEVICE_TYPE_CPU:
    return 1;
  default:
    return 0;
  }
}

const QCDeviceCode *vulkan::chooseCode(const QCDeviceModel &model,
                                       uint32_t features) {
  for (uint64_t i = 0; i < model.num_codes; ++i) {
    const QCDeviceCode &code = model.codes[i];
    if (code.kind == QC_CODE_SPIRV && (code.features & ~features) == 0)
      return &code;
  }
  return nullptr;
}

static std::string missingFeatures(const QCDeviceModel &model,
                                   uint32_t features) {
  static const std::pair<uint32_t, const char *> names[] = {
      {QC_FEATURE_INTEGER_DOT_PRODUCT, "integer dot product"},
      {QC_FEATURE_FLOAT16, "16-bit float arithmetic"},
      {QC_FEATURE_STORAGE16, "16-bit storage"},
      {QC_FEATURE_STORAGE8, "8-bit storage"},
      {QC_FEATURE_SUBGROUP_ARITHMETIC, "subgroup arithmetic"},
      {QC_FEATURE_COOPERATIVE_MATRIX, "cooperative matrices"}};
  uint32_t needed = 0;
  for (uint64_t i = 0; i < model.num_codes; ++i)
    if (model.codes[i].kind == QC_CODE_SPIRV)
      needed = model.codes[i].features; // the last one needs least
  std::string text;
  for (auto [bit, name] : names)
    if (needed & ~features & bit)
      text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

/// Why the device cannot run the model; empty if it can.
static std::string checkLimits(const QCDeviceModel &model,
                               const PhysicalDevice &device) {
  const VkPhysicalDeviceLimits &limits = device.properties.limits;
  auto version = device.properties.apiVersion;
  if (version < VK_API_VERSION_1_1)
    return "Vulkan " + std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
           std::to_string(VK_API_VERSION_MINOR(version)) +
           ", expected 1.1 (update the driver)";
  if (!chooseCode(model, device.features))
    return "it lacks " + missingFeatures(model, device.features);
  for (uint64_t i = 0; i < model.num_kernels; ++i) {
    const QCDeviceKernel &kernel = model.kernels[i];
    if (kernel.num_buffers > limits.maxPerStageDescriptorStorageBuffers)
      return std::to_string(limits.maxPerStageDescriptorStorageBuffers) +
             " storage buffers a kernel, expected " +
             std::to_string(kernel.num_buffers);
    if (kernel.workgroup_size[0] > limits.maxComputeWorkGroupSize[0] ||
        kernel.workgroup_size[0] > limits.maxComputeWorkGroupInvocations)
      return "workgroups of " +
             std::to_string(limits.maxComputeWorkGroupInvocations) +
             " threads, expected " + std::to_string(kernel.workgroup_size[0]);
  }
  if (limits.minStorageBufferOffsetAlignment > QC_DEVICE_ALIGNMENT)
    return "buffers aligned to " +
           std::to_string(limits.minStorageBufferOffsetAlignment) +
           " bytes, expected " + std::to_string(QC_DEVICE_ALIGNMENT);
  return "";
}

static bool hasExtension(const std::vector<VkExtensionProperties> &extensions,
                         const char *name) {
  return std::any_of(extensions.begin(), extensions.end(), [&](const auto &e) {
    return std::strcmp(e.extensionName, name) == 0;
  });
}

static void inspect(const Api &api, const QCDeviceModel &model,
                    PhysicalDevice &device) {
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {};
  host.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
  VkPhysicalDeviceMaintenance3Properties maintenance = {};
  maintenance.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
  VkPhysicalDeviceProperties2 properties = {};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &maintenance;

  uint32_t count = 0;
  api.EnumerateDeviceExtensionProperties(device.handle, nullptr, &count,
                                         nullptr);
  std::vector<VkExtensionProperties> extensions(count);
  api.EnumerateDeviceExtensionProperties(device.handle, nullptr, &count,
                                         extensions.data());
  device.importsHostMemory =
      hasExtension(extensions, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  if (device.importsHostMemory)
    maintenance.pNext = &host;
  api.GetPhysicalDeviceProperties2(device.handle, &properties);
  device.properties = properties.properties;
  // Others would read weights over the bus. And where NVIDIA's driver (580)
  // does not take a mapped file, later allocations of host memory fail, too.
  VkPhysicalDeviceType type = device.properties.deviceType;
  if (type != VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU &&
      type != VK_PHYSICAL_DEVICE_TYPE_CPU)
    device.importsHostMemory = false;
  device.maxAllocation = maintenance.maxMemoryAllocationSize;
  if (device.importsHostMemory)
    device.hostPointerAlignment = host.minImportedHostPointerAlignment;

  api.GetPhysicalDeviceMemoryProperties(device.handle, &device.memory);
  device.info.name = device.properties.deviceName;
  device.info.type = typeName(device.properties.deviceType);
  device.info.driver =
      "Vulkan " +
      std::to_string(VK_API_VERSION_MAJOR(device.properties.apiVersion)) + "." +
      std::to_string(VK_API_VERSION_MINOR(device.properties.apiVersion));
  for (uint32_t i = 0; i < device.memory.memoryHeapCount; ++i)
    if (device.memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      device.info.memoryBytes = std::max<uint64_t>(
          device.info.memoryBytes, device.memory.memoryHeaps[i].size);

  if (device.properties.apiVersion >= VK_API_VERSION_1_3 &&
      api.version >= VK_API_VERSION_1_3) {
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {};
    dot.sType =
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
    VkPhysicalDeviceFeatures2 features = {};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features.pNext = &dot;
    api.GetPhysicalDeviceFeatures2(device.handle, &features);
    if (dot.shaderIntegerDotProduct)
      device.features |= QC_FEATURE_INTEGER_DOT_PRODUCT;
  }

  api.GetPhysicalDeviceQueueFamilyProperties(device.handle, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  api.GetPhysicalDeviceQueueFamilyProperties(device.handle, &count,
                                             families.data());
  auto family =
      std::find_if(families.begin(), families.end(), [](const auto &f) {
        return (f.queueFlags & VK_QUEUE_COMPUTE_BIT) && f.queueCount > 0;
      });
  device.queueFamily = static_cast<uint32_t>(family - families.begin());
  device.info.unsuitable = family == families.end()
                               ? "it has no compute queue"
                               : checkLimits(model, device);
}

bool vulkan::enumerate(const Api &api, const QCDeviceModel &model,
                       std::vector<PhysicalDevice> &devices,
                       DeviceError &error) {
  uint32_t count = 0;
  VkResult result = api.EnumeratePhysicalDevices(api.instance, &count, nullptr);
  std::vector<VkPhysicalDevice> handles(count);
  if (result == VK_SUCCESS && count)
    result = api.EnumeratePhysicalDevices(api.instance, &count, handles.data());
  if ((result != VK_SUCCESS && result != VK_INCOMPLETE) || count == 0) {
    error = {DeviceError::Kind::Unavailable,
             "no Vulkan device was found (driver installed? permissions of "
             "/dev/dri?)"};
    return false;
  }
  for (VkPhysicalDevice handle : handles) {
    PhysicalDevice device;
    device.handle = handle;
    inspect(api, model, device);
    devices.push_back(std::move(device));
  }
  return true;
}

const PhysicalDevice *vulkan::choose(const std::vector<PhysicalDevice> &devices,
                                     const std::string &wanted,
                                     DeviceError &error) {
  std::vector<DeviceInfo> infos;
  std::vector<int> ranks;
  for (const PhysicalDevice &device : devices) {
    infos.push_back(device.info);
    ranks.push_back(device.rank());
  }
  std::optional<size_t> found = chooseDevice(infos, ranks, wanted, error);
  return found ? &devices[*found] : nullptr;
}
