//===- Session.h - A running model ------------------------------*- C++ -*-===//
//
// One sequence of tokens over a model: KV cache, scratch memory and the team of
// threads, or the device that the model was compiled for. Ids and positions are
// checked here, before generated code sees them.
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_SESSION_SESSION_H
#define QC_RUNTIME_SESSION_SESSION_H

#include "qc/Runtime/Device/Device.h"
#include "qc/Runtime/ModelABI.h"
#include "qc/Runtime/Session/HugePages.h"
#include "qc/Runtime/Threads/TeamSize.h"
#include "qc/Runtime/Threads/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace qc::rt {

/// Anonymous memory, zero pages until touched, huge pages where possible.
class Memory {
public:
  Memory() = default;
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  /// False if the system does not grant `bytes`, or cannot: more than there is
  /// would be granted today and end in the out-of-memory killer tomorrow.
  bool allocate(size_t bytes);
  void *get() const { return base; }

private:
  void *base = nullptr;
  size_t size = 0;
};

/// Bytes that can be allocated without swapping: free memory and page cache.
/// At least 0; an estimate.
int64_t availableMemory();

/// One sequence over a model. Everything is allocated here; evaluating tokens
/// allocates nothing. Not thread safe: one caller at a time.
class Session {
public:
  struct Options {
    int64_t threads = 1;  ///< >= 1
    int64_t capacity = 0; ///< positions of the KV cache, >= 1
    bool pin = false;     ///< workers stay on one CPU each
    /// `weights` is a mapping of a file, to be moved to huge pages.
    bool hugePages = false;
    /// All threads run every step, even while there are CPUs for fewer.
    bool fixedThreads = false;
    std::string device; ///< see DeviceOptions; of a model on a GPU
    int64_t deviceTimeout = DeviceOptions().timeoutSeconds;
  };
  /// `weights`: section "weights", QCModel::weights_bytes long, 64-byte
  /// aligned. `deviceError`: set where a device is the reason of a failure.
  static std::unique_ptr<Session>
  create(const QCModel &model, const void *weights, const Options &options,
         std::string &error,
         std::optional<DeviceError::Kind> *deviceError = nullptr);

  /// Appends `ids` to the sequence, QCModel::max_tokens at a time; logits
  /// [vocab_size] of the last one, valid until the next call. Null and `error`
  /// if an id is out of range, the context is full, or stop() was set; in the
  /// last case the chunks before stay in the sequence.
  const float *append(std::span<const int32_t> ids, std::string &error);

  /// Whether appendTop() and appendGreedy() are there: on devices that choose
  /// among the logits, and go on by themselves.
  bool choosesOnDevice() const { return hasStep(QC_STEP_DECODE_TOP); }
  bool goesAheadOnDevice() const { return hasStep(QC_STEP_DECODE_GREEDY); }
  /// Appends one token; the candidates for the next one. False as append().
  bool appendTop(int32_t id, QCDeviceTop &top, std::string &error);
  /// Appends `id`, the most likely token after it and so on, tokens.size() in
  /// all, as far as the context has room and the device goes in one turn.
  /// `tokens`: what comes after each, so the last of them is not appended; -1
  /// where logits are not numbers. How many; 0 is failure, as append().
  size_t appendGreedy(int32_t id, std::span<int32_t> tokens,
                      std::string &error);

  /// Appends `ids` and calls sink(index of the first row, logits, rows) for
  /// the logits [rows, vocab_size] of every token, a chunk at a time. False if
  /// the sink returns false, or as append().
  bool score(std::span<const int32_t> ids,
             const std::function<bool(int64_t, const float *, int64_t)> &sink,
             std::string &error);

  /// When `flag` becomes true (a signal handler may set it), append() and
  /// score() end between chunks.
  void setStopFlag(const std::atomic<bool> *flag) { stopFlag = flag; }

  int64_t position() const { return used; }
  int64_t capacity() const { return limit; }
  int64_t threads() const { return pool->size(); }
  ThreadPool &threadPool() { return *pool; }
  /// Least threads that have run a step since the session was created.
  int64_t fewestThreads() const { return fewest; }
  const QCModel &model() const { return m; }
  /// Null on the CPU.
  const Device *device() const { return gpu.get(); }
  /// Why the device failed in append() or score(), if it did.
  std::optional<DeviceError::Kind> deviceFailure() const { return failure; }
  /// Forgets everything from `position` on.
  void truncate(int64_t position) {
    used = std::clamp<int64_t>(position, 0, used);
  }

private:
  Session(const QCModel &model, const void *weights, int64_t capacity)
      : m(model), weights(weights), limit(capacity) {}
  bool check(std::span<const int32_t> ids, std::string &error) const;
  bool stopped(std::string &error) const;
  bool hasStep(int kind) const {
    return gpu && m.device->steps[kind].num_dispatches > 0;
  }
  bool failed(const DeviceError &reason, std::string &error);
  /// Runs QC_STEP_`kind`. False and `error` only on a device.
  bool step(int kind, std::span<const int32_t> ids, float *out,
            std::string &error);
  void stepOnCPU(int kind, std::span<const int32_t> ids, float *out);
  /// The layers before the device's.
  void stepBefore(int kind, std::span<const int32_t> ids) {
    if (m.gpu_layers)
      stepOnCPU(kind, ids, gpu->input());
  }

  const QCModel &m;
  const void *weights;
  int64_t limit, used = 0;
  int64_t allocated = 0; ///< positions that the KV cache has room for
  Memory arena, kv;
  std::vector<float> logits, rows;
  std::unique_ptr<ThreadPool> pool;
  std::optional<TeamSize> teamSize; ///< none: always all threads
  int64_t fewest = 1;
  const std::atomic<bool> *stopFlag = nullptr;
  HugePages hugePages;
  std::unique_ptr<Device> gpu;
  std::optional<DeviceError::Kind> failure;
};

} // namespace qc::rt

#endif // QC_RUNTIME_SESSION_SESSION_H
