//===- FaultyVulkan.cpp - A Vulkan loader that fails on demand ------------===//
//
// Stands in for libvulkan.so.1 (LD_LIBRARY_PATH) and passes everything on to
// the real one but what the environment variable QC_FAULT names:
//
//   lost      submitting work loses the device
//   hang      fences are never signaled
//   memory    the device has no memory left
//   none      there are no devices
//   two       every device is there twice
//   old       devices have Vulkan 1.0
//   floor     devices have Vulkan 1.1, subgroups without arithmetic
//   limits    kernels have at most two buffers
//   loader    the loader has Vulkan 1.0
//
//===----------------------------------------------------------------------===//
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <initializer_list>

static bool fault(const char *name) {
  const char *wanted = std::getenv("QC_FAULT");
  return wanted && std::strcmp(wanted, name) == 0;
}

static PFN_vkGetInstanceProcAddr realInstance() {
  static auto function = [] {
    for (const char *path : {"/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
                             "/usr/lib/aarch64-linux-gnu/libvulkan.so.1",
                             "/usr/lib64/libvulkan.so.1"})
      if (void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL))
        return reinterpret_cast<PFN_vkGetInstanceProcAddr>(
            dlsym(library, "vkGetInstanceProcAddr"));
    return PFN_vkGetInstanceProcAddr();
  }();
  return function;
}

static VkInstance instance;

template <typename F>
static F real(const char *name) {
  return reinterpret_cast<F>(realInstance()(instance, name));
}

static VkResult enumerateVersion(uint32_t *version) {
  *version = VK_API_VERSION_1_0;
  return VK_SUCCESS;
}

static VkResult enumerateDevices(VkInstance i, uint32_t *count,
                                 VkPhysicalDevice *devices) {
  auto enumerate =
      real<PFN_vkEnumeratePhysicalDevices>("vkEnumeratePhysicalDevices");
  if (fault("none")) {
    *count = 0;
    return VK_SUCCESS;
  }
  if (!devices) {
    VkResult result = enumerate(i, count, nullptr);
    *count *= 2;
    return result;
  }
  uint32_t half = *count / 2;
  VkResult result = enumerate(i, &half, devices);
  std::memcpy(devices + half, devices, half * sizeof(*devices));
  *count = 2 * half;
  return result;
}

static void getProperties(VkPhysicalDevice device,
                          VkPhysicalDeviceProperties2 *properties) {
  real<PFN_vkGetPhysicalDeviceProperties2>("vkGetPhysicalDeviceProperties2")(
      device, properties);
  if (fault("old"))
    properties->properties.apiVersion = VK_API_VERSION_1_0;
  if (fault("floor")) {
    properties->properties.apiVersion = VK_API_VERSION_1_1;
    auto *next = static_cast<VkBaseOutStructure *>(properties->pNext);
    for (; next; next = next->pNext)
      if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES)
        reinterpret_cast<VkPhysicalDeviceSubgroupProperties *>(next)
            ->supportedOperations = VK_SUBGROUP_FEATURE_BASIC_BIT;
  }
  if (fault("limits"))
    properties->properties.limits.maxPerStageDescriptorStorageBuffers = 2;
}

static VkResult submit(VkQueue, uint32_t, const VkSubmitInfo *, VkFence) {
  return VK_ERROR_DEVICE_LOST;
}

static VkResult waitForFences(VkDevice, uint32_t, const VkFence *, VkBool32,
                              uint64_t) {
  return VK_TIMEOUT;
}

static VkResult allocateMemory(VkDevice, const VkMemoryAllocateInfo *,
                               const VkAllocationCallbacks *,
                               VkDeviceMemory *) {
  return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static PFN_vkVoidFunction replaced(const char *name) {
  struct {
    const char *name;
    bool active;
    PFN_vkVoidFunction function;
  } const table[] = {
#define REPLACE(name, active, function)                                        \
  {name, active, reinterpret_cast<PFN_vkVoidFunction>(function)}
      REPLACE("vkEnumerateInstanceVersion", fault("loader"), enumerateVersion),
      REPLACE("vkEnumeratePhysicalDevices", fault("none") || fault("two"),
              enumerateDevices),
      REPLACE("vkGetPhysicalDeviceProperties2",
              fault("old") || fault("limits") || fault("floor"), getProperties),
      REPLACE("vkQueueSubmit", fault("lost"), submit),
      REPLACE("vkWaitForFences", fault("hang"), waitForFences),
      REPLACE("vkAllocateMemory", fault("memory"), allocateMemory),
  };
  for (const auto &entry : table)
    if (entry.active && std::strcmp(entry.name, name) == 0)
      return entry.function;
  return nullptr;
}

static PFN_vkVoidFunction getDeviceProcAddr(VkDevice device, const char *name) {
  if (PFN_vkVoidFunction function = replaced(name))
    return function;
  return real<PFN_vkGetDeviceProcAddr>("vkGetDeviceProcAddr")(device, name);
}

extern "C" PFN_vkVoidFunction vkGetInstanceProcAddr(VkInstance i,
                                                    const char *name) {
  if (i)
    instance = i;
  if (PFN_vkVoidFunction function = replaced(name))
    return function;
  if (std::strcmp(name, "vkGetDeviceProcAddr") == 0)
    return reinterpret_cast<PFN_vkVoidFunction>(getDeviceProcAddr);
  return realInstance() ? realInstance()(i, name) : nullptr;
}
