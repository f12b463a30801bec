//===- VulkanDevice.h - A model on a Vulkan device --------------*- C++ -*-===//
#ifndef QC_RUNTIME_VULKAN_VULKANDEVICE_H
#define QC_RUNTIME_VULKAN_VULKANDEVICE_H

#include "Loader.h"

#include <optional>

namespace qc::rt::vulkan {

/// A buffer and its memory.
struct Buffer {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  uint64_t size = 0;
  void *mapped = nullptr; ///< where the host sees it
};

class VulkanDevice final : public Device {
public:
  static std::unique_ptr<Device>
  create(const QCDeviceModel &model, const void *weights, uint64_t weightBytes,
         const DeviceOptions &options, DeviceError &error);
  ~VulkanDevice() override;

  bool run(int step, std::span<const int32_t> ids, int64_t position, float *out,
           DeviceError &error) override;
  bool runTop(int32_t id, int64_t position, QCDeviceTop &top,
              DeviceError &error) override;
  bool runGreedy(int32_t id, int64_t position, std::span<int32_t> tokens,
                 DeviceError &error) override;
  float *input() override {
    return model->input_columns
               ? static_cast<float *>(spaces[QC_SPACE_INPUT].mapped)
               : nullptr;
  }
  const DeviceInfo &info() const override { return physical.info; }
  bool decode(const QCDeviceTest &test, std::span<const uint8_t> blob,
              float *out, DeviceError &error) override;

private:
  VulkanDevice(const QCDeviceModel &model, const DeviceOptions &options)
      : model(&model), givenTests(model.tests),
        timeoutSeconds(options.timeoutSeconds) {}

  // VulkanDevice.cpp
  bool open(const DeviceOptions &options, DeviceError &error);
  bool createPipelines(DeviceError &error);
  bool createPipeline(uint32_t kernel, DeviceError &error);
  bool createDescriptors(DeviceError &error);
  /// The commands of `step` for `count` tokens in `commands[step]`.
  bool record(int step, uint32_t count, DeviceError &error);
  /// Writes the state and runs the commands of a step, `times` in a row.
  bool replay(int step, std::span<const int32_t> ids, int64_t position,
              DeviceError &error, size_t times = 1);
  bool submit(VkCommandBuffer commands, const std::string &what,
              DeviceError &error, size_t times = 1);
  bool check(VkResult result, const std::string &what, DeviceError &error);

  // Buffers.cpp
  bool createBuffers(const void *weights, uint64_t weightBytes,
                     DeviceError &error);
  /// How the host reaches a buffer: not at all, to write, or to read.
  enum class Host { None, Write, Read };
  bool createBuffer(uint64_t size, Host host, const std::string &what,
                    Buffer &buffer, DeviceError &error);
  bool importWeights(const void *weights, uint64_t bytes);
  bool copyWeights(const void *weights, uint64_t bytes, DeviceError &error);
  bool fillTables(DeviceError &error);
  bool upload(const void *data, uint64_t bytes, Buffer &to, DeviceError &error);
  std::optional<uint32_t> memoryType(uint32_t allowed,
                                     VkMemoryPropertyFlags wanted) const;
  void destroy(Buffer &buffer);

  /// First the one that was given, then the one that the device runs best.
  const QCDeviceModel *model;
  const QCDeviceTest *givenTests;
  int64_t timeoutSeconds;
  int64_t capacity = 0; ///< a multiple of QC_CAPACITY_TILE
  Api api;
  PhysicalDevice physical;
  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  VkCommandPool commandPool = VK_NULL_HANDLE;
  VkFence fence = VK_NULL_HANDLE;
  Buffer spaces[QC_NUM_SPACES];
  VkShaderModule shader = VK_NULL_HANDLE;
  std::vector<VkDescriptorSetLayout> setLayouts; ///< by number of buffers
  std::vector<VkPipelineLayout> pipelineLayouts;
  std::vector<VkPipeline> pipelines; ///< of the kernels that steps use
  VkDescriptorPool descriptorPool = VK_NULL_HANDLE;
  std::vector<VkDescriptorSet> sets[QC_NUM_STEPS]; ///< of the dispatches
  VkCommandBuffer commands[QC_NUM_STEPS] = {};
  uint32_t recordedCount[QC_NUM_STEPS] = {}; ///< 0: not recorded
  /// Lost or hung: whatever waits for it would wait for ever.
  bool broken = false;
};

} // namespace qc::rt::vulkan

#endif // QC_RUNTIME_VULKAN_VULKANDEVICE_H
