//===- Profile.cpp - Times of a step and of its kernels -------------------===//
//
// A kernel is timed as the step runs it: a graph launches it on the regions of
// all layers, one after the other, so that weights come from memory and not
// from the cache. Such times leave out what starting another kernel costs,
// which the time of the whole step has.
//
//===----------------------------------------------------------------------===//
#include "CUDADevice.h"

#include <algorithm>

using namespace qc::rt;
using namespace qc::rt::cuda;

namespace {
constexpr int repetitions = 9;
/// Of one graph: shorter ones would measure the start of a graph.
constexpr size_t leastLaunches = 16;
} // namespace

/// Microseconds of `exec`, the median of some launches.
bool CUDADevice::timeGraph(CUgraphExec exec, const std::string &what,
                           double &microseconds, DeviceError &error) {
  CUevent begin = nullptr, end = nullptr;
  std::vector<float> times;
  bool good = check(api.EventCreate(&begin, 0), what, error) &&
              check(api.EventCreate(&end, 0), what, error);
  // The first one warms up. While it runs the host gives the second one to the
  // device, so that the time between the events is the device's.
  for (int i = 0; good && i < repetitions; ++i) {
    float milliseconds = 0;
    good = check(api.GraphLaunch(exec, stream), what, error) &&
           check(api.EventRecord(begin, stream), what, error) &&
           check(api.GraphLaunch(exec, stream), what, error) &&
           check(api.EventRecord(end, stream), what, error) &&
           waitFor(end, what, error) &&
           check(api.EventElapsedTime(&milliseconds, begin, end), what, error);
    times.push_back(milliseconds);
  }
  if (!broken)
    for (CUevent created : {begin, end})
      if (created)
        api.EventDestroy(created);
  if (!good)
    return false;
  std::nth_element(times.begin(), times.begin() + repetitions / 2, times.end());
  microseconds = 1000.0 * static_cast<double>(times[repetitions / 2]);
  return true;
}

bool CUDADevice::timeKernel(std::span<const QCDispatch *const> launches,
                            uint32_t count, double &microseconds,
                            DeviceError &error) {
  std::string what =
      std::string("kernel ") + model.kernels[launches.front()->kernel].name;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CUgraphNode last = nullptr;
  bool good = check(api.GraphCreate(&graph, 0), what, error);
  size_t times = 0;
  while (good && (times < leastLaunches || times % launches.size() != 0)) {
    CUgraphNode node = nullptr;
    good = addKernel(graph, {&last, last ? size_t(1) : 0},
                     *launches[times % launches.size()], count,
                     /*alone=*/true, node, error);
    last = node;
    ++times;
  }
  good = good && check(api.GraphInstantiate(&exec, graph, 0), what, error) &&
         timeGraph(exec, what, microseconds, error);
  microseconds /= static_cast<double>(times);
  if (exec && !broken)
    api.GraphExecDestroy(exec);
  if (graph && !broken)
    api.GraphDestroy(graph);
  return good;
}

bool CUDADevice::profile(int step, std::span<const int32_t> ids,
                         int64_t position, DeviceProfile &profile,
                         DeviceError &error) {
  // Leaves the state, and in each buffer numbers that kernels may read.
  uint64_t rows = scores(step) ? ids.size() : 1;
  std::vector<float> out(rows * model.vocab_size);
  if (!run(step, ids, position, out.data(), error))
    return false;
  auto count = static_cast<uint32_t>(ids.size());
  if (!timeGraph(steps[step].exec, "a step", profile.microseconds, error))
    return false;
  const QCDispatchList &list = model.steps[step];
  std::vector<std::vector<const QCDispatch *>> launches(model.num_kernels);
  for (uint64_t i = 0; i < list.num_dispatches; ++i)
    launches[list.dispatches[i].kernel].push_back(&list.dispatches[i]);
  for (const auto &own : launches) {
    if (own.empty())
      continue;
    const QCDeviceKernel &kernel = model.kernels[own.front()->kernel];
    KernelProfile times;
    times.name = kernel.name;
    times.launches = own.size();
    for (uint32_t i = 0; i < kernel.num_buffers; ++i) {
      const QCDeviceBuffer &b = model.buffers[own.front()->first_buffer + i];
      if (b.space == QC_SPACE_WEIGHTS)
        times.weightBytes += b.size;
    }
    if (!timeKernel(own, count, times.microseconds, error))
      return false;
    profile.kernels.push_back(std::move(times));
  }
  return true;
}
