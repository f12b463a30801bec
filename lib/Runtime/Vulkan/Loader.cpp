//===- Loader.cpp - The Vulkan functions that are used --------------------===//
#include "Loader.h"

#include <dlfcn.h>

using namespace qc::rt;
using namespace qc::rt::vulkan;

Api::~Api() {
  if (instance)
    DestroyInstance(instance, nullptr);
  // The library stays open: drivers do not expect to be unloaded.
}

bool Api::open(DeviceError &error) {
  error.kind = DeviceError::Kind::Unavailable;
  library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    error.message =
        "this model runs on a Vulkan GPU, and libvulkan.so.1 is not "
        "installed (Debian: libvulkan1 and the driver of the GPU, "
        "or mesa-vulkan-drivers)";
    return false;
  }
  GetInstanceProcAddr = reinterpret_cast<PFN_vkGetInstanceProcAddr>(
      dlsym(library, "vkGetInstanceProcAddr"));
  if (!GetInstanceProcAddr) {
    error.message = "libvulkan.so.1 has no vkGetInstanceProcAddr";
    return false;
  }
  auto version = reinterpret_cast<PFN_vkEnumerateInstanceVersion>(
      GetInstanceProcAddr(nullptr, "vkEnumerateInstanceVersion"));
  auto create = reinterpret_cast<PFN_vkCreateInstance>(
      GetInstanceProcAddr(nullptr, "vkCreateInstance"));
  uint32_t supported = VK_API_VERSION_1_0;
  if (version)
    version(&supported);
  if (!create || supported < VK_API_VERSION_1_1) {
    error.message = "the Vulkan loader is too old: version " +
                    std::to_string(VK_API_VERSION_MAJOR(supported)) + "." +
                    std::to_string(VK_API_VERSION_MINOR(supported)) +
                    ", expected 1.1";
    return false;
  }
  VkApplicationInfo application = {};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "qc";
  // Of what came after 1.1 only SPIR-V 1.6 with integer dot products is used.
  if (supported >= VK_API_VERSION_1_3)
    this->version = VK_API_VERSION_1_3;
  application.apiVersion = this->version;
  VkInstanceCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  VkResult result = create(&info, nullptr, &instance);
  if (result != VK_SUCCESS) {
    instance = VK_NULL_HANDLE;
    error.message = result == VK_ERROR_INCOMPATIBLE_DRIVER
                        ? "no Vulkan driver is installed (Debian: the driver "
                          "of the GPU or mesa-vulkan-drivers)"
                        : "cannot make a Vulkan instance: " + describe(result);
    return false;
  }
#define X(name)                                                                \
  name = reinterpret_cast<PFN_vk##name>(                                       \
      GetInstanceProcAddr(instance, "vk" #name));                              \
  if (!name) {                                                                 \
    error.message = "the Vulkan loader has no vk" #name;                       \
    return false;                                                              \
  }
  QC_VULKAN_INSTANCE_FUNCTIONS(X)
#undef X
  return true;
}

bool Api::load(VkDevice device, DeviceError &error) {
#define X(name)                                                                \
  name =                                                                       \
      reinterpret_cast<PFN_vk##name>(GetDeviceProcAddr(device, "vk" #name));   \
  if (!name) {                                                                 \
    error = {DeviceError::Kind::Unavailable,                                   \
             "the Vulkan driver has no vk" #name};                             \
    return false;                                                              \
  }
  QC_VULKAN_DEVICE_FUNCTIONS(X)
#undef X
  GetMemoryHostPointerPropertiesEXT =
      reinterpret_cast<PFN_vkGetMemoryHostPointerPropertiesEXT>(
          GetDeviceProcAddr(device, "vkGetMemoryHostPointerPropertiesEXT"));
  return true;
}

std::string vulkan::describe(VkResult result) {
  switch (result) {
  case VK_ERROR_OUT_OF_HOST_MEMORY:
    return "out of memory";
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    return "out of device memory";
  case VK_ERROR_DEVICE_LOST:
    return "the device was lost (reset by its driver, or removed)";
  case VK_ERROR_INITIALIZATION_FAILED:
    return "initialization failed";
  case VK_ERROR_TOO_MANY_OBJECTS:
    return "too many objects";
  case VK_ERROR_INVALID_EXTERNAL_HANDLE:
    return "memory cannot be imported";
  default:
    return "error " + std::to_string(static_cast<int>(result));
  }
}
