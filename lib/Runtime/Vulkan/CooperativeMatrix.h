//===- CooperativeMatrix.h - VK_KHR_cooperative_matrix ----------*- C++ -*-===//
//
// What is used of an extension that is younger than the headers of Debian 12
// (Vulkan 1.3.239): Vulkan specification, VK_KHR_cooperative_matrix.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_VULKAN_COOPERATIVEMATRIX_H
#define QC_RUNTIME_VULKAN_COOPERATIVEMATRIX_H

#include "Loader.h"

namespace qc::rt::vulkan {

inline constexpr const char *cooperativeMatrixExtension =
    "VK_KHR_cooperative_matrix";

/// VkPhysicalDeviceCooperativeMatrixFeaturesKHR
struct CooperativeMatrixFeatures {
  VkStructureType sType = static_cast<VkStructureType>(1000506000);
  void *pNext = nullptr;
  VkBool32 cooperativeMatrix = VK_FALSE;
  VkBool32 cooperativeMatrixRobustBufferAccess = VK_FALSE;
};

/// VkCooperativeMatrixPropertiesKHR
struct CooperativeMatrixProperties {
  /// VkComponentTypeKHR
  enum Component : uint32_t { Float32 = 1, SInt8 = 3, SInt32 = 5 };
  enum Scope : uint32_t { Subgroup = 3 }; ///< VkScopeKHR

  VkStructureType sType = static_cast<VkStructureType>(1000506001);
  void *pNext = nullptr;
  uint32_t m = 0, n = 0, k = 0;
  uint32_t a = 0, b = 0, c = 0, result = 0; ///< components
  VkBool32 saturates = VK_FALSE;
  uint32_t scope = 0;
};

/// vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR
using GetCooperativeMatrixProperties = VkResult(VKAPI_PTR *)(
    VkPhysicalDevice, uint32_t *, CooperativeMatrixProperties *);

/// The products of signed bytes that a device with the extension has, for whose
/// sums it has matrices of f32, too.
std::vector<CooperativeShape> cooperativeShapes(const Api &api,
                                                VkPhysicalDevice device);

} // namespace qc::rt::vulkan

#endif // QC_RUNTIME_VULKAN_COOPERATIVEMATRIX_H
