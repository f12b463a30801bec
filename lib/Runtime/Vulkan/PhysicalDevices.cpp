//===- PhysicalDevices.cpp - Which device ---------------------------------===//
#include "CooperativeMatrix.h"

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

static bool runs(const PhysicalDevice &device, const QCDeviceCode &code) {
  if (code.kind != QC_CODE_SPIRV || (code.features & ~device.features))
    return false;
  if (!(code.features & QC_FEATURE_COOPERATIVE_MATRIX))
    return true;
  uint32_t size = code.arch & 255;
  return size >= device.minSubgroup && size <= device.maxSubgroup &&
         std::any_of(device.cooperativeShapes.begin(),
                     device.cooperativeShapes.end(), [&](const auto &shape) {
                       return code.arch == QC_COOPERATIVE_SHAPE(
                                               shape.m, shape.n, shape.k, size);
                     });
}

const QCDeviceCode *vulkan::chooseCode(const QCDeviceModel &model,
                                       const PhysicalDevice &device) {
  for (uint64_t i = 0; i < model.num_codes; ++i)
    if (runs(device, model.codes[i]))
      return &model.codes[i];
  return nullptr;
}

/// Of QCDeviceCode.arch.
static std::string shapeName(uint32_t arch) {
  return "cooperative matrices of " + std::to_string(arch >> 24) + "x" +
         std::to_string(arch >> 16 & 255) + "x" +
         std::to_string(arch >> 8 & 255);
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
  uint32_t needed = 0, shape = 0;
  for (uint64_t i = 0; i < model.num_codes; ++i)
    if (model.codes[i].kind == QC_CODE_SPIRV) {
      needed = model.codes[i].features; // the last one needs least
      shape = model.codes[i].arch;
    }
  std::string text;
  for (auto [bit, name] : names)
    if (needed & ~features & bit)
      text += (text.empty() ? "" : ", ") + std::string(name);
  if (text.empty() && shape)
    text = shapeName(shape) + " in subgroups of " + std::to_string(shape & 255);
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
  if (!chooseCode(model, device))
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
    if (kernel.subgroup_size &&
        kernel.workgroup_size[0] / kernel.subgroup_size > device.maxSubgroups)
      return "workgroups of " + std::to_string(device.maxSubgroups) +
             " subgroups, expected " +
             std::to_string(kernel.workgroup_size[0] / kernel.subgroup_size);
  }
  if (limits.minStorageBufferOffsetAlignment > QC_DEVICE_ALIGNMENT)
    return "buffers aligned to " +
           std::to_string(limits.minStorageBufferOffsetAlignment) +
           " bytes, expected " + std::to_string(QC_DEVICE_ALIGNMENT);
  return "";
}

/// The preferred model before it, if the device runs that.
static const QCDeviceModel *chooseModel(const QCDeviceModel &model,
                                        const PhysicalDevice &device) {
  for (const QCDeviceModel *next = model.preferred; next;
       next = next->preferred)
    if (checkLimits(*next, device).empty())
      return next;
  return &model;
}

static bool hasExtension(const std::vector<VkExtensionProperties> &extensions,
                         const char *name) {
  return std::any_of(extensions.begin(), extensions.end(), [&](const auto &e) {
    return std::strcmp(e.extensionName, name) == 0;
  });
}

static bool hasSubgroupArithmetic(const VkPhysicalDeviceSubgroupProperties &p) {
  constexpr VkSubgroupFeatureFlags wanted =
      VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
  return (p.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
         (p.supportedOperations & wanted) == wanted;
}

/// What kernels may use of Vulkan 1.3 and later extensions.
static void
inspectFeatures(const Api &api,
                const std::vector<VkExtensionProperties> &extensions,
                PhysicalDevice &device) {
  if (device.properties.apiVersion < VK_API_VERSION_1_3 ||
      api.version < VK_API_VERSION_1_3)
    return;
  CooperativeMatrixFeatures matrices;
  VkPhysicalDeviceShaderFloat16Int8Features int8 = {};
  int8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
  VkPhysicalDeviceSubgroupSizeControlFeatures control = {};
  control.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
  control.pNext = &int8;
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {};
  dot.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
  dot.pNext = &control;
  VkPhysicalDeviceFeatures2 features = {};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = &dot;
  bool hasMatrices = hasExtension(extensions, cooperativeMatrixExtension);
  if (hasMatrices)
    int8.pNext = &matrices;
  api.GetPhysicalDeviceFeatures2(device.handle, &features);
  if (dot.shaderIntegerDotProduct)
    device.features |= QC_FEATURE_INTEGER_DOT_PRODUCT;

  VkPhysicalDeviceSubgroupSizeControlProperties sizes = {};
  sizes.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES;
  VkPhysicalDeviceProperties2 properties = {};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &sizes;
  api.GetPhysicalDeviceProperties2(device.handle, &properties);
  if (control.subgroupSizeControl && control.computeFullSubgroups &&
      (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT)) {
    device.minSubgroup = sizes.minSubgroupSize;
    device.maxSubgroup = sizes.maxSubgroupSize;
    device.maxSubgroups = sizes.maxComputeWorkgroupSubgroups;
  }
  if (matrices.cooperativeMatrix && int8.shaderInt8 && device.maxSubgroup)
    device.cooperativeShapes = cooperativeShapes(api, device.handle);
  if (!device.cooperativeShapes.empty())
    device.features |= QC_FEATURE_COOPERATIVE_MATRIX;
}

static void inspect(const Api &api, const QCDeviceModel &model,
                    PhysicalDevice &device) {
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {};
  host.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
  VkPhysicalDeviceMaintenance3Properties maintenance = {};
  maintenance.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
  VkPhysicalDeviceSubgroupProperties subgroups = {};
  subgroups.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  maintenance.pNext = &subgroups;
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
    subgroups.pNext = &host;
  api.GetPhysicalDeviceProperties2(device.handle, &properties);
  device.properties = properties.properties;
  // Others would read weights over the bus. And where NVIDIA's driver (580)
  // does not take a mapped file, later allocations of host memory fail, too.
  VkPhysicalDeviceType type = device.properties.deviceType;
  if (type != VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU &&
      type != VK_PHYSICAL_DEVICE_TYPE_CPU)
    device.importsHostMemory = false;
  if (hasSubgroupArithmetic(subgroups))
    device.features |= QC_FEATURE_SUBGROUP_ARITHMETIC;
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

  inspectFeatures(api, extensions, device);

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
  device.model = chooseModel(model, device);
  if (device.model != &model)
    device.info.driver += ", " + shapeName(device.model->codes->arch);
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
