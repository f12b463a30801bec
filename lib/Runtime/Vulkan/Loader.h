//===- Loader.h - The Vulkan functions that are used ------------*- C++ -*-===//
//
// libvulkan.so.1 is opened when a model needs it, so an executable starts on
// machines without it.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_VULKAN_LOADER_H
#define QC_RUNTIME_VULKAN_LOADER_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include "qc/Runtime/Device/Device.h"

#include <vector>

namespace qc::rt::vulkan {

#define QC_VULKAN_INSTANCE_FUNCTIONS(X)                                        \
  X(DestroyInstance)                                                           \
  X(EnumeratePhysicalDevices)                                                  \
  X(GetPhysicalDeviceProperties2)                                              \
  X(GetPhysicalDeviceFeatures2)                                                \
  X(GetPhysicalDeviceMemoryProperties)                                         \
  X(GetPhysicalDeviceQueueFamilyProperties)                                    \
  X(EnumerateDeviceExtensionProperties)                                        \
  X(CreateDevice)                                                              \
  X(GetDeviceProcAddr)

#define QC_VULKAN_DEVICE_FUNCTIONS(X)                                          \
  X(DestroyDevice)                                                             \
  X(GetDeviceQueue)                                                            \
  X(QueueSubmit)                                                               \
  X(AllocateMemory)                                                            \
  X(FreeMemory)                                                                \
  X(MapMemory)                                                                 \
  X(CreateBuffer)                                                              \
  X(DestroyBuffer)                                                             \
  X(GetBufferMemoryRequirements)                                               \
  X(BindBufferMemory)                                                          \
  X(CreateShaderModule)                                                        \
  X(DestroyShaderModule)                                                       \
  X(CreateDescriptorSetLayout)                                                 \
  X(DestroyDescriptorSetLayout)                                                \
  X(CreatePipelineLayout)                                                      \
  X(DestroyPipelineLayout)                                                     \
  X(CreateComputePipelines)                                                    \
  X(DestroyPipeline)                                                           \
  X(CreateDescriptorPool)                                                      \
  X(DestroyDescriptorPool)                                                     \
  X(AllocateDescriptorSets)                                                    \
  X(UpdateDescriptorSets)                                                      \
  X(CreateCommandPool)                                                         \
  X(DestroyCommandPool)                                                        \
  X(AllocateCommandBuffers)                                                    \
  X(BeginCommandBuffer)                                                        \
  X(EndCommandBuffer)                                                          \
  X(CmdBindPipeline)                                                           \
  X(CmdBindDescriptorSets)                                                     \
  X(CmdDispatch)                                                               \
  X(CmdPipelineBarrier)                                                        \
  X(CmdCopyBuffer)                                                             \
  X(CreateFence)                                                               \
  X(DestroyFence)                                                              \
  X(ResetFences)                                                               \
  X(WaitForFences)

/// Function pointers and the instance.
struct Api {
  void *library = nullptr;
  PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
  VkInstance instance = VK_NULL_HANDLE;
  uint32_t version = VK_API_VERSION_1_1; ///< of the instance: 1.1 or 1.3
#define X(name) PFN_vk##name name = nullptr;
  QC_VULKAN_INSTANCE_FUNCTIONS(X)
  QC_VULKAN_DEVICE_FUNCTIONS(X)
#undef X
  /// Of VK_EXT_external_memory_host, where the device has it.
  PFN_vkGetMemoryHostPointerPropertiesEXT GetMemoryHostPointerPropertiesEXT =
      nullptr;

  Api() = default;
  Api(const Api &) = delete;
  Api &operator=(const Api &) = delete;
  ~Api();

  /// Opens the library and makes an instance of Vulkan 1.1.
  bool open(DeviceError &error);
  /// The functions of a device.
  bool load(VkDevice device, DeviceError &error);
};

/// VK_ERROR_DEVICE_LOST as words.
std::string describe(VkResult result);

/// A product of cooperative matrices.
struct CooperativeShape {
  uint32_t m, n, k;
};

/// What matters of a physical device.
struct PhysicalDevice {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  VkPhysicalDeviceProperties properties = {};
  VkPhysicalDeviceMemoryProperties memory = {};
  DeviceInfo info;
  uint32_t queueFamily = 0;
  uint32_t features = 0; ///< QC_FEATURE_*
  /// With QC_FEATURE_COOPERATIVE_MATRIX: of signed bytes.
  std::vector<CooperativeShape> cooperativeShapes;
  /// Subgroup sizes that kernels may require, and most of those of a workgroup.
  uint32_t minSubgroup = 0, maxSubgroup = 0, maxSubgroups = 0;
  const QCDeviceModel *model = nullptr; ///< the one that it runs best
  bool importsHostMemory = false;
  uint64_t hostPointerAlignment = 4096;
  uint64_t maxAllocation = 0;

  /// Higher is preferred.
  int rank() const;
};

/// All devices in the driver's order; `info.unsuitable` says what is wrong with
/// one for `model`.
bool enumerate(const Api &api, const QCDeviceModel &model,
               std::vector<PhysicalDevice> &devices, DeviceError &error);

/// The one that `wanted` (an index or a part of a name) names, or the best.
const PhysicalDevice *choose(const std::vector<PhysicalDevice> &devices,
                             const std::string &wanted, DeviceError &error);

/// The first of the model's codes that the device runs; null if none.
const QCDeviceCode *chooseCode(const QCDeviceModel &model,
                               const PhysicalDevice &device);

} // namespace qc::rt::vulkan

#endif // QC_RUNTIME_VULKAN_LOADER_H
