//===- VulkanDevice.cpp - A model on a Vulkan device ----------------------===//
#include "VulkanDevice.h"

#include "../Device/Common.h"
#include "CooperativeMatrix.h"

#include <algorithm>
#include <cstring>

using namespace qc::rt;
using namespace qc::rt::vulkan;

bool VulkanDevice::check(VkResult result, const std::string &what,
                         DeviceError &error) {
  if (result == VK_SUCCESS)
    return true;
  bool memory = result == VK_ERROR_OUT_OF_HOST_MEMORY ||
                result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
  broken |= result == VK_ERROR_DEVICE_LOST;
  error = {memory ? DeviceError::Kind::OutOfMemory : DeviceError::Kind::Failed,
           "device '" + physical.info.name + "', " + what + ": " +
               describe(result)};
  return false;
}

std::unique_ptr<Device> VulkanDevice::create(const QCDeviceModel &model,
                                             const void *weights,
                                             uint64_t weightBytes,
                                             const DeviceOptions &options,
                                             DeviceError &error) {
  std::unique_ptr<VulkanDevice> result(new VulkanDevice(model, options));
  result->capacity = (options.capacity + QC_CAPACITY_TILE - 1) /
                     QC_CAPACITY_TILE * QC_CAPACITY_TILE;
  if (!result->open(options, error) ||
      !result->createBuffers(weights, weightBytes, error) ||
      !result->createPipelines(error) || !result->createDescriptors(error))
    return nullptr;
  return result;
}

bool VulkanDevice::open(const DeviceOptions &options, DeviceError &error) {
  std::vector<PhysicalDevice> devices;
  if (!api.open(error) || !enumerate(api, *model, devices, error))
    return false;
  const PhysicalDevice *chosen = choose(devices, options.device, error);
  if (!chosen)
    return false;
  physical = *chosen;
  model = physical.model;

  float priority = 1;
  VkDeviceQueueCreateInfo queueInfo = {};
  queueInfo.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queueInfo.queueFamilyIndex = physical.queueFamily;
  queueInfo.queueCount = 1;
  queueInfo.pQueuePriorities = &priority;
  uint32_t features = chooseCode(*model, physical)->features;
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {};
  dot.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
  dot.shaderIntegerDotProduct = VK_TRUE;
  CooperativeMatrixFeatures matrices;
  matrices.cooperativeMatrix = VK_TRUE;
  VkPhysicalDeviceShaderFloat16Int8Features int8 = {};
  int8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
  int8.pNext = &matrices;
  int8.shaderInt8 = VK_TRUE;
  VkPhysicalDeviceSubgroupSizeControlFeatures control = {};
  control.sType =
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
  control.pNext = &int8;
  control.subgroupSizeControl = VK_TRUE;
  control.computeFullSubgroups = VK_TRUE;
  std::vector<const char *> extensions;
  VkDeviceCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  if (physical.importsHostMemory)
    extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  if (features & QC_FEATURE_COOPERATIVE_MATRIX) {
    extensions.push_back(cooperativeMatrixExtension);
    info.pNext = &control;
  }
  if (features & QC_FEATURE_INTEGER_DOT_PRODUCT) {
    dot.pNext = const_cast<void *>(info.pNext);
    info.pNext = &dot;
  }
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queueInfo;
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  if (!check(api.CreateDevice(physical.handle, &info, nullptr, &device),
             "cannot be opened", error)) {
    device = VK_NULL_HANDLE;
    return false;
  }
  if (!api.load(device, error))
    return false;
  api.GetDeviceQueue(device, physical.queueFamily, 0, &queue);

  VkCommandPoolCreateInfo pool = {};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = physical.queueFamily;
  VkFenceCreateInfo fenceInfo = {};
  fenceInfo.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  VkCommandBufferAllocateInfo buffers = {};
  if (!check(api.CreateCommandPool(device, &pool, nullptr, &commandPool),
             "command pool", error) ||
      !check(api.CreateFence(device, &fenceInfo, nullptr, &fence), "fence",
             error))
    return false;
  buffers.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  buffers.commandPool = commandPool;
  buffers.commandBufferCount = QC_NUM_STEPS;
  return check(api.AllocateCommandBuffers(device, &buffers, commands),
               "command buffers", error);
}

bool VulkanDevice::createPipelines(DeviceError &error) {
  const QCDeviceCode *code = chooseCode(*model, physical);
  VkShaderModuleCreateInfo shaderInfo = {};
  shaderInfo.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  shaderInfo.codeSize = code->size;
  shaderInfo.pCode = static_cast<const uint32_t *>(code->data);
  if (!check(api.CreateShaderModule(device, &shaderInfo, nullptr, &shader),
             "shader module", error))
    return false;
  uint32_t most = 0;
  for (uint64_t i = 0; i < model->num_kernels; ++i)
    most = std::max(most, model->kernels[i].num_buffers);
  setLayouts.resize(most + 1);
  pipelineLayouts.resize(most + 1);
  std::vector<VkDescriptorSetLayoutBinding> bindings(most);
  for (uint32_t i = 0; i < most; ++i)
    bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                   VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  for (uint32_t count = 0; count <= most; ++count) {
    VkDescriptorSetLayoutCreateInfo set = {};
    set.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    set.bindingCount = count;
    set.pBindings = bindings.data();
    VkPipelineLayoutCreateInfo layout = {};
    layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    layout.setLayoutCount = 1;
    layout.pSetLayouts = &setLayouts[count];
    if (!check(api.CreateDescriptorSetLayout(device, &set, nullptr,
                                             &setLayouts[count]),
               "descriptor layout", error) ||
        !check(api.CreatePipelineLayout(device, &layout, nullptr,
                                        &pipelineLayouts[count]),
               "pipeline layout", error))
      return false;
  }
  // Kernels of tests are compiled when they are needed.
  pipelines.resize(model->num_kernels);
  for (const QCDispatchList &list : model->steps)
    for (uint64_t i = 0; i < list.num_dispatches; ++i)
      if (!createPipeline(list.dispatches[i].kernel, error))
        return false;
  return true;
}

bool VulkanDevice::createPipeline(uint32_t index, DeviceError &error) {
  if (pipelines[index])
    return true;
  const QCDeviceKernel &kernel = model->kernels[index];
  VkComputePipelineCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = shader;
  info.stage.pName = kernel.name;
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {};
  subgroup.sType =
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
  subgroup.requiredSubgroupSize = kernel.subgroup_size;
  if (kernel.subgroup_size) {
    info.stage.pNext = &subgroup;
    info.stage.flags =
        VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
  }
  info.layout = pipelineLayouts[kernel.num_buffers];
  VkPipeline pipeline = VK_NULL_HANDLE;
  if (!check(api.CreateComputePipelines(device, VK_NULL_HANDLE, 1, &info,
                                        nullptr, &pipeline),
             std::string("kernel ") + kernel.name, error))
    return false;
  pipelines[index] = pipeline;
  return true;
}

bool VulkanDevice::createDescriptors(DeviceError &error) {
  uint32_t numSets = 0, numBuffers = 0;
  for (const QCDispatchList &list : model->steps)
    for (uint64_t i = 0; i < list.num_dispatches; ++i) {
      ++numSets;
      numBuffers += model->kernels[list.dispatches[i].kernel].num_buffers;
    }
  VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, numBuffers};
  VkDescriptorPoolCreateInfo pool = {};
  pool.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
  pool.maxSets = numSets;
  pool.poolSizeCount = 1;
  pool.pPoolSizes = &size;
  if (!check(api.CreateDescriptorPool(device, &pool, nullptr, &descriptorPool),
             "descriptor pool", error))
    return false;
  auto positions = static_cast<uint64_t>(capacity);
  for (int step = 0; step < QC_NUM_STEPS; ++step) {
    const QCDispatchList &list = model->steps[step];
    std::vector<VkDescriptorSetLayout> layouts;
    for (uint64_t i = 0; i < list.num_dispatches; ++i)
      layouts.push_back(
          setLayouts[model->kernels[list.dispatches[i].kernel].num_buffers]);
    sets[step].resize(layouts.size());
    if (layouts.empty())
      continue;
    VkDescriptorSetAllocateInfo allocate = {};
    allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    allocate.descriptorPool = descriptorPool;
    allocate.descriptorSetCount = static_cast<uint32_t>(layouts.size());
    allocate.pSetLayouts = layouts.data();
    if (!check(api.AllocateDescriptorSets(device, &allocate, sets[step].data()),
               "descriptor sets", error))
      return false;
    for (uint64_t i = 0; i < list.num_dispatches; ++i) {
      const QCDispatch &dispatch = list.dispatches[i];
      uint32_t count = model->kernels[dispatch.kernel].num_buffers;
      std::vector<VkDescriptorBufferInfo> infos(count);
      for (uint32_t j = 0; j < count; ++j) {
        const QCDeviceBuffer &b = model->buffers[dispatch.first_buffer + j];
        const Buffer &space = spaces[b.space];
        uint64_t offset = b.offset + b.offset_per_position * positions;
        uint64_t bytes = b.size + b.size_per_position * positions;
        if (bytes > physical.properties.limits.maxStorageBufferRange) {
          error = {
              DeviceError::Kind::Unavailable,
              "device '" + physical.info.name + "' addresses at most " +
                  std::to_string(
                      physical.properties.limits.maxStorageBufferRange) +
                  " bytes of a buffer, kernel " +
                  model->kernels[dispatch.kernel].name + " needs " +
                  std::to_string(bytes) +
                  (b.space == QC_SPACE_KV ? ": use a smaller --context" : "")};
          return false;
        }
        infos[j] = {space.buffer, offset, std::min(bytes, space.size - offset)};
      }
      VkWriteDescriptorSet write = {};
      write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
      write.dstSet = sets[step][i];
      write.descriptorCount = count;
      write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
      write.pBufferInfo = infos.data();
      api.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
    }
  }
  return true;
}

bool VulkanDevice::record(int step, uint32_t count, DeviceError &error) {
  VkCommandBuffer c = commands[step];
  VkCommandBufferBeginInfo begin = {};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  recordedCount[step] = 0;
  // May be in flight several times, see runGreedy().
  if (step == QC_STEP_DECODE_GREEDY)
    begin.flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT;
  if (!check(api.BeginCommandBuffer(c, &begin), "commands", error))
    return false;
  auto barrier = [&](VkAccessFlags to, VkPipelineStageFlags stage) {
    VkMemoryBarrier memory = {};
    memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    memory.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    memory.dstAccessMask = to;
    api.CmdPipelineBarrier(c, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, stage, 0, 1,
                           &memory, 0, nullptr, 0, nullptr);
  };
  constexpr VkAccessFlags both =
      VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
  // What was submitted before wrote: the KV cache, the state.
  barrier(both, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
  const QCDispatchList &list = model->steps[step];
  for (uint64_t i = 0; i < list.num_dispatches; ++i) {
    const QCDispatch &d = list.dispatches[i];
    if (d.barrier)
      barrier(both, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
    uint32_t grid[3];
    for (int j = 0; j < 3; ++j) {
      grid[j] = extent(d.grid[j], count);
      uint32_t most = physical.properties.limits.maxComputeWorkGroupCount[j];
      if (grid[j] > most) {
        error = {DeviceError::Kind::Unavailable,
                 "device '" + physical.info.name + "' runs at most " +
                     std::to_string(most) + " workgroups in a row, kernel " +
                     model->kernels[d.kernel].name + " needs " +
                     std::to_string(grid[j])};
        return false;
      }
    }
    api.CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, pipelines[d.kernel]);
    api.CmdBindDescriptorSets(
        c, VK_PIPELINE_BIND_POINT_COMPUTE,
        pipelineLayouts[model->kernels[d.kernel].num_buffers], 0, 1,
        &sets[step][i], 0, nullptr);
    api.CmdDispatch(c, grid[0], grid[1], grid[2]);
  }
  barrier(VK_ACCESS_HOST_READ_BIT, VK_PIPELINE_STAGE_HOST_BIT);
  if (!check(api.EndCommandBuffer(c), "commands", error))
    return false;
  recordedCount[step] = count;
  return true;
}

bool VulkanDevice::submit(VkCommandBuffer c, const std::string &what,
                          DeviceError &error, size_t times) {
  std::vector<VkCommandBuffer> row(times, c);
  VkSubmitInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  info.commandBufferCount = static_cast<uint32_t>(times);
  info.pCommandBuffers = row.data();
  if (!check(api.QueueSubmit(queue, 1, &info, fence), what, error)) {
    broken = true;
    return false;
  }
  // The watchdog: some drivers never signal the fence of a hung GPU.
  VkResult result =
      api.WaitForFences(device, 1, &fence, VK_TRUE,
                        static_cast<uint64_t>(timeoutSeconds) * 1'000'000'000);
  if (result == VK_TIMEOUT) {
    broken = true;
    error = {DeviceError::Kind::Failed, "device '" + physical.info.name +
                                            "', " + what + ": no answer in " +
                                            std::to_string(timeoutSeconds) +
                                            " seconds"};
    return false;
  }
  if (!check(result, what, error)) {
    broken = true;
    return false;
  }
  return check(api.ResetFences(device, 1, &fence), what, error);
}

bool VulkanDevice::replay(int step, std::span<const int32_t> ids,
                          int64_t position, DeviceError &error, size_t times) {
  auto count = static_cast<uint32_t>(ids.size());
  if (broken || model->steps[step].num_dispatches == 0) {
    error = {DeviceError::Kind::Failed,
             "device '" + physical.info.name + "' cannot run this step"};
    return false;
  }
  auto *state = static_cast<QCDeviceState *>(spaces[QC_SPACE_STATE].mapped);
  state->position = static_cast<int32_t>(position);
  state->count = static_cast<int32_t>(count);
  state->capacity = static_cast<int32_t>(capacity);
  std::memcpy(state->ids, ids.data(), ids.size_bytes());
  if (recordedCount[step] != count && !record(step, count, error))
    return false;
  return submit(commands[step],
                "a step of " + std::to_string(count) + " tokens", error, times);
}

bool VulkanDevice::runTop(int32_t id, int64_t position, QCDeviceTop &top,
                          DeviceError &error) {
  if (!replay(QC_STEP_DECODE_TOP, {&id, 1}, position, error))
    return false;
  std::memcpy(&top, spaces[QC_SPACE_TOP].mapped, sizeof top);
  return true;
}

bool VulkanDevice::runGreedy(int32_t id, int64_t position,
                             std::span<int32_t> tokens, DeviceError &error) {
  if (!replay(QC_STEP_DECODE_GREEDY, {&id, 1}, position, error, tokens.size()))
    return false;
  takeRecent(*static_cast<QCDeviceState *>(spaces[QC_SPACE_STATE].mapped),
             position, tokens);
  return true;
}

bool VulkanDevice::run(int step, std::span<const int32_t> ids, int64_t position,
                       float *out, DeviceError &error) {
  if (!replay(step, ids, position, error))
    return false;
  auto count = static_cast<uint32_t>(ids.size());
  uint64_t rows = scores(step) ? count : 1;
  std::memcpy(out, spaces[QC_SPACE_LOGITS].mapped,
              rows * model->vocab_size * sizeof(float));
  return true;
}

VulkanDevice::~VulkanDevice() {
  // Nothing may be destroyed while the device might still use it.
  if (broken)
    api.instance = VK_NULL_HANDLE;
  if (!device || broken)
    return;
  if (!api.DestroyBuffer) {
    if (api.DestroyDevice)
      api.DestroyDevice(device, nullptr);
    return;
  }
  for (Buffer &buffer : spaces)
    destroy(buffer);
  for (VkPipeline pipeline : pipelines)
    if (pipeline)
      api.DestroyPipeline(device, pipeline, nullptr);
  for (VkPipelineLayout layout : pipelineLayouts)
    if (layout)
      api.DestroyPipelineLayout(device, layout, nullptr);
  for (VkDescriptorSetLayout layout : setLayouts)
    if (layout)
      api.DestroyDescriptorSetLayout(device, layout, nullptr);
  if (descriptorPool)
    api.DestroyDescriptorPool(device, descriptorPool, nullptr);
  if (shader)
    api.DestroyShaderModule(device, shader, nullptr);
  if (fence)
    api.DestroyFence(device, fence, nullptr);
  if (commandPool)
    api.DestroyCommandPool(device, commandPool, nullptr);
  api.DestroyDevice(device, nullptr);
}
