//===- Driver.h - The part of the CUDA driver API that is used --*- C++ -*-===//
//
// The driver library comes with NVIDIA's driver; it is opened when a model
// starts. Types, values and exported names are those of the CUDA Driver API
// reference (docs.nvidia.com/cuda/cuda-driver-api), of CUDA 11.4. Its ABI is
// stable: a changed function gets a new exported name (cuMemAlloc_v2).
//
//===----------------------------------------------------------------------===//
#ifndef QC_RUNTIME_CUDA_DRIVER_H
#define QC_RUNTIME_CUDA_DRIVER_H

#include "qc/Runtime/Device/Device.h"

#include <cstddef>
#include <cstdint>

namespace qc::rt::cuda {

enum CUresult : int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_STUB_LIBRARY = 34,
  CUDA_ERROR_DEVICE_UNAVAILABLE = 46,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_ECC_UNCORRECTABLE = 214,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_NVLINK_UNCORRECTABLE = 220,
  CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_CONTAINED = 226,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_TIMEOUT = 702,
  CUDA_ERROR_ASSERT = 710,
  CUDA_ERROR_LAUNCH_FAILED = 719, ///< 714 to this one: faults in a kernel
  CUDA_ERROR_SYSTEM_NOT_READY = 802,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
  CUDA_ERROR_UNKNOWN = 999,
};

using CUdevice = int;
using CUdeviceptr = uint64_t;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;
using CUgraph = struct CUgraph_st *;
using CUgraphNode = struct CUgraphNode_st *;
using CUgraphExec = struct CUgraphExec_st *;

enum CUdevice_attribute : int {
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
  CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X = 5, ///< y and z follow
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};

enum CUjit_option : int {
  CU_JIT_ERROR_LOG_BUFFER = 5,
  CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6,
};

enum CUfunction_attribute : int {
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
};

enum : unsigned {
  CU_STREAM_NON_BLOCKING = 1,
  CU_EVENT_DISABLE_TIMING = 2,
};

/// The version without suffix: fields were added in _v2.
struct CUDA_KERNEL_NODE_PARAMS {
  CUfunction func;
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  void **kernelParams;
  void **extra;
};

// X(name, exported name, parameters)
#define QC_CUDA_FUNCTIONS(X)                                                   \
  X(Init, cuInit, (unsigned flags))                                            \
  X(DriverGetVersion, cuDriverGetVersion, (int *version))                      \
  X(GetErrorName, cuGetErrorName, (CUresult error, const char **text))         \
  X(GetErrorString, cuGetErrorString, (CUresult error, const char **text))     \
  X(DeviceGetCount, cuDeviceGetCount, (int *count))                            \
  X(DeviceGet, cuDeviceGet, (CUdevice * device, int ordinal))                  \
  X(DeviceGetName, cuDeviceGetName, (char *name, int length, CUdevice device)) \
  X(DeviceTotalMem, cuDeviceTotalMem_v2, (size_t *bytes, CUdevice device))     \
  X(DeviceGetAttribute, cuDeviceGetAttribute,                                  \
    (int *value, CUdevice_attribute attribute, CUdevice device))               \
  X(DevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain,                          \
    (CUcontext * context, CUdevice device))                                    \
  X(DevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device))  \
  X(CtxSetCurrent, cuCtxSetCurrent, (CUcontext context))                       \
  X(ModuleLoadDataEx, cuModuleLoadDataEx,                                      \
    (CUmodule * module, const void *image, unsigned count,                     \
     CUjit_option *options, void **values))                                    \
  X(ModuleUnload, cuModuleUnload, (CUmodule module))                           \
  X(ModuleGetFunction, cuModuleGetFunction,                                    \
    (CUfunction * function, CUmodule module, const char *name))                \
  X(FuncSetAttribute, cuFuncSetAttribute,                                      \
    (CUfunction function, CUfunction_attribute attribute, int value))          \
  X(MemAlloc, cuMemAlloc_v2, (CUdeviceptr * pointer, size_t bytes))            \
  X(MemFree, cuMemFree_v2, (CUdeviceptr pointer))                              \
  X(MemHostAlloc, cuMemHostAlloc,                                              \
    (void **pointer, size_t bytes, unsigned flags))                            \
  X(MemFreeHost, cuMemFreeHost, (void *pointer))                               \
  X(MemcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                     \
    (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))         \
  X(MemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                     \
    (void *to, CUdeviceptr from, size_t bytes, CUstream stream))               \
  X(StreamCreate, cuStreamCreate, (CUstream * stream, unsigned flags))         \
  X(StreamDestroy, cuStreamDestroy_v2, (CUstream stream))                      \
  X(EventCreate, cuEventCreate, (CUevent * event, unsigned flags))             \
  X(EventRecord, cuEventRecord, (CUevent event, CUstream stream))              \
  X(EventQuery, cuEventQuery, (CUevent event))                                 \
  X(EventDestroy, cuEventDestroy_v2, (CUevent event))                          \
  X(EventElapsedTime, cuEventElapsedTime,                                      \
    (float *milliseconds, CUevent begin, CUevent end))                         \
  X(LaunchKernel, cuLaunchKernel,                                              \
    (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ,      \
     unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,  \
     CUstream stream, void **parameters, void **extra))                        \
  X(GraphCreate, cuGraphCreate, (CUgraph * graph, unsigned flags))             \
  X(GraphAddKernelNode, cuGraphAddKernelNode,                                  \
    (CUgraphNode * node, CUgraph graph, const CUgraphNode *dependencies,       \
     size_t count, const CUDA_KERNEL_NODE_PARAMS *parameters))                 \
  X(GraphAddEmptyNode, cuGraphAddEmptyNode,                                    \
    (CUgraphNode * node, CUgraph graph, const CUgraphNode *dependencies,       \
     size_t count))                                                            \
  X(GraphInstantiate, cuGraphInstantiateWithFlags,                             \
    (CUgraphExec * exec, CUgraph graph, unsigned long long flags))             \
  X(GraphExecKernelNodeSetParams, cuGraphExecKernelNodeSetParams,              \
    (CUgraphExec exec, CUgraphNode node,                                       \
     const CUDA_KERNEL_NODE_PARAMS *parameters))                               \
  X(GraphLaunch, cuGraphLaunch, (CUgraphExec exec, CUstream stream))           \
  X(GraphExecDestroy, cuGraphExecDestroy, (CUgraphExec exec))                  \
  X(GraphDestroy, cuGraphDestroy, (CUgraph graph))

/// What one node waits for in another, CUgraphEdgeData.
struct CUgraphEdgeData {
  unsigned char from_port, to_port, type, reserved[5];
};
enum : unsigned char {
  /// All blocks have let dependents start, or have ended.
  CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC = 1,
  CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC = 1,
};

// Of later drivers; null in those that lack them.
#define QC_CUDA_OPTIONAL_FUNCTIONS(X)                                          \
  X(GraphAddDependencies, cuGraphAddDependencies_v2, /* CUDA 12.3 */           \
    (CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,            \
     const CUgraphEdgeData *edges, size_t count))

/// The least driver, as cuDriverGetVersion counts: 1000 * major + 10 * minor.
/// 11.4 has cuGraphInstantiateWithFlags.
constexpr int minDriverVersion = 11040;

/// The functions of the driver.
struct Api {
#define X(name, exported, parameters) CUresult(*name) parameters = nullptr;
  QC_CUDA_FUNCTIONS(X)
  QC_CUDA_OPTIONAL_FUNCTIONS(X)
#undef X
  int version = 0; ///< of the driver

  /// Opens the library and initializes it.
  bool open(DeviceError &error);
  /// An error as words: what it means, then the driver's name of it.
  std::string describe(CUresult result) const;
};

/// "12.4" for 12040.
std::string versionText(int version);

/// What matters of a device.
struct PhysicalDevice {
  CUdevice handle = 0;
  DeviceInfo info;
  uint32_t arch = 0; ///< 10 * major + minor
  uint32_t maxGrid[3] = {};
};

/// All devices in the driver's order; `info.unsuitable` says what is wrong with
/// one for `model`.
bool enumerate(const Api &api, const QCDeviceModel &model,
               std::vector<PhysicalDevice> &devices, DeviceError &error);

/// Whether a device of `arch` runs `code`: a cubin of the same major and no
/// later minor, PTX of no later architecture.
bool canRun(const QCDeviceCode &code, uint32_t arch);

} // namespace qc::rt::cuda

#endif // QC_RUNTIME_CUDA_DRIVER_H
