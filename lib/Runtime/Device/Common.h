//===- Common.h - What every device interface does alike --------*- C++ -*-===//
#ifndef QC_RUNTIME_DEVICE_COMMON_H
#define QC_RUNTIME_DEVICE_COMMON_H

#include "qc/Runtime/Device/Device.h"

#include <optional>

namespace qc::rt {

/// Index of the device that `wanted` (an index or a part of a name) names; if
/// it is empty the suitable one of the highest rank, of equal ones the first.
/// None, and `error`, if there is no such device or the model cannot run on it.
std::optional<size_t> chooseDevice(const std::vector<DeviceInfo> &devices,
                                   const std::vector<int> &ranks,
                                   const std::string &wanted,
                                   DeviceError &error);

/// Bytes of a space (QC_SPACE_*) other than the weights.
uint64_t spaceSize(const QCDeviceModel &model, uint32_t space,
                   uint64_t capacity);

/// Contents of QC_SPACE_TABLES.
std::vector<float> rotaryTables(const QCDeviceModel &model, uint64_t capacity);

/// The tokens of the steps from `position` on that decode_greedy left.
inline void takeRecent(const QCDeviceState &state, int64_t position,
                       std::span<int32_t> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] =
        state.recent[(static_cast<size_t>(position) + i) % QC_RECENT_TOKENS];
}

/// Workgroups in one dimension of a step of `count` tokens.
inline uint32_t extent(QCDeviceExtent e, uint32_t count) {
  return e.tile ? e.factor * ((count + e.tile - 1) / e.tile) : e.factor;
}

} // namespace qc::rt

#endif // QC_RUNTIME_DEVICE_COMMON_H
