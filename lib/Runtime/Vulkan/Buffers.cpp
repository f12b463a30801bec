//===- Buffers.cpp - Device memory ----------------------------------------===//
//
// Weights are imported where they are mapped if the driver allows it; else they
// are copied, straight into memory that the host sees (integrated GPUs) or in
// pieces over a staging buffer.
//
//===----------------------------------------------------------------------===//
#include "../Device/Common.h"
#include "VulkanDevice.h"

#include <algorithm>
#include <cstring>

using namespace qc::rt;
using namespace qc::rt::vulkan;

std::optional<uint32_t>
VulkanDevice::memoryType(uint32_t allowed, VkMemoryPropertyFlags wanted) const {
  for (uint32_t i = 0; i < physical.memory.memoryTypeCount; ++i)
    if ((allowed >> i & 1) &&
        (physical.memory.memoryTypes[i].propertyFlags & wanted) == wanted)
      return i;
  return std::nullopt;
}

static VkBufferCreateInfo bufferInfo(uint64_t size) {
  VkBufferCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = size;
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
               VK_BUFFER_USAGE_TRANSFER_DST_BIT |
               VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  return info;
}

bool VulkanDevice::createBuffer(uint64_t size, Host host,
                                const std::string &what, Buffer &buffer,
                                DeviceError &error) {
  buffer.size = std::max<uint64_t>(size, QC_DEVICE_ALIGNMENT);
  if (physical.maxAllocation && buffer.size > physical.maxAllocation) {
    error = {DeviceError::Kind::OutOfMemory,
             what + " need " + std::to_string(buffer.size) +
                 " bytes, device '" + physical.info.name +
                 "' allocates at most " +
                 std::to_string(physical.maxAllocation) + " at once"};
    return false;
  }
  VkBufferCreateInfo info = bufferInfo(buffer.size);
  if (!check(api.CreateBuffer(device, &info, nullptr, &buffer.buffer), what,
             error))
    return false;
  VkMemoryRequirements needs;
  api.GetBufferMemoryRequirements(device, buffer.buffer, &needs);
  constexpr VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                                  visible =
                                      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                      VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                                  cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  // The best first; any type serves a buffer that the host does not touch.
  std::vector<VkMemoryPropertyFlags> wanted;
  if (host == Host::None)
    wanted = {local, 0};
  else if (host == Host::Write)
    wanted = {visible | local, visible};
  else
    wanted = {visible | cached, visible};
  std::optional<uint32_t> type;
  for (VkMemoryPropertyFlags flags : wanted)
    if (!type)
      type = memoryType(needs.memoryTypeBits, flags);
  if (!type) {
    error = {DeviceError::Kind::Unavailable,
             "device '" + physical.info.name + "' has no memory for " + what};
    return false;
  }
  VkMemoryAllocateInfo allocate = {};
  allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocate.allocationSize = needs.size;
  allocate.memoryTypeIndex = *type;
  VkResult result =
      api.AllocateMemory(device, &allocate, nullptr, &buffer.memory);
  if (result != VK_SUCCESS) {
    buffer.memory = VK_NULL_HANDLE;
    error = {DeviceError::Kind::OutOfMemory,
             "device '" + physical.info.name + "': " + describe(result) +
                 " for " + std::to_string(needs.size) + " bytes of " + what};
    return false;
  }
  if (!check(api.BindBufferMemory(device, buffer.buffer, buffer.memory, 0),
             what, error))
    return false;
  bool hostSees =
      (physical.memory.memoryTypes[*type].propertyFlags & visible) == visible;
  if (host != Host::None || hostSees) {
    result = api.MapMemory(device, buffer.memory, 0, VK_WHOLE_SIZE, 0,
                           &buffer.mapped);
    if (result != VK_SUCCESS)
      buffer.mapped = nullptr;
    if (host != Host::None && !check(result, what, error))
      return false;
  }
  return true;
}

void VulkanDevice::destroy(Buffer &buffer) {
  if (buffer.buffer)
    api.DestroyBuffer(device, buffer.buffer, nullptr);
  if (buffer.memory)
    api.FreeMemory(device, buffer.memory, nullptr);
  buffer = {};
}

/// False where the driver does not take the mapping; nothing is left then.
bool VulkanDevice::importWeights(const void *weights, uint64_t bytes) {
  uint64_t alignment = physical.hostPointerAlignment;
  auto address = reinterpret_cast<uintptr_t>(weights);
  // The file goes on behind the weights to the next page at least.
  if (!physical.importsHostMemory || !api.GetMemoryHostPointerPropertiesEXT ||
      address % alignment || alignment > 4096 || bytes == 0)
    return false;
  uint64_t size = (bytes + alignment - 1) / alignment * alignment;
  constexpr auto handle =
      VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  void *pointer = const_cast<void *>(weights);
  VkMemoryHostPointerPropertiesEXT properties = {};
  properties.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT;
  if (api.GetMemoryHostPointerPropertiesEXT(device, handle, pointer,
                                            &properties) != VK_SUCCESS)
    return false;
  Buffer buffer;
  buffer.size = size;
  VkExternalMemoryBufferCreateInfo external = {};
  external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO;
  external.handleTypes = handle;
  VkBufferCreateInfo info = bufferInfo(size);
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
  info.pNext = &external;
  if (api.CreateBuffer(device, &info, nullptr, &buffer.buffer) != VK_SUCCESS)
    return false;
  VkMemoryRequirements needs;
  api.GetBufferMemoryRequirements(device, buffer.buffer, &needs);
  std::optional<uint32_t> type =
      memoryType(needs.memoryTypeBits & properties.memoryTypeBits, 0);
  VkImportMemoryHostPointerInfoEXT import = {};
  import.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
  import.handleType = handle;
  import.pHostPointer = pointer;
  VkMemoryAllocateInfo allocate = {};
  allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocate.pNext = &import;
  allocate.allocationSize = size;
  allocate.memoryTypeIndex = type.value_or(0);
  if (!type || needs.size > size ||
      api.AllocateMemory(device, &allocate, nullptr, &buffer.memory) !=
          VK_SUCCESS) {
    buffer.memory = VK_NULL_HANDLE;
    destroy(buffer);
    return false;
  }
  if (api.BindBufferMemory(device, buffer.buffer, buffer.memory, 0) !=
      VK_SUCCESS) {
    destroy(buffer);
    return false;
  }
  spaces[QC_SPACE_WEIGHTS] = buffer;
  return true;
}

bool VulkanDevice::upload(const void *data, uint64_t bytes, Buffer &to,
                          DeviceError &error) {
  if (to.mapped) {
    std::memcpy(to.mapped, data, bytes);
    return true;
  }
  constexpr uint64_t piece = uint64_t(32) << 20;
  Buffer staging;
  if (!createBuffer(std::min(bytes, piece), Host::Write, "staging", staging,
                    error))
    return false;
  VkCommandBufferAllocateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = commandPool;
  info.commandBufferCount = 1;
  VkCommandBuffer copy = VK_NULL_HANDLE;
  bool good = check(api.AllocateCommandBuffers(device, &info, &copy),
                    "command buffers", error);
  for (uint64_t at = 0; good && at < bytes; at += piece) {
    uint64_t size = std::min(piece, bytes - at);
    std::memcpy(staging.mapped, static_cast<const char *>(data) + at, size);
    VkCommandBufferBeginInfo begin = {};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    VkBufferCopy region = {0, at, size};
    good = check(api.BeginCommandBuffer(copy, &begin), "commands", error);
    if (good)
      api.CmdCopyBuffer(copy, staging.buffer, to.buffer, 1, &region);
    good = good && check(api.EndCommandBuffer(copy), "commands", error) &&
           submit(copy, "copying weights", error);
  }
  if (!broken)
    destroy(staging);
  return good;
}

bool VulkanDevice::copyWeights(const void *weights, uint64_t bytes,
                               DeviceError &error) {
  Buffer &buffer = spaces[QC_SPACE_WEIGHTS];
  return createBuffer(bytes, Host::None, "weights", buffer, error) &&
         upload(weights, bytes, buffer, error);
}

bool VulkanDevice::fillTables(DeviceError &error) {
  std::vector<float> values =
      rotaryTables(*model, static_cast<uint64_t>(capacity));
  return values.empty() || upload(values.data(), values.size() * 4,
                                  spaces[QC_SPACE_TABLES], error);
}

bool VulkanDevice::createBuffers(const void *weights, uint64_t weightBytes,
                                 DeviceError &error) {
  if (!importWeights(weights, weightBytes) &&
      !copyWeights(weights, weightBytes, error))
    return false;
  struct {
    uint32_t space;
    Host host;
    const char *what;
  } const rest[] = {{QC_SPACE_ARENA, Host::None, "activations"},
                    {QC_SPACE_KV, Host::None, "KV cache"},
                    {QC_SPACE_TABLES, Host::None, "rotary tables"},
                    {QC_SPACE_STATE, Host::Write, "ids"},
                    {QC_SPACE_LOGITS, Host::Read, "logits"},
                    {QC_SPACE_TOP, Host::Read, "candidates"},
                    {QC_SPACE_INPUT, Host::Write, "hidden states"}};
  for (auto [space, host, what] : rest)
    if (!createBuffer(spaceSize(*model, space, static_cast<uint64_t>(capacity)),
                      host, what, spaces[space], error)) {
      if (space == QC_SPACE_KV)
        error.message += ": use a smaller --context";
      return false;
    }
  return fillTables(error);
}
