//===- Driver.cpp - The CUDA functions that are used ----------------------===//
#include "Driver.h"

#include <dlfcn.h>

using namespace qc::rt;
using namespace qc::rt::cuda;

std::string cuda::versionText(int version) {
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

bool Api::open(DeviceError &error) {
  error.kind = DeviceError::Kind::Unavailable;
  // It stays open: the driver does not expect to be unloaded.
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    // "libcuda.so.1: cannot open shared object file: No such file", or what
    // is wrong with the one that is there.
    const char *reason = dlerror();
    std::string text = reason ? reason : "";
    bool missing = text.rfind("libcuda.so.1: cannot open", 0) == 0;
    error.message =
        "this model runs on an NVIDIA GPU, and libcuda.so.1 " +
        (missing ? std::string("is not installed (it comes with NVIDIA's "
                               "driver; in a container: --gpus all)")
                 : "cannot be loaded: " + text);
    return false;
  }
  // First the version: an old driver lacks functions.
  auto getVersion = reinterpret_cast<decltype(DriverGetVersion)>(
      dlsym(library, "cuDriverGetVersion"));
  if (!getVersion || getVersion(&version) != CUDA_SUCCESS)
    version = 0;
  if (version < minDriverVersion) {
    error.message = "the NVIDIA driver is too old: it has CUDA " +
                    versionText(version) + ", expected " +
                    versionText(minDriverVersion) + " or later";
    return false;
  }
#define X(name, exported, parameters)                                          \
  name = reinterpret_cast<decltype(name)>(dlsym(library, #exported));          \
  if (!name) {                                                                 \
    error.message = "libcuda.so.1 has no " #exported;                          \
    return false;                                                              \
  }
  QC_CUDA_FUNCTIONS(X)
#undef X
#define X(name, exported, parameters)                                          \
  name = reinterpret_cast<decltype(name)>(dlsym(library, #exported));
  QC_CUDA_OPTIONAL_FUNCTIONS(X)
#undef X
  CUresult result = Init(0);
  if (result == CUDA_SUCCESS)
    return true;
  error.message =
      result == CUDA_ERROR_NO_DEVICE
          ? "no NVIDIA GPU was found (CUDA_VISIBLE_DEVICES? permissions of "
            "/dev/nvidia*?)"
          : "the NVIDIA driver cannot be initialized: " + describe(result);
  return false;
}

std::string Api::describe(CUresult result) const {
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    return "out of device memory";
  const char *name = nullptr, *text = nullptr;
  if (GetErrorName(result, &name) != CUDA_SUCCESS || !name)
    return "error " + std::to_string(static_cast<int>(result));
  if (GetErrorString(result, &text) != CUDA_SUCCESS || !text)
    return name;
  return std::string(text) + " (" + name + ")";
}
