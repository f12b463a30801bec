//===- DecodeTest.cpp - One decode kernel on one weight -------------------===//
#include "VulkanDevice.h"

#include <algorithm>
#include <cstring>

using namespace qc::rt;
using namespace qc::rt::vulkan;

bool VulkanDevice::decode(const QCDeviceTest &test,
                          std::span<const uint8_t> blob, float *out,
                          DeviceError &error) {
  auto outBytes = static_cast<uint64_t>(test.n * test.k) * sizeof(float);
  Buffer buffers[2];
  VkDescriptorPool pool = VK_NULL_HANDLE;
  VkCommandBuffer c = VK_NULL_HANDLE;
  // The test is of the model that was given; kernels are not numbered alike.
  uint32_t kernel = model->tests[&test - givenTests].kernel;
  auto run = [&] {
    if (!createPipeline(kernel, error) ||
        !createBuffer(blob.size(), Host::Write, "test weight", buffers[0],
                      error) ||
        !createBuffer(outBytes, Host::Read, "test results", buffers[1], error))
      return false;
    std::memcpy(buffers[0].mapped, blob.data(), blob.size());
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2};
    VkDescriptorPoolCreateInfo poolInfo = {};
    poolInfo.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    poolInfo.maxSets = 1;
    poolInfo.poolSizeCount = 1;
    poolInfo.pPoolSizes = &size;
    if (!check(api.CreateDescriptorPool(device, &poolInfo, nullptr, &pool),
               "descriptor pool", error))
      return false;
    VkDescriptorSet set = VK_NULL_HANDLE;
    VkDescriptorSetAllocateInfo allocate = {};
    allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    allocate.descriptorPool = pool;
    allocate.descriptorSetCount = 1;
    allocate.pSetLayouts = &setLayouts[2];
    if (!check(api.AllocateDescriptorSets(device, &allocate, &set),
               "descriptor set", error))
      return false;
    VkDescriptorBufferInfo infos[2];
    for (int i = 0; i < 2; ++i)
      infos[i] = {buffers[i].buffer, 0, VK_WHOLE_SIZE};
    VkWriteDescriptorSet write = {};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.dstSet = set;
    write.descriptorCount = 2;
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = infos;
    api.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
    VkCommandBufferAllocateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = commandPool;
    info.commandBufferCount = 1;
    VkCommandBufferBeginInfo begin = {};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    if (!check(api.AllocateCommandBuffers(device, &info, &c), "commands",
               error) ||
        !check(api.BeginCommandBuffer(c, &begin), "commands", error))
      return false;
    api.CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipelines[kernel]);
    api.CmdBindDescriptorSets(c, VK_PIPELINE_BIND_POINT_COMPUTE,
                              pipelineLayouts[2], 0, 1, &set, 0, nullptr);
    api.CmdDispatch(c, 256, static_cast<uint32_t>((test.n + 255) / 256), 1);
    VkMemoryBarrier memory = {};
    memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    memory.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    memory.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
    api.CmdPipelineBarrier(c, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                           VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &memory, 0,
                           nullptr, 0, nullptr);
    if (!check(api.EndCommandBuffer(c), "commands", error) ||
        !submit(c, "a test", error))
      return false;
    std::memcpy(out, buffers[1].mapped, outBytes);
    return true;
  };
  bool good = run();
  if (!broken) {
    if (pool)
      api.DestroyDescriptorPool(device, pool, nullptr);
    destroy(buffers[0]);
    destroy(buffers[1]);
  }
  return good;
}
