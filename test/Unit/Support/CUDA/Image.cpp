//===- Image.cpp - Kernels of the test libcuda ----------------------------===//
#include "Fake.h"

#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <unistd.h>

using namespace qc::test::fakecuda;

/// The number behind `key` in PTX, 0 if there is none.
static unsigned numberAfter(const std::string &text, const std::string &key) {
  size_t at = text.find(key);
  return at == std::string::npos
             ? 0
             : static_cast<unsigned>(std::atoi(text.c_str() + at + key.size()));
}

/// The entries of PTX and the number of their parameters.
static std::map<std::string, size_t> entriesOf(const std::string &ptx) {
  std::map<std::string, size_t> entries;
  for (size_t at = 0; (at = ptx.find(".entry ", at)) != std::string::npos;) {
    at += 7;
    size_t open = ptx.find('(', at);
    if (open == std::string::npos)
      break;
    std::string name = ptx.substr(at, open - at);
    while (!name.empty() &&
           std::isspace(static_cast<unsigned char>(name.back())))
      name.pop_back();
    size_t close = ptx.find(')', open), count = 0;
    for (size_t p = open; (p = ptx.find(".param", p)) < close; ++p)
      ++count;
    entries[name] = count;
    at = close;
  }
  return entries;
}

static bool isIR(const std::string &image) {
  for (const char *begin : {"; ModuleID", "source_filename", "target ", "BC"})
    if (image.rfind(begin, 0) == 0)
      return true;
  return false;
}

/// Whether the PTX is of the kernels in the IR; else why not.
static std::string compare(const std::string &ptx, const Emulator &emulator) {
  for (const auto &[name, count] : entriesOf(ptx)) {
    const qc::test::nvvm::Kernel *kernel = emulator.find(name);
    if (!kernel)
      return "the IR has no kernel " + name + " of the PTX";
    if (kernel->parameters.size() != count)
      return "kernel " + name + " has " + std::to_string(count) +
             " parameters in PTX, " +
             std::to_string(kernel->parameters.size()) + " in the IR";
  }
  return "";
}

CUresult qc::test::fakecuda::loadImage(const void *image,
                                       std::unique_ptr<Module> &module,
                                       std::string &log) {
  if (fault("image")) {
    log = "ptxas application ptx input, line 7; fatal   : Parsing error\n"
          "ptxas fatal   : Ptx assembly aborted due to errors\n";
    return CUDA_ERROR_INVALID_PTX;
  }
  if (fault("ptx"))
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  bool cubin = std::memcmp(image, "\177ELF", 4) == 0;
  std::string text = cubin ? "" : static_cast<const char *>(image), ir = text;
  if (cubin) {
    uint16_t machine;
    std::memcpy(&machine, static_cast<const char *>(image) + 18, 2);
    if (machine != 190) { // EM_CUDA
      log = "an ELF file for another machine";
      return CUDA_ERROR_INVALID_IMAGE;
    }
  }
  if (cubin || !isIR(text)) {
    const char *path = std::getenv("QC_FAKE_CUDA_KERNELS");
    if (!path)
      return complain(CUDA_ERROR_INVALID_IMAGE,
                      "QC_FAKE_CUDA_KERNELS does not name LLVM IR");
    std::ifstream file(path, std::ios::binary);
    ir.assign(std::istreambuf_iterator<char>(file), {});
    if (!cubin && numberAfter(text, ".target sm_") > deviceArch()) {
      log = "PTX for a later architecture";
      return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
  }
  std::string error;
  module = std::make_unique<Module>();
  module->cubin = cubin;
  module->emulator = Emulator::create(ir, error);
  if (!module->emulator)
    return complain(CUDA_ERROR_INVALID_IMAGE, error);
  if (!cubin && !isIR(text))
    if (std::string problem = compare(text, *module->emulator);
        !problem.empty())
      return complain(CUDA_ERROR_INVALID_IMAGE, problem);
  for (const qc::test::nvvm::Kernel &kernel : module->emulator->kernels())
    module->functions[kernel.name] = {module.get(), &kernel};
  return CUDA_SUCCESS;
}

CUresult qc::test::fakecuda::readLaunch(const CUDA_KERNEL_NODE_PARAMS &params,
                                        Launch &launch) {
  launch.function = reinterpret_cast<Function *>(params.func);
  const qc::test::nvvm::Kernel &kernel = *launch.function->kernel;
  launch.size = {{params.gridDimX, params.gridDimY, params.gridDimZ},
                 {params.blockDimX, params.blockDimY, params.blockDimZ},
                 params.sharedMemBytes};
  auto fail = [&](const std::string &what) {
    return complain(CUDA_ERROR_INVALID_VALUE, "kernel " + kernel.name + what);
  };
  const unsigned most[] = {0x7fffffff, 65535, 65535};
  size_t threads = 1;
  for (size_t i = 0; i < 3; ++i) {
    if (launch.size.grid[i] == 0 || launch.size.grid[i] > most[i])
      return fail(": a grid of " + std::to_string(launch.size.grid[i]));
    if (kernel.threads[0] && kernel.threads[i] != launch.size.block[i])
      return fail(": not the block size that it was compiled for");
    threads *= launch.size.block[i];
  }
  if (threads == 0 || threads > 1024)
    return fail(": " + std::to_string(threads) + " threads in a block");
  if (launch.size.sharedBytes > launch.function->mostShared)
    return fail(": more dynamic shared memory than was asked for");
  if (!params.kernelParams || params.extra)
    return fail(": no kernelParams");
  launch.parameters.clear();
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    uint64_t value = 0;
    if (kernel.parameters[i] != 8)
      return fail(": parameter " + std::to_string(i) + " is no pointer");
    std::memcpy(&value, params.kernelParams[i], 8);
    if (!inDevice(value, 1))
      return fail(": parameter " + std::to_string(i) +
                  " points outside of every allocation");
    if (value % 256)
      return fail(": parameter " + std::to_string(i) + " is not aligned");
    launch.parameters.push_back(value);
  }
  return CUDA_SUCCESS;
}

static const char *running = "";

/// Memory is guarded behind its end: an access there ends the process.
static void outside(int) {
  auto say = [](const char *text) {
    if (write(2, text, std::strlen(text)) < 0)
      _exit(98);
  };
  say("fake libcuda: an access outside of all memory in kernel ");
  say(running);
  say("\n");
  _exit(99);
}

CUresult qc::test::fakecuda::run(Launch &launch) {
  std::vector<void *> pointers;
  for (uint64_t &parameter : launch.parameters) {
    if (!inDevice(parameter, 1))
      return complain(CUDA_ERROR_ILLEGAL_ADDRESS,
                      "kernel " + launch.function->kernel->name +
                          ": its memory was freed");
    pointers.push_back(&parameter);
  }
  running = launch.function->kernel->name.c_str();
  struct sigaction action = {}, old;
  action.sa_handler = outside;
  sigaction(SIGSEGV, &action, &old);
  std::string error;
  bool good = launch.function->module->emulator->launch(
      *launch.function->kernel, launch.size, pointers.data(), error);
  sigaction(SIGSEGV, &old, nullptr);
  return good ? CUDA_SUCCESS : complain(CUDA_ERROR_LAUNCH_FAILED, error);
}
