//===- API.cpp - Devices, contexts and modules of the test libcuda --------===//
#include "Fake.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace qc::test::fakecuda;

static bool initialized = false;
static int retained[2] = {};
static thread_local CUcontext current = nullptr;

bool qc::test::fakecuda::fault(const char *name) {
  const char *wanted = std::getenv("QC_FAULT");
  return wanted && std::strcmp(wanted, name) == 0;
}

int qc::test::fakecuda::faultNumber() {
  const char *wanted = std::getenv("QC_FAULT");
  return wanted && std::strncmp(wanted, "error:", 6) == 0
             ? std::atoi(wanted + 6)
             : 0;
}

CUresult qc::test::fakecuda::complain(CUresult result,
                                      const std::string &what) {
  std::fprintf(stderr, "fake libcuda: %s\n", what.c_str());
  return result;
}

uint32_t qc::test::fakecuda::deviceArch() {
  const char *arch = std::getenv("QC_FAKE_CUDA_ARCH");
  return arch ? static_cast<uint32_t>(std::atoi(arch)) : 90;
}

static int deviceCount() { return fault("none") ? 0 : fault("two") ? 2 : 1; }

CUresult qc::test::fakecuda::usable(const char *function) {
  if (!initialized)
    return complain(CUDA_ERROR_NOT_INITIALIZED, function);
  // An error of a device ends its contexts for the process.
  if (lasting != CUDA_SUCCESS)
    return lasting;
  if (!current)
    return complain(CUDA_ERROR_INVALID_CONTEXT,
                    std::string(function) + " without a context");
  return CUDA_SUCCESS;
}

static const struct {
  int number;
  const char *name, *text;
} errors[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE",
     "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE",
     "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain."},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT",
     "the launch timed out and was terminated"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
};

namespace qc::rt::cuda {
extern "C" {

// Every function has the type that the runtime expects.
#define X(name, exported, parameters) CUresult exported parameters;
QC_CUDA_FUNCTIONS(X)
#undef X

CUresult cuInit(unsigned flags) {
  initialized = true;
  return deviceCount() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

CUresult cuDriverGetVersion(int *version) {
  *version = fault("old") ? 11020 : 12040;
  return CUDA_SUCCESS;
}

static CUresult errorText(CUresult error, const char **text, bool name) {
  for (const auto &entry : errors)
    if (entry.number == error) {
      *text = name ? entry.name : entry.text;
      return CUDA_SUCCESS;
    }
  *text = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorName(CUresult error, const char **text) {
  return errorText(error, text, true);
}

CUresult cuGetErrorString(CUresult error, const char **text) {
  return errorText(error, text, false);
}

CUresult cuDeviceGetCount(int *count) {
  *count = deviceCount();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < deviceCount() ? CUDA_SUCCESS
                                                 : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  std::snprintf(name, static_cast<size_t>(length), "Emulated GPU %c",
                device ? 'B' : 'A');
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  *bytes = size_t(8) << 30;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute,
                              CUdevice device) {
  switch (static_cast<int>(attribute)) {
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    *value = 1024;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
    *value = 0x7fffffff;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + 1:
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + 2:
    *value = 65535;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    *value = static_cast<int>(deviceArch() / 10);
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    *value = static_cast<int>(deviceArch() % 10);
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    *value = 227 * 1024;
    return CUDA_SUCCESS;
  default:
    return complain(CUDA_ERROR_INVALID_VALUE, "an unknown device attribute");
  }
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  if (fault("busy"))
    return CUDA_ERROR_DEVICE_UNAVAILABLE;
  ++retained[device];
  *context = reinterpret_cast<CUcontext>(&retained[device]);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  mustNotHang("cuDevicePrimaryCtxRelease");
  if (retained[device] == 0)
    return complain(CUDA_ERROR_INVALID_CONTEXT,
                    "cuDevicePrimaryCtxRelease without a context");
  if (--retained[device] == 0)
    current = nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  current = context;
  return lasting;
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count,
                            CUjit_option *options, void **values) {
  if (CUresult result = usable("cuModuleLoadDataEx"); result != CUDA_SUCCESS)
    return result;
  std::unique_ptr<Module> made;
  std::string log;
  CUresult result = loadImage(image, made, log);
  char *buffer = nullptr;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
      buffer = static_cast<char *>(values[i]);
    else if (buffer && options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
      std::snprintf(buffer, reinterpret_cast<size_t>(values[i]), "%s",
                    log.c_str());
  }
  if (result == CUDA_SUCCESS)
    *module = reinterpret_cast<CUmodule>(made.release());
  return result;
}

CUresult cuModuleUnload(CUmodule module) {
  mustNotHang("cuModuleUnload");
  delete reinterpret_cast<Module *>(module);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule handle,
                             const char *name) {
  if (CUresult result = usable("cuModuleGetFunction"); result != CUDA_SUCCESS)
    return result;
  auto *module = reinterpret_cast<Module *>(handle);
  auto it = module->functions.find(name);
  if (it == module->functions.end())
    return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(&it->second);
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute,
                            int value) {
  if (CUresult result = usable("cuFuncSetAttribute"); result != CUDA_SUCCESS)
    return result;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ||
      value < 0 || value > 227 * 1024)
    return complain(CUDA_ERROR_INVALID_VALUE, "cuFuncSetAttribute");
  auto *object = reinterpret_cast<Function *>(function);
  object->mostShared =
      std::max<size_t>(object->mostShared, static_cast<size_t>(value));
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
  CUresult result = usable("cuMemAlloc");
  return result == CUDA_SUCCESS ? allocateDevice(pointer, bytes) : result;
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  mustNotHang("cuMemFree");
  CUresult result = usable("cuMemFree");
  return result == CUDA_SUCCESS ? freeDevice(pointer) : result;
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  CUresult result = usable("cuMemHostAlloc");
  return result == CUDA_SUCCESS ? allocatePinned(pointer, bytes) : result;
}

CUresult cuMemFreeHost(void *pointer) {
  mustNotHang("cuMemFreeHost");
  CUresult result = usable("cuMemFreeHost");
  return result == CUDA_SUCCESS ? freePinned(pointer) : result;
}

} // extern "C"
} // namespace qc::rt::cuda
