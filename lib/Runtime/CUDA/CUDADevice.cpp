//===- CUDADevice.cpp - A model on an NVIDIA GPU --------------------------===//
#include "CUDADevice.h"

#include "../Device/Common.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <sched.h>
#include <thread>

using namespace qc::rt;
using namespace qc::rt::cuda;

/// After such an error every call fails until the process ends.
static bool isLost(CUresult result) {
  return result == CUDA_ERROR_ECC_UNCORRECTABLE ||
         result == CUDA_ERROR_NVLINK_UNCORRECTABLE ||
         result == CUDA_ERROR_CONTAINED ||
         result == CUDA_ERROR_ILLEGAL_ADDRESS ||
         result == CUDA_ERROR_LAUNCH_TIMEOUT || result == CUDA_ERROR_ASSERT ||
         (result >= 714 && result <= CUDA_ERROR_LAUNCH_FAILED) ||
         result == CUDA_ERROR_UNKNOWN;
}

bool CUDADevice::check(CUresult result, const std::string &what,
                       DeviceError &error) {
  if (result == CUDA_SUCCESS)
    return true;
  bool memory = result == CUDA_ERROR_OUT_OF_MEMORY;
  broken |= isLost(result);
  error = {memory ? DeviceError::Kind::OutOfMemory : DeviceError::Kind::Failed,
           "device '" + physical.info.name + "', " + what + ": " +
               (isLost(result) ? "the device was lost: " : "") +
               api.describe(result)};
  return false;
}

CUDADevice::CUDADevice(const QCDeviceModel &model, const DeviceOptions &options)
    : model(model), timeoutSeconds(options.timeoutSeconds),
      capacity(static_cast<uint64_t>(options.capacity + QC_CAPACITY_TILE - 1) /
               QC_CAPACITY_TILE * QC_CAPACITY_TILE) {}

std::unique_ptr<Device> CUDADevice::create(const QCDeviceModel &model,
                                           const void *weights,
                                           uint64_t weightBytes,
                                           const DeviceOptions &options,
                                           DeviceError &error) {
  std::unique_ptr<CUDADevice> result(new CUDADevice(model, options));
  if (!result->open(options, error) || !result->loadCode(error) ||
      !result->loadFunctions(error) ||
      !result->createBuffers(weights, weightBytes, error))
    return nullptr;
  return result;
}

bool CUDADevice::open(const DeviceOptions &options, DeviceError &error) {
  std::vector<PhysicalDevice> devices;
  if (!api.open(error) || !enumerate(api, model, devices, error))
    return false;
  std::vector<DeviceInfo> infos;
  for (const PhysicalDevice &device : devices)
    infos.push_back(device.info);
  // The driver lists the fastest device first.
  std::optional<size_t> chosen = chooseDevice(
      infos, std::vector<int>(infos.size()), options.device, error);
  if (!chosen)
    return false;
  physical = devices[*chosen];
  if (!check(api.DevicePrimaryCtxRetain(&context, physical.handle),
             "cannot be opened", error)) {
    context = nullptr;
    if (error.kind == DeviceError::Kind::Failed && !broken)
      error.kind = DeviceError::Kind::Unavailable;
    return false;
  }
  return check(api.CtxSetCurrent(context), "cannot be opened", error) &&
         check(api.StreamCreate(&stream, CU_STREAM_NON_BLOCKING), "stream",
               error) &&
         check(api.EventCreate(&event, CU_EVENT_DISABLE_TIMING), "event",
               error);
}

/// The first of the model's codes that the device runs. Of codes that the
/// driver refuses (PTX newer than the driver) the next one is tried.
bool CUDADevice::loadCode(DeviceError &error) {
  error.message.clear();
  for (uint64_t i = 0; i < model.num_codes; ++i) {
    const QCDeviceCode &code = model.codes[i];
    if (!canRun(code, physical.arch))
      continue;
    std::vector<char> log(16384);
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER,
                              CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log.data(), reinterpret_cast<void *>(log.size() - 1)};
    CUresult result =
        api.ModuleLoadDataEx(&module, code.data, 2, options, values);
    if (result == CUDA_SUCCESS) {
      codeArch = code.arch;
      return true;
    }
    module = nullptr;
    DeviceError reason;
    std::string what = code.kind == QC_CODE_PTX ? "PTX" : "cubin";
    check(result,
          what + " for compute capability " + std::to_string(code.arch / 10) +
              "." + std::to_string(code.arch % 10),
          reason);
    if (reason.kind == DeviceError::Kind::OutOfMemory || broken) {
      error = reason;
      return false;
    }
    reason.kind = DeviceError::Kind::Unavailable;
    if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
      reason.message += ": the driver has CUDA " + versionText(api.version) +
                        ", a later one is expected";
    std::string line(log.data());
    line.resize(std::min(line.find_first_of("\r\n"), line.size()));
    if (!line.empty())
      reason.message += ": " + line;
    if (error.message.empty())
      error = reason;
  }
  return false;
}

bool CUDADevice::loadFunctions(DeviceError &error) {
  functions.resize(model.num_kernels);
  for (const QCDispatchList &list : model.steps)
    for (uint64_t i = 0; i < list.num_dispatches; ++i)
      if (!loadFunction(list.dispatches[i].kernel, error))
        return false;
  return true;
}

bool CUDADevice::loadFunction(uint32_t index, DeviceError &error) {
  if (functions[index])
    return true;
  const QCDeviceKernel &kernel = model.kernels[index];
  std::string what = std::string("kernel ") + kernel.name;
  CUfunction function = nullptr;
  if (!check(api.ModuleGetFunction(&function, module, kernel.name), what,
             error))
    return false;
  // More than 48 KiB must be asked for.
  if (kernel.shared_bytes > 48 * 1024 &&
      !check(api.FuncSetAttribute(
                 function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                 static_cast<int>(kernel.shared_bytes)),
             what, error))
    return false;
  functions[index] = function;
  return true;
}

bool CUDADevice::describeLaunch(const QCDispatch &dispatch, uint32_t count,
                                Launch &launch, DeviceError &error) const {
  const QCDeviceKernel &kernel = model.kernels[dispatch.kernel];
  uint32_t grid[3];
  for (int i = 0; i < 3; ++i) {
    grid[i] = extent(dispatch.grid[i], count);
    if (grid[i] > physical.maxGrid[i]) {
      error = {DeviceError::Kind::Unavailable,
               "device '" + physical.info.name + "' runs at most " +
                   std::to_string(physical.maxGrid[i]) +
                   " blocks in a row, kernel " + kernel.name + " needs " +
                   std::to_string(grid[i])};
      return false;
    }
  }
  launch.buffers.resize(kernel.num_buffers);
  launch.pointers.resize(kernel.num_buffers);
  for (uint32_t i = 0; i < kernel.num_buffers; ++i) {
    const QCDeviceBuffer &b = model.buffers[dispatch.first_buffer + i];
    launch.buffers[i] =
        spaces[b.space] + b.offset + b.offset_per_position * capacity;
    launch.pointers[i] = &launch.buffers[i];
  }
  launch.params = {functions[dispatch.kernel],
                   grid[0],
                   grid[1],
                   grid[2],
                   kernel.workgroup_size[0],
                   kernel.workgroup_size[1],
                   kernel.workgroup_size[2],
                   kernel.shared_bytes,
                   launch.pointers.data(),
                   nullptr};
  return true;
}

// A kernel that waits for itself may start while the one before still runs: so
// its start costs nothing, and it can fetch weights in that time.
bool CUDADevice::addKernel(CUgraph graph, std::span<const CUgraphNode> before,
                           const QCDispatch &dispatch, uint32_t count,
                           bool alone, CUgraphNode &node, DeviceError &error) {
  const QCDeviceKernel &kernel = model.kernels[dispatch.kernel];
  std::string what = std::string("kernel ") + kernel.name;
  bool early = alone && api.GraphAddDependencies && codeArch >= 90 &&
               (kernel.flags & QC_KERNEL_WAITS) && before.size() == 1;
  Launch launch;
  if (!describeLaunch(dispatch, count, launch, error) ||
      !check(api.GraphAddKernelNode(&node, graph, before.data(),
                                    early ? 0 : before.size(), &launch.params),
             what, error))
    return false;
  if (!early)
    return true;
  CUgraphEdgeData edge = {};
  edge.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
  edge.type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  return check(api.GraphAddDependencies(graph, before.data(), &node, &edge, 1),
               what, error);
}

/// Kernels between two barriers do not depend on each other; each depends on
/// all of the group before, through an empty node where both are several.
bool CUDADevice::record(int index, uint32_t count, DeviceError &error) {
  Step &step = steps[index];
  const QCDispatchList &list = model.steps[index];
  if (!check(api.GraphCreate(&step.graph, 0), "graph", error)) {
    step.graph = nullptr;
    return false;
  }
  auto isBarrier = [&](uint64_t i) {
    return i == list.num_dispatches || list.dispatches[i].barrier;
  };
  std::vector<CUgraphNode> before, group;
  for (uint64_t i = 0; i < list.num_dispatches; ++i) {
    const QCDispatch &dispatch = list.dispatches[i];
    if (dispatch.barrier && !group.empty()) {
      before = std::move(group);
      group.clear();
      if (before.size() > 1 && !isBarrier(i + 1)) {
        CUgraphNode join = nullptr;
        if (!check(api.GraphAddEmptyNode(&join, step.graph, before.data(),
                                         before.size()),
                   "graph", error))
          return false;
        before = {join};
      }
    }
    CUgraphNode node = nullptr;
    // A kernel lets one other start early, not several.
    bool alone = group.empty() && isBarrier(i + 1);
    if (!addKernel(step.graph, before, dispatch, count, alone, node, error))
      return false;
    step.nodes.push_back(node);
    group.push_back(node);
  }
  if (!check(api.GraphInstantiate(&step.exec, step.graph, 0), "graph", error)) {
    step.exec = nullptr;
    return false;
  }
  step.count = count;
  return true;
}

bool CUDADevice::update(int index, uint32_t count, DeviceError &error) {
  Step &step = steps[index];
  const QCDispatchList &list = model.steps[index];
  for (uint64_t i = 0; i < list.num_dispatches; ++i) {
    const QCDispatch &dispatch = list.dispatches[i];
    bool same = true;
    for (QCDeviceExtent e : dispatch.grid)
      same &= extent(e, count) == extent(e, step.count);
    Launch launch;
    if (!same &&
        (!describeLaunch(dispatch, count, launch, error) ||
         !check(api.GraphExecKernelNodeSetParams(step.exec, step.nodes[i],
                                                 &launch.params),
                std::string("kernel ") + model.kernels[dispatch.kernel].name,
                error))) {
      broken = true; // half of the nodes have the new number
      return false;
    }
  }
  step.count = count;
  return true;
}

bool CUDADevice::waitFor(CUevent done, const std::string &what,
                         DeviceError &error) {
  using Clock = std::chrono::steady_clock;
  auto start = Clock::now();
  for (;;) {
    CUresult result = api.EventQuery(done);
    if (result != CUDA_ERROR_NOT_READY) {
      broken |= result != CUDA_SUCCESS;
      return check(result, what, error);
    }
    auto passed = Clock::now() - start;
    // The watchdog: a hung kernel on a GPU without a display runs for ever.
    if (passed > std::chrono::seconds(timeoutSeconds)) {
      broken = true;
      error = {DeviceError::Kind::Failed, "device '" + physical.info.name +
                                              "', " + what + ": no answer in " +
                                              std::to_string(timeoutSeconds) +
                                              " seconds"};
      return false;
    }
    // A token takes milliseconds; what takes longer may wait a little more.
    if (passed < std::chrono::milliseconds(50))
      sched_yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

bool CUDADevice::wait(const std::string &what, DeviceError &error) {
  return check(api.EventRecord(event, stream), what, error) &&
         waitFor(event, what, error);
}

bool CUDADevice::replay(int step, std::span<const int32_t> ids,
                        int64_t position, uint32_t space, void *out,
                        uint64_t bytes, DeviceError &error, size_t times) {
  auto count = static_cast<uint32_t>(ids.size());
  if (broken || model.steps[step].num_dispatches == 0) {
    error = {DeviceError::Kind::Failed,
             "device '" + physical.info.name + "' cannot run this step"};
    return false;
  }
  // A context belongs to a thread, and any may call.
  if (!check(api.CtxSetCurrent(context), "a step", error))
    return false;
  state->position = static_cast<int32_t>(position);
  state->count = static_cast<int32_t>(count);
  state->capacity = static_cast<int32_t>(capacity);
  std::memcpy(state->ids, ids.data(), ids.size_bytes());
  if (!steps[step].count) {
    if (!record(step, count, error)) {
      broken = true; // a step is recorded whole or not at all
      return false;
    }
  } else if (steps[step].count != count && !update(step, count, error)) {
    return false;
  }
  std::string what = "a step of " + std::to_string(count) + " tokens";
  bool good =
      check(api.MemcpyHtoDAsync(spaces[QC_SPACE_STATE], state,
                                QC_STATE_IDS * 4 + ids.size_bytes(), stream),
            what, error);
  if (good && hidden)
    good = check(api.MemcpyHtoDAsync(
                     spaces[QC_SPACE_INPUT], hidden,
                     count * model.input_columns * sizeof(float), stream),
                 what, error);
  for (size_t i = 0; good && i < times; ++i)
    good = check(api.GraphLaunch(steps[step].exec, stream), what, error);
  good = good &&
         check(api.MemcpyDtoHAsync(out, spaces[space], bytes, stream), what,
               error) &&
         wait(what, error);
  broken |= !good;
  return good;
}

bool CUDADevice::run(int step, std::span<const int32_t> ids, int64_t position,
                     float *out, DeviceError &error) {
  uint64_t rows = scores(step) ? ids.size() : 1;
  uint64_t bytes = rows * model.vocab_size * sizeof(float);
  if (rows > logitRows && !broken) {
    if (!check(api.CtxSetCurrent(context), "a step", error))
      return false;
    if (logits)
      api.MemFreeHost(logits);
    void *memory = nullptr;
    logits = nullptr;
    logitRows = 0;
    if (!allocateHost(bytes, "logits", memory, error))
      return false;
    logits = static_cast<float *>(memory);
    logitRows = rows;
  }
  if (!replay(step, ids, position, QC_SPACE_LOGITS, logits, bytes, error))
    return false;
  std::memcpy(out, logits, bytes);
  return true;
}

bool CUDADevice::runTop(int32_t id, int64_t position, QCDeviceTop &top,
                        DeviceError &error) {
  if (!replay(QC_STEP_DECODE_TOP, {&id, 1}, position, QC_SPACE_TOP, candidates,
              sizeof top, error))
    return false;
  top = *candidates;
  return true;
}

bool CUDADevice::runGreedy(int32_t id, int64_t position,
                           std::span<int32_t> tokens, DeviceError &error) {
  // The stream copies it in before it copies it out.
  if (!replay(QC_STEP_DECODE_GREEDY, {&id, 1}, position, QC_SPACE_STATE, state,
              QC_STATE_IDS * 4, error, tokens.size()))
    return false;
  takeRecent(*state, position, tokens);
  return true;
}

bool CUDADevice::decode(const QCDeviceTest &test, std::span<const uint8_t> blob,
                        float *out, DeviceError &error) {
  auto outBytes = static_cast<uint64_t>(test.n * test.k) * sizeof(float);
  CUdeviceptr buffers[2] = {};
  void *parameters[] = {&buffers[0], &buffers[1]};
  void *results = nullptr;
  const QCDeviceKernel &kernel = model.kernels[test.kernel];
  bool good =
      !broken && check(api.CtxSetCurrent(context), "a test", error) &&
      loadFunction(test.kernel, error) &&
      allocate(blob.size(), "test weight", buffers[0], error) &&
      allocate(outBytes, "test results", buffers[1], error) &&
      allocateHost(outBytes, "test results", results, error) &&
      upload(blob.data(), blob.size(), buffers[0], "test weight", error) &&
      check(api.LaunchKernel(functions[test.kernel], 256,
                             static_cast<unsigned>((test.n + 255) / 256), 1,
                             kernel.workgroup_size[0], kernel.workgroup_size[1],
                             kernel.workgroup_size[2], kernel.shared_bytes,
                             stream, parameters, nullptr),
            "a test", error) &&
      check(api.MemcpyDtoHAsync(results, buffers[1], outBytes, stream),
            "a test", error) &&
      wait("a test", error);
  if (good)
    std::memcpy(out, results, outBytes);
  if (!broken) {
    for (CUdeviceptr buffer : buffers)
      if (buffer)
        api.MemFree(buffer);
    if (results)
      api.MemFreeHost(results);
  }
  return good;
}

CUDADevice::~CUDADevice() {
  // A lost or hung device keeps what it has: freeing would wait for it.
  if (!context || broken)
    return;
  api.CtxSetCurrent(context);
  for (Step &step : steps) {
    if (step.exec)
      api.GraphExecDestroy(step.exec);
    if (step.graph)
      api.GraphDestroy(step.graph);
  }
  for (CUdeviceptr space : spaces)
    if (space)
      api.MemFree(space);
  if (state)
    api.MemFreeHost(state);
  if (logits)
    api.MemFreeHost(logits);
  if (candidates)
    api.MemFreeHost(candidates);
  if (hidden)
    api.MemFreeHost(hidden);
  if (module)
    api.ModuleUnload(module);
  if (event)
    api.EventDestroy(event);
  if (stream)
    api.StreamDestroy(stream);
  api.DevicePrimaryCtxRelease(physical.handle);
}
