//===- Device.h - Runs the steps of a QCDeviceModel -------------*- C++ -*-===//
//
// A session's model on a GPU: its buffers, its kernels and its recorded steps.
// One class a driver interface; a session knows this one only.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_DEVICE_DEVICE_H
#define QC_RUNTIME_DEVICE_DEVICE_H

#include "qc/Runtime/ModelABI.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace qc::rt {

/// Why a device cannot go on, in one line, and what kind of reason it is.
struct DeviceError {
  enum class Kind {
    Usage,       ///< no device of that name
    Unavailable, ///< no driver, no device, or it lacks something
    OutOfMemory,
    Failed ///< lost, hung
  };
  Kind kind = Kind::Unavailable;
  std::string message;
};

/// One device as `--list-devices` shows it.
struct DeviceInfo {
  std::string name, type, driver;
  uint64_t memoryBytes = 0;
  /// Why the model cannot run on it; empty if it can.
  std::string unsuitable;
};

struct DeviceOptions {
  /// Index in the list or a part of the name; empty: the most capable one.
  std::string device;
  int64_t capacity = 0; ///< positions of the KV cache, >= 1
  /// A step that takes longer counts as hung.
  int64_t timeoutSeconds = 600;
};

/// How long one kernel of a step takes.
struct KernelProfile {
  std::string name;
  uint64_t launches = 0;   ///< of a step
  double microseconds = 0; ///< of a launch, among launches of its own kind
  /// Of the weights and vectors that a launch is given; an embedding reads a
  /// part of them only.
  uint64_t weightBytes = 0;
};

struct DeviceProfile {
  double microseconds = 0; ///< of the step as it runs, without copies
  std::vector<KernelProfile> kernels;
};

/// The step that runs `count` tokens as QC_STEP_PREFILL or QC_STEP_SCORE does.
inline int stepFor(const QCDeviceModel &model, int step, size_t count) {
  int few = step == QC_STEP_PREFILL ? QC_STEP_PREFILL_FEW
            : step == QC_STEP_SCORE ? QC_STEP_SCORE_FEW
                                    : step;
  return count <= QC_FEW_TOKENS && model.steps[few].num_dispatches > 0 ? few
                                                                       : step;
}
/// Whether a step has the logits of every token.
inline bool scores(int step) {
  return step == QC_STEP_SCORE || step == QC_STEP_SCORE_FEW;
}

class Device {
public:
  virtual ~Device();

  /// Runs a step (QC_STEP_*) over `ids` at `position`; its logits go to `out`.
  /// After an error the device is of no use any more.
  virtual bool run(int step, std::span<const int32_t> ids, int64_t position,
                   float *out, DeviceError &error) = 0;
  /// Of the step of one token: the candidates for the next one. The model has
  /// QC_STEP_DECODE_TOP.
  virtual bool runTop(int32_t id, int64_t position, QCDeviceTop &top,
                      DeviceError &error) = 0;
  /// `tokens.size()` steps, QC_RECENT_TOKENS at most, each over the most likely
  /// token after the one before; the first over `id`. The model has
  /// QC_STEP_DECODE_GREEDY.
  virtual bool runGreedy(int32_t id, int64_t position,
                         std::span<int32_t> tokens, DeviceError &error) = 0;
  /// Where the hidden states of the next step's tokens go,
  /// float [max_tokens][input_columns]; null if steps begin with ids.
  virtual float *input() = 0;
  virtual const DeviceInfo &info() const = 0;
  /// Decodes the packed weight `blob` by the kernel of `test`: out [n][k].
  virtual bool decode(const QCDeviceTest &test, std::span<const uint8_t> blob,
                      float *out, DeviceError &error) = 0;
  /// Times a step over `ids` at `position` and each of its kernels. The KV
  /// cache is of no use afterwards.
  virtual bool profile(int step, std::span<const int32_t> ids, int64_t position,
                       DeviceProfile &profile, DeviceError &error);
};

/// Makes the device that `model.target` names, with the packed weights (64-byte
/// aligned, a mapping of a file where `mapped`) on it.
std::unique_ptr<Device> createDevice(const QCDeviceModel &model,
                                     const void *weights, uint64_t weightBytes,
                                     const DeviceOptions &options,
                                     DeviceError &error);

/// The part of section "weights" that is the device's.
inline std::pair<const void *, uint64_t> deviceWeights(const QCModel &model,
                                                       const void *weights) {
  int64_t offset = model.device_weights_offset;
  return {static_cast<const char *>(weights) + offset,
          static_cast<uint64_t>(model.weights_bytes - offset)};
}

/// The devices of the interface that `model.target` names. An error if there
/// is no driver.
bool listDevices(const QCDeviceModel &model, std::vector<DeviceInfo> &devices,
                 DeviceError &error);

} // namespace qc::rt

#endif // QC_RUNTIME_DEVICE_DEVICE_H
