//===- DeviceKernels.cpp - GPU kernels against the definition -------------===//
#include "DeviceKernels.h"

#include "TestModel.h"
#include "qc/Target/GPU/Passes.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace ::qc::test;
using ::qc::Format;
using ::qc::HostWeight;

/// Tokens of a step, and positions.
static constexpr int64_t maxTokens = 80;

/// logits = embedding(ids) times `weight`.
static std::unique_ptr<TestModel>
createProduct(const DeviceTarget &target, const Item &embedding,
              const Item &weight, std::string &error,
              Arithmetic arithmetic = Arithmetic::F32) {
  std::string source;
  for (auto [name, ids] : {std::pair<StringRef, StringRef>{"decode", "1"},
                           std::pair<StringRef, StringRef>{"score", "?"}})
    source += llvm::formatv(
        R"(func.func @{0}(%ids: tensor<{1}xi32>, %p: index, %c: !lm.kv_cache<1x1x2xf32>) -> tensor<{1}x{2}xf32> {{
             %e = qc.get_weight @w0 : {4}
             %w = qc.get_weight @w1 : {5}
             %x = qc.embedding %ids, %e : (tensor<{1}xi32>, {4}) -> tensor<{1}x{3}xf32>
             %y = qc.matmul %x, [%w] arithmetic(<{6}>) : (tensor<{1}x{3}xf32>, {5}) -> tensor<{1}x{2}xf32>
             return %y : tensor<{1}x{2}xf32>
           })",
        name, ids, weight.weight.n, weight.weight.k, embedding.type(),
        weight.type(), arithmetic == Arithmetic::F32 ? "f32" : "int8");
  return TestModel::create(target, {embedding, weight}, source, weight.weight.n,
                           maxTokens, maxTokens, error, arithmetic);
}

bool ::qc::test::hasDevice(const DeviceTarget &target, std::string &why,
                           uint32_t features) {
  QCDeviceModel empty = {};
  QCDeviceCode code = {};
  code.kind = target.codeKind;
  code.features = features;
  code.arch = target.arch;
  empty.abi_version = QC_DEVICE_ABI_VERSION;
  empty.target = target.name.c_str();
  empty.codes = &code;
  empty.num_codes = 1;
  std::vector<::qc::rt::DeviceInfo> devices;
  ::qc::rt::DeviceError error;
  if (!listDevices(empty, devices, error)) {
    why = error.message;
    return false;
  }
  for (const auto &device : devices) {
    if (device.unsuitable.empty())
      return true;
    why = device.unsuitable;
  }
  return false;
}

void ::qc::test::checkProduct(const DeviceTarget &target,
                              const std::string &spelling, const Format &format,
                              Shape shape, Arithmetic arithmetic) {
  bool int8 = arithmetic != Arithmetic::F32;
  std::mt19937 rng(static_cast<unsigned>(shape.n * 1000 + shape.k));
  HostWeight weight = randomWeight(format, shape.n, shape.k, rng);
  auto n = static_cast<size_t>(shape.n), k = static_cast<size_t>(shape.k);
  std::vector<double> w(n * k);
  for (size_t row = 0; row < n; ++row)
    if (int8)
      format.decodeRowInt8(weight.views(), shape.n, shape.k,
                           static_cast<int64_t>(row), &w[row * k]);
    else
      format.decodeRow(weight.views(), shape.n, shape.k,
                       static_cast<int64_t>(row), &w[row * k]);
  auto block = static_cast<size_t>(
      format.packedLayout(shape.n, shape.k, mlir::qc::gpu::packedRows).blockK);
  constexpr size_t tokens = 21;
  std::vector<float> x(tokens * k);
  std::normal_distribution<float> normal(0, 2);
  for (float &value : x)
    value = normal(rng);
  std::string error;
  auto plain = ::qc::parseFormat("float<f32>", error);
  HostWeight inputs = floatWeight(tokens, shape.k, x);
  auto model = createProduct(target, {"float<f32>", *plain, inputs},
                             {spelling, format, weight}, error, arithmetic);
  ASSERT_TRUE(model) << spelling << ": " << error;
  auto check = [&](const std::vector<int32_t> &ids,
                   const std::vector<float> &y) {
    for (size_t t = 0; t < ids.size(); ++t)
      for (size_t row = 0; row < n; ++row) {
        double sum = 0, magnitude = 0;
        for (size_t i = 0; i < k; ++i) {
          double product =
              w[row * k + i] * x[static_cast<size_t>(ids[t]) * k + i];
          sum += product;
          magnitude += std::abs(product);
        }
        // Rounding the activations moves each by half a step at most.
        double rounding = 0;
        const float *token = &x[static_cast<size_t>(ids[t]) * k];
        for (size_t from = 0; int8 && from < k; from += block) {
          double top = 0, weights = 0;
          for (size_t i = from; i < std::min(k, from + block); ++i) {
            top = std::max<double>(top, std::abs(token[i]));
            weights += std::abs(w[row * k + i]);
          }
          rounding += 0.5 * top / 127 * weights * (1 + 1e-5);
        }
        // Stored zero points are subtracted from the codes' sum: count it.
        double scale = hasFloatZeros(spelling) && int8 ? 300.0 : 1.0;
        double bound =
            (static_cast<double>(k) + 8) * 0x1p-24 * scale * magnitude +
            rounding + 1e-30;
        ASSERT_LE(std::abs(y[t * n + row] - sum), bound)
            << spelling << " int8=" << int8 << " n=" << n << " k=" << k
            << " token " << t << " of " << ids.size() << " row " << row
            << " got " << y[t * n + row] << " expected " << sum;
      }
  };
  // One token by the kernel of one token; whole, ragged and several tiles.
  std::vector<size_t> counts = {1, 3, 8, 21};
  if (arithmetic == Arithmetic::Int8OnTensorCores)
    // Tiles of 8 in tiles of 64; of few tokens, in one of 16.
    counts = {17, 64, 70, 1, 2, 7, 9, 15, 16};
  if (arithmetic == Arithmetic::Int8Cooperative)
    counts = {1, 9, 64, 70}; // tiles of 8 in tiles of 64
  for (size_t m : counts) {
    std::vector<int32_t> ids(m);
    for (size_t i = 0; i < m; ++i)
      ids[i] = static_cast<int32_t>((i * 5 + m) % tokens);
    check(ids, model->run(model->stepFor(QC_STEP_SCORE, m), ids, 0, error));
    ASSERT_EQ(error, "");
    if (testing::Test::HasFatalFailure())
      return;
  }
  check({7}, model->run(QC_STEP_DECODE, {7}, 0, error));
  ASSERT_EQ(error, "");
}

void ::qc::test::checkShapes(const DeviceTarget &target,
                             const std::string &spelling,
                             Arithmetic arithmetic) {
  std::string error;
  auto format = ::qc::parseFormat(spelling, error);
  ASSERT_TRUE(format) << error;
  for (Shape shape : shapes) {
    if (format->check(shape.n, shape.k))
      continue;
    checkProduct(target, spelling, *format, shape, arithmetic);
    if (testing::Test::HasFatalFailure())
      return;
  }
}

void ::qc::test::checkDecode(const DeviceTarget &target,
                             const std::string &spelling) {
  std::string error;
  auto format = ::qc::parseFormat(spelling, error);
  ASSERT_TRUE(format) << error;
  HostWeight weight = format->exhaustiveWeight(/*quick=*/true);
  auto k = static_cast<size_t>(weight.k);
  std::vector<float> ones(k * k);
  for (size_t i = 0; i < k; ++i)
    ones[i * k + i] = 1;
  HostWeight identity = floatWeight(weight.k, weight.k, ones);
  auto plain = ::qc::parseFormat("float<f32>", error);
  auto model = createProduct(target, {spelling, *format, weight},
                             {"float<f32>", *plain, identity}, error);
  ASSERT_TRUE(model) << error;
  // What rounds before it is scaled, see CPUKernelTest.
  bool twice = (spelling.find("codebook") == 0 &&
                spelling.find("books = 1") == std::string::npos) ||
               spelling.find("zero = f") != std::string::npos;
  std::vector<double> expected(k);
  int64_t different = 0;
  for (int64_t first = 0; first < weight.n; first += maxTokens) {
    std::vector<int32_t> ids;
    for (int64_t row = first; row < std::min(weight.n, first + maxTokens);
         ++row)
      ids.push_back(static_cast<int32_t>(row));
    std::vector<float> decoded = model->run(QC_STEP_SCORE, ids, 0, error);
    ASSERT_EQ(error, "");
    for (size_t r = 0; r < ids.size(); ++r) {
      format->decodeRow(weight.views(), weight.n, weight.k, ids[r],
                        expected.data());
      double cancelled = 0;
      if (spelling.find("codebook") == 0 &&
          weight.components[1].spec.shape[0] > 2)
        cancelled = std::ldexp(
            2.0 * static_cast<double>(weight.components[1].spec.shape[0]) *
                std::abs(weight.components[2].view().at(ids[r])),
            -23);
      for (size_t i = 0; i < k; ++i) {
        auto exact = static_cast<float>(expected[i]);
        float got = decoded[r * k + i];
        // Devices may flush subnormal results.
        bool same = exact == got || (std::abs(exact) < 0x1p-126f && got == 0);
        if (twice)
          same = std::abs(got - expected[i]) <=
                 std::ldexp(std::abs(expected[i]), -22) + 1e-9 + cancelled;
        if (!same && ++different == 1)
          ADD_FAILURE() << spelling << " row " << ids[r] << " column " << i
                        << ": got " << got << ", expected " << expected[i];
      }
    }
  }
  EXPECT_EQ(different, 0);
}

static void checkTop(const DeviceTarget &target, std::vector<float> logits,
                     const std::vector<float> &factors) {
  auto n = static_cast<int64_t>(logits.size());
  std::string error;
  auto plain = ::qc::parseFormat("float<f32>", error);
  // Row `id` of the embedding times the only column: factors[id] * logits.
  HostWeight rows = floatWeight(n, 1, factors),
             column = floatWeight(n, 1, logits);
  auto model = createProduct(target, {"float<f32>", *plain, rows},
                             {"float<f32>", *plain, column}, error);
  ASSERT_TRUE(model) << error;
  auto expected = [&](int32_t id) {
    std::vector<int32_t> order(logits.size());
    for (size_t i = 0; i < order.size(); ++i)
      order[i] = static_cast<int32_t>(i);
    auto value = [&](int32_t i) {
      float product =
          factors[static_cast<size_t>(id)] * logits[static_cast<size_t>(i)];
      return std::isnan(product) ? std::pair(1, 0.0f) : std::pair(0, product);
    };
    llvm::stable_sort(
        order, [&](int32_t a, int32_t b) { return value(a) > value(b); });
    return order;
  };
  auto last = static_cast<int32_t>(n - 1);
  for (int32_t id : {0, 1, last}) {
    QCDeviceTop top;
    ::qc::rt::DeviceError reason;
    ASSERT_TRUE(model->get().runTop(id, 0, top, reason)) << reason.message;
    std::vector<int32_t> order = expected(id);
    for (size_t i = 0; i < QC_TOP_CANDIDATES; ++i) {
      ASSERT_EQ(top.ids[i], order[i]) << "candidate " << i << " of " << n;
      float value = factors[static_cast<size_t>(id)] *
                    logits[static_cast<size_t>(order[i])];
      if (std::isnan(value))
        EXPECT_TRUE(std::isnan(top.logits[i]));
      else
        EXPECT_EQ(top.logits[i], value);
    }
    // Several steps at once, each from the token of the one before.
    for (size_t steps : {1u, 3u, 4u}) {
      std::vector<int32_t> tokens(steps);
      ASSERT_TRUE(model->get().runGreedy(id, static_cast<int64_t>(steps),
                                         tokens, reason))
          << reason.message;
      int32_t before = id;
      for (int32_t token : tokens) {
        int32_t best = expected(before)[0];
        float value = factors[static_cast<size_t>(before)] *
                      logits[static_cast<size_t>(best)];
        ASSERT_EQ(token, std::isfinite(value) ? best : -1) << n;
        if (token < 0)
          break;
        before = token;
      }
    }
  }
}

void ::qc::test::checkTop(const DeviceTarget &target) {
  std::mt19937 rng(7);
  std::normal_distribution<float> normal(0, 2);
  // One workgroup; two; a tree of two and of three sorts.
  for (size_t n : {65u, 512u, 1024u, 1025u, 20000u, 70001u}) {
    std::vector<float> logits(n), factors(n, 1.0f);
    for (float &value : logits)
      value = std::round(8 * normal(rng)) / 8; // many are equal
    logits[n / 2] = -0.0f;
    // The other end of the order every third time.
    for (size_t i = 1; i < n; i += 3)
      factors[i] = -1;
    ::checkTop(target, logits, factors);
    if (testing::Test::HasFatalFailure())
      return;
  }
  for (float special : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> logits(1500, -INFINITY), factors(1500, 1.0f);
    for (size_t i : {3u, 700u, 1499u})
      logits[i] = static_cast<float>(i);
    logits[1200] = special;
    ::checkTop(target, logits, factors);
    if (testing::Test::HasFatalFailure())
      return;
  }
  std::vector<float> zeros(300, 0.0f);
  for (size_t i = 0; i < 300; i += 2)
    zeros[i] = -0.0f;
  ::checkTop(target, zeros, std::vector<float>(300, 1.0f));
}

std::string(::qc::test::formatTestName)(
    const testing::TestParamInfo<const char *> &info) {
  std::string name;
  for (const char *c = info.param; *c; ++c)
    if (std::isalnum(static_cast<unsigned char>(*c)))
      name += *c;
    else if (!name.empty() && name.back() != '_')
      name += '_';
  return name + std::to_string(info.index);
}
