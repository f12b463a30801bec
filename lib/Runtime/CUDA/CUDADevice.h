//===- CUDADevice.h - A model on an NVIDIA GPU ------------------*- C++ -*-===//
#ifndef QC_RUNTIME_CUDA_CUDADEVICE_H
#define QC_RUNTIME_CUDA_CUDADEVICE_H

#include "Driver.h"

namespace qc::rt::cuda {

class CUDADevice final : public Device {
public:
  static std::unique_ptr<Device>
  create(const QCDeviceModel &model, const void *weights, uint64_t weightBytes,
         const DeviceOptions &options, DeviceError &error);
  ~CUDADevice() override;

  bool run(int step, std::span<const int32_t> ids, int64_t position, float *out,
           DeviceError &error) override;
  bool runTop(int32_t id, int64_t position, QCDeviceTop &top,
              DeviceError &error) override;
  bool runGreedy(int32_t id, int64_t position, std::span<int32_t> tokens,
                 DeviceError &error) override;
  float *input() override { return hidden; }
  const DeviceInfo &info() const override { return physical.info; }
  bool decode(const QCDeviceTest &test, std::span<const uint8_t> blob,
              float *out, DeviceError &error) override;
  bool profile(int step, std::span<const int32_t> ids, int64_t position,
               DeviceProfile &profile, DeviceError &error) override;

private:
  /// A step as a graph. `nodes`: of the dispatches, in order.
  struct Step {
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    std::vector<CUgraphNode> nodes;
    uint32_t count = 0; ///< tokens that it was last recorded for; 0: never
  };
  /// What a kernel node is made of; kernelParams point into it.
  struct Launch {
    CUDA_KERNEL_NODE_PARAMS params = {};
    std::vector<CUdeviceptr> buffers;
    std::vector<void *> pointers;
  };

  CUDADevice(const QCDeviceModel &model, const DeviceOptions &options);

  // CUDADevice.cpp
  bool open(const DeviceOptions &options, DeviceError &error);
  bool loadCode(DeviceError &error);
  bool loadFunctions(DeviceError &error);
  bool loadFunction(uint32_t kernel, DeviceError &error);
  bool describeLaunch(const QCDispatch &dispatch, uint32_t count,
                      Launch &launch, DeviceError &error) const;
  /// Adds a kernel behind `before` to a graph. `alone`: nothing else depends on
  /// `before`.
  bool addKernel(CUgraph graph, std::span<const CUgraphNode> before,
                 const QCDispatch &dispatch, uint32_t count, bool alone,
                 CUgraphNode &node, DeviceError &error);
  /// Makes the graph of `step` for `count` tokens.
  bool record(int step, uint32_t count, DeviceError &error);
  /// Grids for another number of tokens.
  bool update(int step, uint32_t count, DeviceError &error);
  /// Writes the state, launches the graph of `step`, `times` in a row, and
  /// copies `bytes` of `space` to `out`, pinned memory.
  bool replay(int step, std::span<const int32_t> ids, int64_t position,
              uint32_t space, void *out, uint64_t bytes, DeviceError &error,
              size_t times = 1);
  /// Waits for everything that was given to the stream, at most timeoutSeconds.
  bool wait(const std::string &what, DeviceError &error);
  bool waitFor(CUevent done, const std::string &what, DeviceError &error);
  bool check(CUresult result, const std::string &what, DeviceError &error);

  // Profile.cpp
  bool timeGraph(CUgraphExec exec, const std::string &what,
                 double &microseconds, DeviceError &error);
  /// Of a launch of one kernel on the regions of `launches`, in turn.
  bool timeKernel(std::span<const QCDispatch *const> launches, uint32_t count,
                  double &microseconds, DeviceError &error);

  // Memory.cpp
  bool createBuffers(const void *weights, uint64_t weightBytes,
                     DeviceError &error);
  bool allocate(uint64_t bytes, const std::string &what, CUdeviceptr &to,
                DeviceError &error);
  /// Pinned memory of the host.
  bool allocateHost(uint64_t bytes, const std::string &what, void *&to,
                    DeviceError &error);
  bool upload(const void *data, uint64_t bytes, CUdeviceptr to,
              const std::string &what, DeviceError &error);

  const QCDeviceModel &model;
  int64_t timeoutSeconds;
  uint64_t capacity; ///< a multiple of QC_CAPACITY_TILE
  Api api;
  PhysicalDevice physical;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUevent event = nullptr;
  CUmodule module = nullptr;
  uint32_t codeArch = 0;             ///< of the module
  std::vector<CUfunction> functions; ///< of the kernels that steps use
  CUdeviceptr spaces[QC_NUM_SPACES] = {};
  uint64_t spaceBytes[QC_NUM_SPACES] = {};
  QCDeviceState *state = nullptr; ///< pinned, copied in
  float *logits = nullptr;        ///< pinned, copied out
  uint64_t logitRows = 0;
  QCDeviceTop *candidates = nullptr; ///< pinned, copied out
  float *hidden = nullptr;           ///< pinned, copied in
  Step steps[QC_NUM_STEPS];
  /// Lost or hung: whatever waits for it would wait for ever.
  bool broken = false;
};

} // namespace qc::rt::cuda

#endif // QC_RUNTIME_CUDA_CUDADEVICE_H
