//===- ModelConfig.h - What config.json says of a model ---------*- C++ -*-===//
//
// One description for all decoder families that qc imports; what differs
// between them are fields here, set by lib/Frontend/Models/<Family>.cpp. Both
// layouts of config.json are read: with rope_theta and rope_scaling at the top,
// and with rope_parameters (transformers 5).
//
// Everything has been checked: sizes are positive and bounded, heads divide.
//
//===----------------------------------------------------------------------===//
#ifndef QC_FRONTEND_MODELCONFIG_H
#define QC_FRONTEND_MODELCONFIG_H

#include "qc/Frontend/Json.h"

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace qc {

enum class RopeScaling { None, Linear, Llama3 };

/// As #lm.rope has it.
struct RopeConfig {
  double theta = 10000;
  RopeScaling scaling = RopeScaling::None;
  double factor = 1, low = 1, high = 4;
  int64_t original = 0; ///< positions before scaling (llama3)
};

enum class Activation { SiLU, GELU, GELUTanh, ReLU };

struct ModelConfig {
  std::string architecture; ///< "LlamaForCausalLM"
  int64_t hidden = 0, intermediate = 0, layers = 0;
  int64_t heads = 0, kvHeads = 0, headDim = 0;
  int64_t vocab = 0, maxPositions = 0;
  double rmsEps = 1e-6;
  RopeConfig rope;
  Activation activation = Activation::SiLU;
  bool tied = false;       ///< the head is the embedding
  bool qkvBias = false;    ///< of q_proj, k_proj and v_proj
  bool outputBias = false; ///< of o_proj
  bool mlpBias = false;    ///< of gate_proj, up_proj and down_proj
  bool qkNorm = false;     ///< q_norm and k_norm, one weight for all heads
  /// Of each layer; 0: attends to all positions.
  std::vector<int64_t> windows;
  std::optional<int64_t> bosId;
  std::vector<int64_t> eosIds; ///< any of them ends a text; may be empty
};

/// Reads `folder`/config.json and, if there is one, the end-of-text ids of
/// generation_config.json, which overrule those of config.json.
llvm::Expected<ModelConfig> readModelConfig(llvm::StringRef folder);

/// The same from a parsed config.json; `where` opens the message.
llvm::Expected<ModelConfig> parseModelConfig(const Json &json,
                                             llvm::StringRef where);

class ConfigReader;

/// A family of models: a file of lib/Frontend/Models.
struct Architecture {
  const char *name;      ///< in "architectures" of config.json
  const char *modelType; ///< in "model_type", if there is no "architectures"
  int64_t headDim;       ///< default; 0: hidden / heads
  /// Reads the fields that this family has on its own; the others are set.
  void (*configure)(ConfigReader &, ModelConfig &);
};

llvm::ArrayRef<const Architecture *> allArchitectures();

} // namespace qc

#endif // QC_FRONTEND_MODELCONFIG_H
