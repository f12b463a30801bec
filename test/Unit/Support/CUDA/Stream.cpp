//===- Stream.cpp - Streams, events and graphs of the test libcuda --------===//
#include "Fake.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

using namespace qc::test::fakecuda;

CUresult qc::test::fakecuda::lasting = CUDA_SUCCESS;

namespace {

struct Stream {
  std::vector<Work> work;
};

struct Event {
  bool timed = false, done = false;
  Stream *stream = nullptr;
  size_t behind = 0; ///< work of the stream that it waits for
  int queries = 0;
};

struct Node {
  struct Graph *graph;
  bool empty;
  Launch launch;
  std::vector<size_t> dependencies; ///< indices of nodes
  int programmatic = 0;             ///< edges to others
};

struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;
};

struct Exec {
  Graph *graph;
  std::vector<Launch> launches; ///< of the nodes
};

} // namespace

static std::set<void *> live; ///< handles
static bool hangs = false;

void qc::test::fakecuda::mustNotHang(const char *function) {
  if (!hangs)
    return;
  complain(CUDA_SUCCESS, std::string(function) + " waits for ever");
  std::_Exit(97);
}

template <typename T, typename Handle>
static T *get(Handle handle) {
  return live.count(handle) ? reinterpret_cast<T *>(handle) : nullptr;
}

template <typename T, typename Handle>
static T *make(Handle *handle, T *object) {
  live.insert(object);
  *handle = reinterpret_cast<Handle>(object);
  return object;
}

template <typename T, typename Handle>
static CUresult destroy(Handle handle, const char *what) {
  T *object = get<T>(handle);
  if (!object)
    return complain(CUDA_ERROR_INVALID_HANDLE,
                    std::string(what) + " of something that is not there");
  live.erase(object);
  delete object;
  return CUDA_SUCCESS;
}

#define QC_NEED(T, object, handle, function)                                   \
  T *object = get<T>(handle);                                                  \
  if (!object)                                                                 \
    return complain(CUDA_ERROR_INVALID_HANDLE,                                 \
                    function ": a handle that is not there");
#define QC_USABLE(function)                                                    \
  if (CUresult result = usable(function); result != CUDA_SUCCESS)              \
    return result;

/// Does the first `count` pieces of work.
static CUresult drain(Stream &stream, size_t count) {
  CUresult result = CUDA_SUCCESS;
  for (size_t i = 0; i < std::min(count, stream.work.size()); ++i)
    if (Work work = std::move(stream.work[i])) {
      stream.work[i] = nullptr;
      if (result == CUDA_SUCCESS && !hangs)
        result = work();
    }
  return result;
}

namespace qc::rt::cuda {
extern "C" {

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  QC_USABLE("cuStreamCreate")
  make(stream, new Stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  mustNotHang("cuStreamDestroy");
  QC_USABLE("cuStreamDestroy")
  return destroy<Stream>(stream, "cuStreamDestroy");
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
  QC_USABLE("cuEventCreate")
  make(event, new Event)->timed = !(flags & CU_EVENT_DISABLE_TIMING);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
  QC_USABLE("cuEventDestroy")
  return destroy<Event>(event, "cuEventDestroy");
}

CUresult cuEventRecord(CUevent handle, CUstream stream) {
  QC_USABLE("cuEventRecord")
  QC_NEED(Event, event, handle, "cuEventRecord")
  QC_NEED(Stream, s, stream, "cuEventRecord")
  event->stream = s;
  event->behind = s->work.size();
  event->queries = 0;
  event->done = false;
  return CUDA_SUCCESS;
}

/// Says "not ready" once; then the work is done.
CUresult cuEventQuery(CUevent handle) {
  QC_USABLE("cuEventQuery")
  QC_NEED(Event, event, handle, "cuEventQuery")
  if (!event->stream)
    return CUDA_SUCCESS;
  if (event->queries++ == 0)
    return CUDA_ERROR_NOT_READY;
  CUresult result = drain(*event->stream, event->behind);
  if (hangs)
    return CUDA_ERROR_NOT_READY;
  if (result != CUDA_SUCCESS)
    lasting = result;
  event->done = true;
  return result;
}

/// A microsecond a piece of work.
CUresult cuEventElapsedTime(float *milliseconds, CUevent first, CUevent last) {
  QC_USABLE("cuEventElapsedTime")
  QC_NEED(Event, begin, first, "cuEventElapsedTime")
  QC_NEED(Event, end, last, "cuEventElapsedTime")
  if (!begin->timed || !end->timed || !begin->stream ||
      begin->stream != end->stream || !end->done)
    return complain(CUDA_ERROR_INVALID_VALUE,
                    "cuEventElapsedTime: events without time or not reached");
  *milliseconds = 0.001f * static_cast<float>(end->behind - begin->behind);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                              CUstream stream) {
  QC_USABLE("cuMemcpyHtoDAsync")
  QC_NEED(Stream, s, stream, "cuMemcpyHtoDAsync")
  if (!inDevice(to, bytes) || !inPinned(from, bytes))
    return complain(CUDA_ERROR_INVALID_VALUE,
                    "cuMemcpyHtoDAsync: not in one allocation, or not pinned");
  s->work.push_back([=] {
    std::memcpy(reinterpret_cast<void *>(to), from, bytes);
    return CUDA_SUCCESS;
  });
  return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes,
                              CUstream stream) {
  QC_USABLE("cuMemcpyDtoHAsync")
  QC_NEED(Stream, s, stream, "cuMemcpyDtoHAsync")
  if (!inDevice(from, bytes) || !inPinned(to, bytes))
    return complain(CUDA_ERROR_INVALID_VALUE,
                    "cuMemcpyDtoHAsync: not in one allocation, or not pinned");
  s->work.push_back([=] {
    std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
    return CUDA_SUCCESS;
  });
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY,
                        unsigned gridZ, unsigned blockX, unsigned blockY,
                        unsigned blockZ, unsigned sharedBytes, CUstream stream,
                        void **parameters, void **extra) {
  QC_USABLE("cuLaunchKernel")
  QC_NEED(Stream, s, stream, "cuLaunchKernel")
  Launch launch;
  CUresult result = readLaunch({function, gridX, gridY, gridZ, blockX, blockY,
                                blockZ, sharedBytes, parameters, extra},
                               launch);
  if (result == CUDA_SUCCESS)
    s->work.push_back([launch]() mutable { return run(launch); });
  return result;
}

//===-- Graphs ------------------------------------------------------------===//

CUresult cuGraphCreate(CUgraph *graph, unsigned flags) {
  QC_USABLE("cuGraphCreate")
  make(graph, new Graph);
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  QC_USABLE("cuGraphDestroy")
  return destroy<Graph>(graph, "cuGraphDestroy");
}

static CUresult addNode(CUgraphNode *out, CUgraph handle,
                        const CUgraphNode *dependencies, size_t count,
                        Node node) {
  QC_NEED(Graph, graph, handle, "cuGraphAdd...Node")
  for (size_t i = 0; i < count; ++i) {
    auto it = std::find_if(
        graph->nodes.begin(), graph->nodes.end(), [&](const auto &other) {
          return other.get() == reinterpret_cast<Node *>(dependencies[i]);
        });
    if (it == graph->nodes.end())
      return complain(CUDA_ERROR_INVALID_VALUE,
                      "a node depends on one that is not in its graph");
    node.dependencies.push_back(static_cast<size_t>(it - graph->nodes.begin()));
  }
  node.graph = graph;
  graph->nodes.push_back(std::make_unique<Node>(std::move(node)));
  *out = reinterpret_cast<CUgraphNode>(graph->nodes.back().get());
  return CUDA_SUCCESS;
}

CUresult cuGraphAddKernelNode(CUgraphNode *out, CUgraph graph,
                              const CUgraphNode *dependencies, size_t count,
                              const CUDA_KERNEL_NODE_PARAMS *parameters) {
  QC_USABLE("cuGraphAddKernelNode")
  Node node = {};
  CUresult result = readLaunch(*parameters, node.launch);
  return result != CUDA_SUCCESS
             ? result
             : addNode(out, graph, dependencies, count, std::move(node));
}

CUresult cuGraphAddEmptyNode(CUgraphNode *out, CUgraph graph,
                             const CUgraphNode *dependencies, size_t count) {
  QC_USABLE("cuGraphAddEmptyNode")
  Node node = {};
  node.empty = true;
  return addNode(out, graph, dependencies, count, std::move(node));
}

/// Programmatic ones only. The emulator starts a kernel when those before have
/// ended; here it is checked that it would be right to start it earlier.
CUresult cuGraphAddDependencies_v2(CUgraph handle, const CUgraphNode *from,
                                   const CUgraphNode *to,
                                   const CUgraphEdgeData *edges, size_t count) {
  QC_USABLE("cuGraphAddDependencies")
  QC_NEED(Graph, graph, handle, "cuGraphAddDependencies")
  auto index = [&](CUgraphNode node) {
    size_t i = 0;
    while (i < graph->nodes.size() &&
           graph->nodes[i].get() != reinterpret_cast<Node *>(node))
      ++i;
    return i;
  };
  for (size_t i = 0; i < count; ++i) {
    size_t first = index(from[i]), last = index(to[i]);
    if (first >= last || last >= graph->nodes.size())
      return complain(CUDA_ERROR_INVALID_VALUE,
                      "cuGraphAddDependencies: not nodes of the graph in the "
                      "order in which they were added");
    Node &node = *graph->nodes[last];
    if (edges[i].type != CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC ||
        edges[i].from_port != CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC ||
        edges[i].to_port != 0 || node.empty || graph->nodes[first]->empty)
      return complain(CUDA_ERROR_INVALID_VALUE,
                      "cuGraphAddDependencies: expected programmatic edges "
                      "between kernels");
    // As a driver of CUDA 13 does.
    if (graph->nodes[first]->programmatic++)
      return complain(CUDA_ERROR_INVALID_VALUE,
                      "cuGraphAddDependencies: a second kernel that starts "
                      "early behind the same one");
    const Function &function = *node.launch.function;
    if (!function.kernel->waits && !function.module->cubin)
      return complain(CUDA_ERROR_INVALID_VALUE,
                      "kernel " + function.kernel->name +
                          " may start early, but does not wait");
    node.dependencies.push_back(first);
  }
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph handle,
                                     unsigned long long flags) {
  QC_USABLE("cuGraphInstantiate")
  QC_NEED(Graph, graph, handle, "cuGraphInstantiate")
  Exec *made = make(exec, new Exec{graph, {}});
  for (const auto &node : graph->nodes)
    made->launches.push_back(node->launch);
  return CUDA_SUCCESS;
}

CUresult
cuGraphExecKernelNodeSetParams(CUgraphExec handle, CUgraphNode node,
                               const CUDA_KERNEL_NODE_PARAMS *parameters) {
  QC_USABLE("cuGraphExecKernelNodeSetParams")
  QC_NEED(Exec, exec, handle, "cuGraphExecKernelNodeSetParams")
  for (size_t i = 0; i < exec->launches.size(); ++i)
    if (exec->graph->nodes[i].get() == reinterpret_cast<Node *>(node) &&
        !exec->graph->nodes[i]->empty) {
      if (reinterpret_cast<Function *>(parameters->func) !=
          exec->launches[i].function)
        return complain(CUDA_ERROR_INVALID_VALUE,
                        "cuGraphExecKernelNodeSetParams: another function");
      return readLaunch(*parameters, exec->launches[i]);
    }
  return complain(CUDA_ERROR_INVALID_VALUE,
                  "cuGraphExecKernelNodeSetParams: not a kernel node of it");
}

/// Of the nodes that may run the one that was added last is run first.
static CUresult runGraph(Exec &exec) {
  if (fault("hang")) {
    hangs = true;
    return CUDA_SUCCESS;
  }
  if (int number = faultNumber())
    return static_cast<CUresult>(number);
  const auto &nodes = exec.graph->nodes;
  std::vector<bool> done(nodes.size());
  for (size_t left = nodes.size(); left > 0; --left) {
    size_t next = nodes.size();
    while (next-- > 0)
      if (!done[next] && std::all_of(nodes[next]->dependencies.begin(),
                                     nodes[next]->dependencies.end(),
                                     [&](size_t d) { return done[d]; }))
        break;
    done[next] = true;
    if (nodes[next]->empty)
      continue;
    CUresult result = run(exec.launches[next]);
    if (result != CUDA_SUCCESS)
      return result;
  }
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream) {
  QC_USABLE("cuGraphLaunch")
  QC_NEED(Exec, exec, handle, "cuGraphLaunch")
  QC_NEED(Stream, s, stream, "cuGraphLaunch")
  s->work.push_back([exec] { return runGraph(*exec); });
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  QC_USABLE("cuGraphExecDestroy")
  return destroy<Exec>(exec, "cuGraphExecDestroy");
}

} // extern "C"
} // namespace qc::rt::cuda
