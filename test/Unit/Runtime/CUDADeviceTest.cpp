//===- CUDADeviceTest.cpp - The CUDA runtime on the test driver -----------===//
//
// A model of a few kernels (Inputs/cuda-steps.ll) on the libcuda.so.1 of
// test/Unit/Support/CUDA, which says what the runtime does wrong and fails when
// it is told to. Weights w, u are f32 [8][4]:
//
//   look_up        a[t] = w[ids[t]]           look_up_twice  b[t] = 2 u[ids[t]]
//   remember       kv[position + t] = ids[t]  (these three in any order)
//   all, last      y[t][v] = a[t] w[v] + b[t] u[v] + sum of kv[..position + t]
//                            + cosine of (position + t) / 2
//   twice          y = 2 y
//
//===----------------------------------------------------------------------===//
#include "qc/Runtime/Device/Device.h"
#include "gtest/gtest.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

using namespace qc::rt;

namespace {

constexpr uint32_t vocabulary = 8, maxTokens = 6;

class CUDADeviceTest : public testing::Test {
protected:
  static void SetUpTestSuite() {
    // dlopen("libcuda.so.1") finds what has that name and is loaded.
    void *library = dlopen(QC_BINARY_DIR "/unittests/fake-cuda/libcuda.so.1",
                           RTLD_NOW | RTLD_LOCAL);
    ASSERT_TRUE(library) << dlerror();
  }

  void SetUp() override {
    setFault("");
    std::ifstream file(QC_SOURCE_DIR "/test/Unit/Runtime/Inputs/cuda-steps.ll");
    ir.assign(std::istreambuf_iterator<char>(file), {});
    ASSERT_FALSE(ir.empty());
    std::mt19937 rng(1);
    weights.resize(128);
    for (float &value : weights)
      value = static_cast<float>(rng() % 16) - 8;
    code.kind = QC_CODE_PTX;
    code.arch = 80;
    code.data = ir.c_str();
    code.size = ir.size() + 1;
    makeModel();
  }

  void setFault(const char *fault) { setenv("QC_FAULT", fault, 1); }

  void makeModel();

  std::unique_ptr<Device> create(DeviceError &error,
                                 const std::string &device = "") {
    return createDevice(model, weights.data(), weights.size() * 4,
                        {device, 100, 1}, error);
  }

  /// What the model computes.
  float expected(const std::vector<int32_t> &ids, size_t t, size_t v) const {
    float sum = 0;
    for (size_t i = 0; i < 4; ++i) {
      auto id = static_cast<size_t>(ids[t]);
      sum += weights[4 * id + i] * weights[4 * v + i] +
             2 * weights[64 + 4 * id + i] * weights[64 + 4 * v + i];
    }
    for (size_t p = 0; p <= t; ++p)
      sum += static_cast<float>(ids[p]);
    return 2 * (sum + std::cos(static_cast<float>(t) * 0.5f));
  }

  std::string ir;
  std::vector<float> weights;
  QCDeviceCode code = {};
  std::vector<QCDeviceKernel> kernels;
  std::vector<QCDeviceBuffer> buffers;
  std::vector<QCDispatch> dispatches[QC_NUM_STEPS];
  const float frequency = 0.5f;
  QCRotaryTable rotary = {0, 2, 0, &frequency};
  QCDeviceModel model = {};
};

} // namespace

void CUDADeviceTest::makeModel() {
  kernels = {{"look_up", {4, 1, 1}, 3, 0, 0, 0},
             {"look_up_twice", {4, 1, 1}, 3, 0, 0, 0},
             {"remember", {1, 1, 1}, 2, 0, 0, 0},
             {"all", {8, 1, 1}, 7, 0, 0, 0},
             {"last", {8, 1, 1}, 7, 0, 0, 0},
             {"twice", {8, 1, 1}, 1, 0, 0, 0},
             {"decode", {256, 1, 1}, 2, 0, 0, 0}};
  // Spaces 0 to 5; a at 0, b at 256 of the arena; u behind w.
  auto whole = [](uint32_t space) {
    return QCDeviceBuffer{space, 1, 0, 0, 256, 0};
  };
  QCDeviceBuffer u = {QC_SPACE_WEIGHTS, 0, 256, 0, 128, 0},
                 b = {QC_SPACE_ARENA, 1, 256, 0, 256, 0};
  auto add = [&](int step, uint32_t kernel, bool barrier, bool each,
                 std::vector<QCDeviceBuffer> list) {
    QCDispatch dispatch = {};
    dispatch.kernel = kernel;
    dispatch.barrier = barrier;
    dispatch.grid[0] = {1, each ? 1u : 0u};
    dispatch.grid[1] = dispatch.grid[2] = {1, 0};
    dispatch.first_buffer = static_cast<uint32_t>(buffers.size());
    buffers.insert(buffers.end(), list.begin(), list.end());
    dispatches[step].push_back(dispatch);
  };
  for (int step :
       {QC_STEP_DECODE, QC_STEP_PREFILL, QC_STEP_SCORE, QC_STEP_SCORE_FEW}) {
    bool all = scores(step);
    QCDeviceBuffer w = whole(QC_SPACE_WEIGHTS), s = whole(QC_SPACE_STATE),
                   a = whole(QC_SPACE_ARENA), kv = whole(QC_SPACE_KV),
                   y = whole(QC_SPACE_LOGITS);
    add(step, 0, false, true, {w, s, a});
    add(step, 1, false, true, {u, s, b});
    add(step, 2, false, true, {s, kv});
    add(step, all ? 3 : 4, true, all,
        {a, b, w, kv, whole(QC_SPACE_TABLES), s, y});
    add(step, 5, true, all, {y});
  }
  model.abi_version = QC_DEVICE_ABI_VERSION;
  model.target = "nvptx";
  model.codes = &code;
  model.num_codes = 1;
  model.kernels = kernels.data();
  model.num_kernels = kernels.size();
  model.buffers = buffers.data();
  model.num_buffers = buffers.size();
  for (int step = 0; step < QC_NUM_STEPS; ++step)
    model.steps[step] = {dispatches[step].data(), dispatches[step].size()};
  model.rotary_tables = &rotary;
  model.num_rotary_tables = 1;
  model.arena_bytes = 512;
  model.kv_bytes_per_position = 4;
  model.table_bytes_per_position = 8;
  model.max_tokens = maxTokens;
  model.vocab_size = vocabulary;
}

TEST_F(CUDADeviceTest, Steps) {
  DeviceError error;
  auto device = create(error);
  ASSERT_TRUE(device) << error.message;
  EXPECT_EQ(device->info().name, "Emulated GPU A");
  std::vector<int32_t> ids = {3, 0, 7, 7, 1, 4, 2, 5, 6};
  std::vector<float> y(maxTokens * vocabulary, NAN);
  auto check = [&](int step, size_t position, size_t count) {
    ASSERT_TRUE(device->run(step, std::span(ids).subspan(position, count),
                            static_cast<int64_t>(position), y.data(), error))
        << error.message;
    for (size_t t = scores(step) ? 0 : count - 1, row = 0; t < count;
         ++t, ++row)
      for (size_t v = 0; v < vocabulary; ++v)
        EXPECT_NEAR(y[row * vocabulary + v], expected(ids, position + t, v),
                    1e-4)
            << "step " << step << " position " << position + t;
  };
  // The number of tokens changes back and forth.
  check(QC_STEP_PREFILL, 0, 3);
  check(QC_STEP_PREFILL, 0, 5);
  check(QC_STEP_PREFILL, 5, 3);
  check(QC_STEP_DECODE, 8, 1);
  check(QC_STEP_DECODE, 7, 1);
  check(QC_STEP_SCORE, 0, 6);
  check(QC_STEP_SCORE, 6, 2);
  check(QC_STEP_SCORE, 0, 1);
  check(QC_STEP_SCORE, 0, 6);
  check(QC_STEP_SCORE_FEW, 0, 4);
  check(QC_STEP_SCORE_FEW, 4, 2);
  std::thread([&] { check(QC_STEP_DECODE, 8, 1); }).join();
}

TEST_F(CUDADeviceTest, WeightsOfSeveralPieces) {
  // 16 MiB are copied at once; the last bytes are what the test kernel reads.
  std::mt19937 rng(2);
  weights.resize((size_t(40) << 20) / 4 + 64);
  for (float &value : weights)
    value = static_cast<float>(rng() % 1000);
  for (auto &list : dispatches)
    for (QCDispatch &dispatch : list)
      if (dispatch.kernel == 0)
        buffers[dispatch.first_buffer].offset = (weights.size() - 64) * 4;
  DeviceError error;
  auto device = create(error);
  ASSERT_TRUE(device) << error.message;
  std::vector<float> y(vocabulary);
  ASSERT_TRUE(
      device->run(QC_STEP_DECODE, std::vector<int32_t>{2}, 0, y.data(), error));
  std::vector<float> tail(weights.end() - 64, weights.end());
  for (size_t v = 0; v < vocabulary; ++v) {
    float sum = 2 + 1;
    for (size_t i = 0; i < 4; ++i)
      sum += tail[8 + i] * weights[4 * v + i] +
             2 * weights[64 + 8 + i] * weights[64 + 4 * v + i];
    EXPECT_FLOAT_EQ(y[v], 2 * sum);
  }
}

TEST_F(CUDADeviceTest, DecodeTest) {
  DeviceError error;
  auto device = create(error);
  ASSERT_TRUE(device) << error.message;
  QCDeviceTest test = {"float<f32>", 256, 256, 32, 6, 0};
  std::vector<float> in(size_t(256) * 256), out(in.size());
  for (size_t i = 0; i < in.size(); ++i)
    in[i] = static_cast<float>(i);
  std::span<const uint8_t> blob(reinterpret_cast<const uint8_t *>(in.data()),
                                in.size() * 4);
  ASSERT_TRUE(device->decode(test, blob, out.data(), error)) << error.message;
  EXPECT_EQ(in, out);
}

TEST_F(CUDADeviceTest, ListsDevices) {
  setFault("two");
  std::vector<DeviceInfo> devices;
  DeviceError error;
  ASSERT_TRUE(listDevices(model, devices, error)) << error.message;
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[1].name, "Emulated GPU B");
  EXPECT_EQ(devices[1].type, "compute capability 9.0");
  EXPECT_EQ(devices[1].driver, "CUDA 12.4");
  EXPECT_EQ(devices[1].memoryBytes, uint64_t(8) << 30);
  for (auto [wanted, name] :
       {std::pair("1", "Emulated GPU B"), std::pair("gpu b", "Emulated GPU B"),
        std::pair("0", "Emulated GPU A"), std::pair("", "Emulated GPU A")}) {
    auto device = create(error, wanted);
    ASSERT_TRUE(device) << error.message;
    EXPECT_EQ(device->info().name, name);
  }
  EXPECT_FALSE(create(error, "2"));
  EXPECT_EQ(error.kind, DeviceError::Kind::Usage);
  EXPECT_EQ(error.message, "--device 2: expected 0 to 1 or a part of a name, "
                           "see --list-devices");
}

TEST_F(CUDADeviceTest, ChoosesCode) {
  // A cubin of another major, one of a later minor, PTX that is too new; what
  // comes last runs.
  QCDeviceCode codes[] = {code, code, code, code};
  codes[0].kind = codes[1].kind = QC_CODE_CUBIN;
  codes[0].arch = 100;
  codes[1].arch = 91;
  codes[2].arch = 120;
  codes[3].arch = 90;
  for (int i = 0; i < 3; ++i)
    codes[i].data = "not to be looked at";
  model.codes = codes;
  model.num_codes = 4;
  DeviceError error;
  EXPECT_TRUE(create(error)) << error.message;
  model.num_codes = 3;
  EXPECT_FALSE(create(error));
  EXPECT_EQ(error.kind, DeviceError::Kind::Unavailable);
  EXPECT_EQ(error.message,
            "device 'Emulated GPU A' cannot run this model: it has compute "
            "capability 9.0, the model's code is for 10.0, 9.1, 12.0 or later "
            "(qc-compile --gpu-arch)");
  // An ELF file that is no cubin is refused, then PTX is taken.
  std::string elf("\177ELF", 64);
  codes[0].arch = 90;
  codes[0].data = elf.data();
  model.num_codes = 4;
  EXPECT_TRUE(create(error)) << error.message;
  model.num_codes = 1;
  EXPECT_FALSE(create(error));
  EXPECT_EQ(error.message,
            "device 'Emulated GPU A', cubin for compute capability 9.0: device "
            "kernel image is invalid (CUDA_ERROR_INVALID_IMAGE): an ELF file "
            "for another machine");
}

TEST_F(CUDADeviceTest, Limits) {
  DeviceError error;
  kernels[6].workgroup_size[1] = 8;
  EXPECT_FALSE(create(error));
  EXPECT_EQ(error.message, "device 'Emulated GPU A' cannot run this model: "
                           "blocks of 1024 threads, expected 2048");
  kernels[6].workgroup_size[1] = 1;
  kernels[5].shared_bytes = 240 * 1024;
  EXPECT_FALSE(create(error));
  EXPECT_EQ(error.message,
            "device 'Emulated GPU A' cannot run this model: 232448 bytes of "
            "shared memory, expected 245760");
  // More than 48 KiB are asked for.
  kernels[5].shared_bytes = 100 * 1024;
  auto device = create(error);
  ASSERT_TRUE(device) << error.message;
  std::vector<float> y(vocabulary);
  EXPECT_TRUE(
      device->run(QC_STEP_DECODE, std::vector<int32_t>{2}, 0, y.data(), error))
      << error.message;
  dispatches[QC_STEP_DECODE][0].grid[1].factor = 70000;
  device = create(error);
  ASSERT_TRUE(device) << error.message;
  EXPECT_FALSE(
      device->run(QC_STEP_DECODE, std::vector<int32_t>{2}, 0, y.data(), error));
  EXPECT_EQ(error.message, "device 'Emulated GPU A' runs at most 65535 blocks "
                           "in a row, kernel look_up needs 70000");
}

TEST_F(CUDADeviceTest, FailuresToStart) {
  using Kind = DeviceError::Kind;
  const std::string device = "device 'Emulated GPU A', ";
  struct {
    const char *fault;
    Kind kind;
    std::string message;
  } const cases[] = {
      {"none", Kind::Unavailable,
       "no NVIDIA GPU was found (CUDA_VISIBLE_DEVICES? permissions of "
       "/dev/nvidia*?)"},
      {"old", Kind::Unavailable,
       "the NVIDIA driver is too old: it has CUDA 11.2, expected 11.4 or "
       "later"},
      {"busy", Kind::Unavailable,
       device + "cannot be opened: CUDA-capable device(s) is/are busy or "
                "unavailable (CUDA_ERROR_DEVICE_UNAVAILABLE)"},
      {"memory", Kind::OutOfMemory,
       "device 'Emulated GPU A': out of device memory for 512 bytes of "
       "weights"},
      {"pinned", Kind::OutOfMemory,
       "not enough memory for 56 pinned bytes of ids"},
      {"image", Kind::Unavailable,
       device + "PTX for compute capability 8.0: a PTX JIT compilation failed "
                "(CUDA_ERROR_INVALID_PTX): ptxas application ptx input, line "
                "7; fatal   : Parsing error"},
      {"ptx", Kind::Unavailable,
       device + "PTX for compute capability 8.0: the provided PTX was compiled "
                "with an unsupported toolchain. "
                "(CUDA_ERROR_UNSUPPORTED_PTX_VERSION): the driver has CUDA "
                "12.4, a later one is expected"},
  };
  for (const auto &c : cases) {
    setFault(c.fault);
    DeviceError error;
    EXPECT_FALSE(create(error)) << c.fault;
    EXPECT_EQ(error.kind, c.kind) << c.fault;
    EXPECT_EQ(error.message, c.message) << c.fault;
  }
  setFault("");
  DeviceError error;
  kernels[0].name = "missing";
  EXPECT_FALSE(create(error));
  EXPECT_EQ(error.message, device + "kernel missing: named symbol not found "
                                    "(CUDA_ERROR_NOT_FOUND)");
  EXPECT_TRUE((kernels[0].name = "look_up", create(error))) << error.message;
}

// Each in a process of its own: the device stays lost.
using CUDADeviceDeathTest = CUDADeviceTest;

TEST_F(CUDADeviceDeathTest, FailuresOfAStep) {
  const std::string step = "device 'Emulated GPU A', a step of 1 tokens: ";
  for (auto [fault, message] :
       {std::pair<const char *, std::string>{"hang", "no answer in 1 seconds"},
        {"error:700", "the device was lost: an illegal memory access was "
                      "encountered (CUDA_ERROR_ILLEGAL_ADDRESS)"},
        {"error:214", "the device was lost: uncorrectable ECC error "
                      "encountered (CUDA_ERROR_ECC_UNCORRECTABLE)"},
        {"error:702", "the device was lost: the launch timed out and was "
                      "terminated (CUDA_ERROR_LAUNCH_TIMEOUT)"}}) {
    auto run = [&] {
      DeviceError error;
      auto device = create(error);
      setFault(fault);
      std::vector<float> y(vocabulary);
      if (!device || device->run(QC_STEP_DECODE, std::vector<int32_t>{2}, 0,
                                 y.data(), error))
        std::_Exit(1);
      bool right = error.kind == DeviceError::Kind::Failed &&
                   error.message == step + message;
      // The next call is refused at once.
      DeviceError again;
      right &= !device->run(QC_STEP_DECODE, std::vector<int32_t>{2}, 0,
                            y.data(), again) &&
               again.message == "device 'Emulated GPU A' cannot run this step";
      device.reset(); // waits for nothing
      std::fprintf(stderr, "%s\n", error.message.c_str());
      std::_Exit(right ? 0 : 2);
    };
    EXPECT_EXIT(run(), testing::ExitedWithCode(0), "") << fault;
  }
}
