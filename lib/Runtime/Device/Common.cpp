//===- Common.cpp - What every device interface does alike ----------------===//
#include "Common.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <strings.h>

using namespace qc::rt;

std::optional<size_t>
qc::rt::chooseDevice(const std::vector<DeviceInfo> &devices,
                     const std::vector<int> &ranks, const std::string &wanted,
                     DeviceError &error) {
  std::optional<size_t> found;
  if (wanted.empty()) {
    auto rank = [&](size_t i) {
      return devices[i].unsuitable.empty() ? ranks[i] : -1;
    };
    for (size_t i = 0; i < devices.size(); ++i)
      if (!found || rank(i) > rank(*found))
        found = i;
  } else {
    size_t index = 0;
    auto [end, code] =
        std::from_chars(wanted.data(), wanted.data() + wanted.size(), index);
    bool isNumber = code == std::errc() && end == wanted.data() + wanted.size();
    if (isNumber && index < devices.size())
      found = index;
    for (size_t i = 0; i < devices.size(); ++i)
      if (!isNumber && !found &&
          strcasestr(devices[i].name.c_str(), wanted.c_str()))
        found = i;
  }
  if (!found) {
    error = {DeviceError::Kind::Usage,
             "--device " + wanted + ": expected " +
                 (devices.size() == 1
                      ? std::string("0")
                      : "0 to " + std::to_string(devices.size() - 1)) +
                 " or a part of a name, see --list-devices"};
    return std::nullopt;
  }
  const DeviceInfo &info = devices[*found];
  if (!info.unsuitable.empty()) {
    error = {DeviceError::Kind::Unavailable,
             "device '" + info.name +
                 "' cannot run this model: " + info.unsuitable};
    return std::nullopt;
  }
  return found;
}

uint64_t qc::rt::spaceSize(const QCDeviceModel &model, uint32_t space,
                           uint64_t capacity) {
  switch (space) {
  case QC_SPACE_ARENA:
    return model.arena_bytes;
  case QC_SPACE_KV:
    return model.kv_bytes_per_position * capacity;
  case QC_SPACE_TABLES:
    return model.table_bytes_per_position * capacity;
  case QC_SPACE_STATE:
    return (QC_STATE_IDS + model.max_tokens) * 4;
  case QC_SPACE_LOGITS:
    return model.max_tokens * model.vocab_size * 4;
  case QC_SPACE_INPUT:
    return (model.max_tokens + QC_INPUT_TILE - 1) / QC_INPUT_TILE *
           QC_INPUT_TILE * model.input_columns * sizeof(float);
  case QC_SPACE_TOP:
    return sizeof(QCDeviceTop);
  default:
    return 0;
  }
}

std::vector<float> qc::rt::rotaryTables(const QCDeviceModel &model,
                                        uint64_t capacity) {
  std::vector<float> values(spaceSize(model, QC_SPACE_TABLES, capacity) / 4);
  for (uint64_t i = 0; i < model.num_rotary_tables; ++i) {
    const QCRotaryTable &table = model.rotary_tables[i];
    float *row = values.data() + table.offset_per_position / 4 * capacity;
    uint32_t half = table.dim / 2;
    for (uint64_t p = 0; p < capacity; ++p, row += table.dim)
      for (uint32_t j = 0; j < half; ++j) {
        float angle = static_cast<float>(p) * table.frequencies[j];
        row[j] = std::cos(angle);
        row[half + j] = std::sin(angle);
      }
  }
  return values;
}
