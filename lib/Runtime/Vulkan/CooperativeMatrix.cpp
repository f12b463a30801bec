//===- CooperativeMatrix.cpp - VK_KHR_cooperative_matrix ------------------===//
#include "CooperativeMatrix.h"

#include <algorithm>

using namespace qc::rt;
using namespace qc::rt::vulkan;

std::vector<CooperativeShape>
vulkan::cooperativeShapes(const Api &api, VkPhysicalDevice device) {
  using P = CooperativeMatrixProperties;
  auto get =
      reinterpret_cast<GetCooperativeMatrixProperties>(api.GetInstanceProcAddr(
          api.instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  std::vector<CooperativeShape> shapes;
  uint32_t count = 0;
  if (!get || get(device, &count, nullptr) != VK_SUCCESS)
    return shapes;
  std::vector<P> all(count);
  if (get(device, &count, all.data()) != VK_SUCCESS)
    return shapes;
  all.resize(count);
  for (const P &p : all) {
    bool isInt8 = p.a == P::SInt8 && p.b == P::SInt8 && p.c == P::SInt32 &&
                  p.result == P::SInt32 && p.scope == P::Subgroup;
    bool scales = std::any_of(all.begin(), all.end(), [&](const P &f) {
      return f.m == p.m && f.n == p.n && f.result == P::Float32 &&
             f.c == P::Float32 && f.scope == P::Subgroup;
    });
    if (isInt8 && scales)
      shapes.push_back({p.m, p.n, p.k});
  }
  return shapes;
}
