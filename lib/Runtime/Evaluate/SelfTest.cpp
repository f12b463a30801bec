//===- SelfTest.cpp - Generated kernels against their definition ----------===//
//
// On the user's machine: the generated decoding of each format on every code
// point against the host definition of the format, then each matmul kernel on
// the model's own weights against sums in double over decoded rows.
//
//===----------------------------------------------------------------------===//
#include "qc/Format/Format.h"
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>

using namespace qc::rt;

namespace {

/// Small deterministic generator of test activations in [-1, 1).
class Random {
public:
  float next() {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31f;
  }

private:
  uint64_t state = 42;
};

void report(bool quiet, const char *what, const char *name,
            const std::string &problem) {
  if (problem.empty() && quiet)
    return;
  std::printf("%s  %s %s%s%s\n", problem.empty() ? "pass" : "FAIL", what, name,
              problem.empty() ? "" : ": ", problem.c_str());
  std::fflush(stdout);
}

} // namespace

/// Of logits with int8 activations, in units of their standard deviation: of
/// all together (root mean square) and of any.
static constexpr double mostNoise = 0.125, mostLogitNoise = 0.5;

namespace {
/// A QCFormatTest or QCDeviceTest.
struct DecodeTest {
  const char *format;
  int64_t n, k, rows;
  /// Called once with the packed weight; returns what decodes a row of it, or
  /// null and why not.
  std::function<std::function<void(int64_t, float *)>(std::span<const uint8_t>,
                                                      std::string &)>
      prepare;
};
} // namespace

/// Every code point of a format, bit for bit.
static std::string testFormat(const DecodeTest &test) {
  std::string error;
  auto format = qc::parseFormat(test.format, error);
  if (!format)
    return error;
  qc::HostWeight weight = format->exhaustiveWeight(/*quick=*/true);
  if (weight.n != test.n || weight.k != test.k)
    return "the test weight has another shape than the kernel";
  qc::PackedLayout layout = format->packedLayout(weight.n, weight.k, test.rows);
  Memory blob;
  if (!blob.allocate(static_cast<size_t>(layout.totalBytes()) + 64))
    return "not enough memory";
  qc::Components components = weight.views();
  format->pack(components, layout, static_cast<uint8_t *>(blob.get()));
  auto decodeRow = test.prepare({static_cast<const uint8_t *>(blob.get()),
                                 static_cast<size_t>(layout.totalBytes())},
                                error);
  if (!decodeRow)
    return error;
  auto k = static_cast<size_t>(weight.k);
  std::vector<double> expected(k);
  std::vector<float> decoded(k);
  // Codes minus float zero points, and sums of codebook entries, round once
  // more than the definition does.
  bool rounds =
      std::strstr(test.format, "zero = f") || std::strstr(test.format, "books");
  for (int64_t row = 0; row < weight.n; ++row) {
    format->decodeRow(components, weight.n, weight.k, row, expected.data());
    decodeRow(row, decoded.data());
    // Test entries lie below 2; their sum rounds before what may cancel.
    double cancelled = 0;
    for (const qc::TensorView &books : components)
      if (books.spec.name == "codebooks")
        cancelled = std::ldexp(2.0 * static_cast<double>(books.spec.shape[0]) *
                                   std::abs(components.back().at(row)),
                               -23);
    for (size_t i = 0; i < k; ++i) {
      auto exact = static_cast<float>(expected[i]);
      double allowed =
          rounds ? std::ldexp(std::abs(expected[i]), -20) + 1e-9 + cancelled
                 : 0.0;
      // The negation catches NaN.
      if (!(std::abs(static_cast<double>(decoded[i]) - exact) <= allowed))
        return "row " + std::to_string(row) + " column " + std::to_string(i) +
               " is " + std::to_string(decoded[i]) + ", expected " +
               std::to_string(exact);
    }
  }
  return "";
}

/// What rounding table entries and partial sums to 8 bits may change in one
/// output whose largest weight is `top`.
static double roundedEntries(const QCKernel &kernel, size_t tokens,
                             const float *x, double top) {
  double sum = 0;
  for (int64_t i = 0; i < kernel.k; ++i)
    sum += std::abs(static_cast<double>(x[i]));
  double step = top / 127;
  double result = 0.51 * kernel.weight_roundings * step * sum;
  if (tokens != 1 || kernel.table_lookups == 0)
    return result;
  // Independent roundings of steps of (largest partial sum) / 127 each: six
  // standard deviations. The largest sum of a vector is not known here; inputs
  // below 1 and entries below twice the largest weight bound it well enough.
  auto lookups = static_cast<double>(kernel.table_lookups);
  double vector =
      static_cast<double>(kernel.k * kernel.weight_roundings) / lookups;
  return result + 6 * std::sqrt(lookups / 12) * 2 * step * std::sqrt(vector);
}

/// To nearest, ties to even; `value` is finite.
static float roundToBF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// A product with the model's own weights against sums in double.
static std::string testKernel(const QCModel &model, const QCKernel &kernel,
                              const uint8_t *weights) {
  if (kernel.weight_offset < 0 || kernel.weight_bytes < 0 ||
      kernel.weight_offset > model.weights_bytes ||
      kernel.weight_bytes > model.weights_bytes - kernel.weight_offset)
    return "its weight lies outside of the file";
  if (kernel.int8_activations == 1 && kernel.int8_block < 1)
    return "its activation block has no length";
  const uint8_t *weight = weights + kernel.weight_offset;
  auto n = static_cast<size_t>(kernel.n), k = static_cast<size_t>(kernel.k);
  // Whole matrices of a vocabulary take long; rows at both ends and a stride
  // between meet every lane and the ragged end.
  size_t stride = n > 512 ? n / 256 | 1 : 1;
  Memory scratch;
  if (!scratch.allocate(static_cast<size_t>(kernel.scratch_bytes) + 64))
    return "not enough memory";
  Random random;
  // One token; an even and an odd number: tiles with and without a rest; with
  // AMX a tile of 16 that is partly empty, and two.
  for (size_t m : {1u, 2u, 5u, 9u, 17u}) {
    if (static_cast<int64_t>(m) > model.max_tokens)
      break;
    std::vector<float> x(m * k), y(m * n), row(k);
    for (float &value : x)
      value = random.next();
    kernel.matmul(weight, x.data(), static_cast<int64_t>(m), y.data(),
                  scratch.get());
    for (size_t r = 0; r < n;
         r = r + stride < n || r == n - 1 ? r + stride : n - 1) {
      kernel.decode_row(weight, static_cast<int64_t>(r), row.data());
      double top = 0;
      for (float w : row)
        top = std::max(top, std::abs(static_cast<double>(w)));
      for (size_t t = 0; t < m; ++t) {
        double sum = 0, magnitude = 0, rounding = 0;
        for (size_t i = 0; i < k; ++i) {
          float input = x[t * k + i];
          if (kernel.int8_activations == 2)
            input = roundToBF16(input);
          double product = static_cast<double>(row[i]) * input;
          sum += product;
          magnitude += std::abs(product);
        }
        if (kernel.int8_activations == 1)
          for (size_t from = 0; from < k;
               from += static_cast<size_t>(kernel.int8_block)) {
            size_t end =
                std::min(k, from + static_cast<size_t>(kernel.int8_block));
            double largest = 0, sumWeights = 0;
            for (size_t i = from; i < end; ++i) {
              largest = std::max<double>(largest, std::abs(x[t * k + i]));
              sumWeights += std::abs(row[i]);
            }
            rounding += 0.51 * largest / 127 * sumWeights;
          }
        rounding += roundedEntries(kernel, m, x.data() + t * k, top);
        // gamma_k of a sum in f32; zero points add up to 256 steps more.
        double gamma = static_cast<double>(k + 300) * 0x1p-24;
        double bound = gamma * (magnitude + top * static_cast<double>(k)) +
                       rounding + 1e-30;
        if (!(std::abs(y[t * n + r] - sum) <= bound))
          return "output " + std::to_string(r) + " of " + std::to_string(m) +
                 " tokens is " + std::to_string(y[t * n + r]) + ", expected " +
                 std::to_string(sum);
      }
    }
  }
  return "";
}

static std::string testFormat(const QCFormatTest &test) {
  return testFormat(
      DecodeTest{test.format, test.n, test.k, test.rows,
                 [&](std::span<const uint8_t> blob, std::string &) {
                   return [&test, blob](int64_t row, float *out) {
                     test.decode_row(blob.data(), row, out);
                   };
                 }});
}

static std::string testFormat(const QCDeviceTest &test, Device &device) {
  return testFormat(DecodeTest{
      test.format, test.n, test.k, test.rows,
      [&](std::span<const uint8_t> blob,
          std::string &error) -> std::function<void(int64_t, float *)> {
        auto k = static_cast<size_t>(test.k);
        std::vector<float> all(static_cast<size_t>(test.n) * k, NAN);
        DeviceError reason;
        if (!device.decode(test, blob, all.data(), reason)) {
          error = reason.message;
          return nullptr;
        }
        return [all = std::move(all), k](int64_t row, float *out) {
          std::copy_n(all.begin() + row * static_cast<int64_t>(k), k, out);
        };
      }});
}

/// Logits of one token by two ways that add up in different orders: "" or what
/// is wrong.
///
/// Roundings of f32 are all that may differ (`roundsToHalf`: and to f16, in
/// attention of several tokens on tensor cores), unless activations are rounded
/// to int8: a value next to a tie then gets the other code in one of the two,
/// and later layers turn that into noise, no larger than that of rounding to
/// int8 itself. It comes and goes with the last bit of any sum, but it is
/// spread over all logits and small beside their deviation s. A row block of
/// the last weight that is wrong moves some logits by s or more, a wrong one
/// before it, a tile or a scale all of them.
static std::string compareLogits(std::span<const float> alone,
                                 std::span<const float> together, bool int8,
                                 bool roundsToHalf) {
  double mean = 0, largest = 0, squares = 0, noise = 0;
  for (float logit : alone) {
    mean += logit;
    largest = std::max(largest, std::abs(static_cast<double>(logit)));
  }
  auto count = static_cast<double>(alone.size());
  mean /= count;
  for (float logit : alone)
    squares += (logit - mean) * (logit - mean);
  double deviation = std::sqrt(squares / count);
  double most = int8 ? mostLogitNoise * deviation
                     : (roundsToHalf ? 4e-3 : 1e-3) * largest;
  for (size_t i = 0; i < alone.size(); ++i) {
    double difference = static_cast<double>(together[i]) - alone[i];
    noise += difference * difference;
    // Negations catch NaN.
    if (!(std::abs(difference) <= most))
      return "logit " + std::to_string(i) + " is " + std::to_string(alone[i]) +
             " alone and " + std::to_string(together[i]) + " with others";
  }
  noise = std::sqrt(noise / count);
  if (int8 && !(noise <= mostNoise * deviation))
    return "logits alone and with others are " +
           std::to_string(noise / deviation) +
           " of their deviation apart, expected at most " +
           std::to_string(mostNoise);
  return "";
}

/// Whether attention of several tokens is on tensor cores, by the name that
/// kernel has.
static bool attendsOnTensorCores(const QCDeviceModel &model) {
  for (uint64_t i = 0; i < model.num_kernels; ++i) {
    std::string_view name = model.kernels[i].name;
    if (name.starts_with("attention_") && name.ends_with("_mma"))
      return true;
  }
  return false;
}

/// The logits of some tokens at once, by `step`, against those of one at a
/// time.
static std::string testSteps(const QCDeviceModel &model, Device &device,
                             int step) {
  auto vocabulary = static_cast<size_t>(model.vocab_size);
  std::vector<int32_t> ids(std::min<size_t>(11, model.max_tokens));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>((i * 7919 + 1) % vocabulary);
  std::vector<float> together(ids.size() * vocabulary), alone(vocabulary);
  DeviceError error;
  // Hidden states, where the steps begin with them.
  std::vector<float> hidden(ids.size() * model.input_columns);
  Random random;
  for (float &value : hidden)
    value = random.next();
  std::copy(hidden.begin(), hidden.end(), device.input());
  if (!device.run(step, ids, 0, together.data(), error))
    return error.message;
  bool roundsToHalf = attendsOnTensorCores(model);
  for (size_t i = 0; i < ids.size(); ++i) {
    std::copy_n(hidden.data() + i * model.input_columns, model.input_columns,
                device.input());
    if (!device.run(QC_STEP_DECODE, std::span(ids).subspan(i, 1),
                    static_cast<int64_t>(i), alone.data(), error))
      return error.message;
    std::string problem = compareLogits(
        alone, std::span(together).subspan(i * vocabulary, vocabulary),
        model.int8_activations, roundsToHalf);
    if (!problem.empty())
      return "token " + std::to_string(i) + ": " + problem;
  }
  return "";
}

bool qc::rt::selfTest(const QCDeviceModel &model, Device &device, bool quiet) {
  int64_t failed = 0, passed = 0;
  auto count = [&](const char *what, const char *name,
                   const std::string &problem) {
    report(quiet, what, name, problem);
    ++(problem.empty() ? passed : failed);
  };
  for (uint64_t i = 0; i < model.num_tests; ++i)
    count("decode", model.tests[i].format, testFormat(model.tests[i], device));
  count("steps", "one token and several",
        testSteps(model, device, QC_STEP_SCORE));
  if (model.steps[QC_STEP_SCORE_FEW].num_dispatches)
    count("steps", "one token and few",
          testSteps(model, device, QC_STEP_SCORE_FEW));
  std::printf("%lld passed, %lld failed on %s\n",
              static_cast<long long>(passed), static_cast<long long>(failed),
              device.info().name.c_str());
  return failed == 0;
}

bool qc::rt::selfTest(const QCModel &model, const void *weights, bool quiet) {
  int64_t failed = 0, passed = 0;
  auto count = [&](const char *what, const char *name,
                   const std::string &problem) {
    report(quiet, what, name, problem);
    ++(problem.empty() ? passed : failed);
  };
  for (int64_t i = 0; i < model.num_format_tests; ++i)
    count("decode", model.format_tests[i].format,
          testFormat(model.format_tests[i]));
  for (int64_t i = 0; i < model.num_kernels; ++i) {
    const QCKernel &kernel = model.kernels[i];
    std::string name = std::to_string(kernel.n) + "x" +
                       std::to_string(kernel.k) + " " + kernel.format +
                       (kernel.int8_activations == 1   ? " int8"
                        : kernel.int8_activations == 2 ? " bf16"
                                                       : " f32");
    count("matmul", name.c_str(),
          testKernel(model, kernel, static_cast<const uint8_t *>(weights)));
  }
  std::printf("%lld passed, %lld failed\n", static_cast<long long>(passed),
              static_cast<long long>(failed));
  return failed == 0;
}
