//===- Memory.cpp - Device memory -----------------------------------------===//
//
// Weights are copied in pieces over two pinned buffers: while the device copies
// one, the host fills the other. Registering the mapped file instead would pin
// all of its pages, which drivers refuse for read-only mappings of files.
//
//===----------------------------------------------------------------------===//
#include "../Device/Common.h"
#include "CUDADevice.h"

#include <algorithm>
#include <cstring>

using namespace qc::rt;
using namespace qc::rt::cuda;

bool CUDADevice::allocate(uint64_t bytes, const std::string &what,
                          CUdeviceptr &to, DeviceError &error) {
  bytes = std::max<uint64_t>(bytes, QC_DEVICE_ALIGNMENT);
  CUresult result = api.MemAlloc(&to, bytes);
  if (result != CUDA_SUCCESS) {
    to = 0;
    check(result, what, error);
    if (result == CUDA_ERROR_OUT_OF_MEMORY)
      error.message = "device '" + physical.info.name +
                      "': " + api.describe(result) + " for " +
                      std::to_string(bytes) + " bytes of " + what;
    return false;
  }
  if (to % QC_DEVICE_ALIGNMENT == 0)
    return true;
  error = {DeviceError::Kind::Failed, "device '" + physical.info.name + "', " +
                                          what + ": memory is not aligned to " +
                                          std::to_string(QC_DEVICE_ALIGNMENT) +
                                          " bytes"};
  return false;
}

bool CUDADevice::allocateHost(uint64_t bytes, const std::string &what,
                              void *&to, DeviceError &error) {
  CUresult result = api.MemHostAlloc(&to, bytes, 0);
  if (result == CUDA_SUCCESS)
    return true;
  to = nullptr;
  if (result != CUDA_ERROR_OUT_OF_MEMORY)
    return check(result, what, error);
  error = {DeviceError::Kind::OutOfMemory, "not enough memory for " +
                                               std::to_string(bytes) +
                                               " pinned bytes of " + what};
  return false;
}

bool CUDADevice::upload(const void *data, uint64_t bytes, CUdeviceptr to,
                        const std::string &what, DeviceError &error) {
  constexpr uint64_t piece = uint64_t(16) << 20;
  void *staging[2] = {};
  CUevent copied[2] = {};
  auto copy = [&] {
    for (int i = 0; i < 2 && static_cast<uint64_t>(i) * piece < bytes; ++i)
      if (!allocateHost(std::min(bytes, piece), what, staging[i], error) ||
          !check(api.EventCreate(&copied[i], CU_EVENT_DISABLE_TIMING), what,
                 error))
        return false;
    int turn = 0;
    for (uint64_t at = 0; at < bytes; at += piece, turn ^= 1) {
      uint64_t size = std::min(piece, bytes - at);
      if (at >= 2 * piece && !waitFor(copied[turn], "copying " + what, error))
        return false;
      std::memcpy(staging[turn], static_cast<const char *>(data) + at, size);
      if (!check(api.MemcpyHtoDAsync(to + at, staging[turn], size, stream),
                 "copying " + what, error) ||
          !check(api.EventRecord(copied[turn], stream), "copying " + what,
                 error))
        return false;
    }
    return wait("copying " + what, error);
  };
  bool good = copy();
  for (int i = 0; i < 2 && !broken; ++i) {
    if (copied[i])
      api.EventDestroy(copied[i]);
    if (staging[i])
      api.MemFreeHost(staging[i]);
  }
  return good;
}

bool CUDADevice::createBuffers(const void *weights, uint64_t weightBytes,
                               DeviceError &error) {
  static const char *const names[QC_NUM_SPACES] = {
      "weights", "activations", "KV cache",   "rotary tables",
      "ids",     "logits",      "candidates", "hidden states"};
  for (uint32_t space = 0; space < QC_NUM_SPACES; ++space) {
    uint64_t bytes = space == QC_SPACE_WEIGHTS
                         ? weightBytes
                         : spaceSize(model, space, capacity);
    spaceBytes[space] = bytes;
    if (!allocate(bytes, names[space], spaces[space], error)) {
      if (space == QC_SPACE_KV)
        error.message += ": use a smaller --context";
      return false;
    }
  }
  void *memory = nullptr;
  if (!allocateHost(spaceBytes[QC_SPACE_STATE], "ids", memory, error))
    return false;
  std::memset(memory, 0, spaceBytes[QC_SPACE_STATE]);
  state = static_cast<QCDeviceState *>(memory);
  if (!allocateHost(sizeof(QCDeviceTop), "candidates", memory, error))
    return false;
  candidates = static_cast<QCDeviceTop *>(memory);
  if (model.input_columns) {
    if (!allocateHost(spaceBytes[QC_SPACE_INPUT], "hidden states", memory,
                      error))
      return false;
    hidden = static_cast<float *>(memory);
  }
  std::vector<float> tables = rotaryTables(model, capacity);
  return upload(weights, weightBytes, spaces[QC_SPACE_WEIGHTS], "weights",
                error) &&
         upload(tables.data(), tables.size() * 4, spaces[QC_SPACE_TABLES],
                "rotary tables", error);
}
