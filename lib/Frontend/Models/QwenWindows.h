//===- QwenWindows.h - Sliding windows of the Qwen families -----*- C++ -*-===//
#ifndef QC_FRONTEND_MODELS_QWENWINDOWS_H
#define QC_FRONTEND_MODELS_QWENWINDOWS_H

#include "qc/Frontend/ConfigReader.h"
#include "qc/Frontend/ModelConfig.h"

namespace qc {

/// A layer has the window `sliding_window` (4096) if `use_sliding_window`
/// (false) is set and `layer_types` says "sliding_attention" for it; without
/// that list, if its index is at least `max_window_layers` (28).
inline void readQwenWindows(ConfigReader &reader, ModelConfig &config) {
  const Json *types = reader.find("layer_types");
  if (types && (!types->is_array() || types->size() != config.windows.size())) {
    reader.fail("layer_types is ", describe(*types), ", expected an array of ",
                config.layers, " names");
    return;
  }
  // null, too, means none.
  bool use =
      reader.boolean("use_sliding_window", false) &&
      (!reader.mentions("sliding_window") || reader.find("sliding_window"));
  int64_t window =
      use ? reader.integer("sliding_window", 1, int64_t(1) << 40, 4096) : 0;
  int64_t first = reader.integer("max_window_layers", 0, 1 << 20, 28);
  for (size_t i = 0; i < config.windows.size(); ++i) {
    bool sliding = static_cast<int64_t>(i) >= first;
    if (types) {
      const Json &type = (*types)[i];
      sliding = type == "sliding_attention";
      if (!sliding && type != "full_attention")
        reader.fail("layer_types has ", describe(type),
                    ", expected full_attention or sliding_attention");
    }
    config.windows[i] = sliding ? window : 0;
  }
}

} // namespace qc

#endif // QC_FRONTEND_MODELS_QWENWINDOWS_H
