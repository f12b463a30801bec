//===- CPUKernelTest.cpp - Generated kernels against the definition -------===//
//
// For each format x CPU level x ragged shape: the generated decode equals the
// reference bit for bit, and the generated product lies within the rounding
// error of a sum of k products in f32,
//   |y - sum w x| <= gamma_{k+8} sum |w x|,   gamma_n = n u / (1 - n u),
// (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), plus
// for int8 activations what rounding the activations can change.
//
//===----------------------------------------------------------------------===//
#include "AMXTrap.h"
#include "KernelCases.h"
#include "TestCPUs.h"
#include "qc/Format/Format.h"
#include "gtest/gtest.h"

using namespace qc;
using namespace qc::test;
using llvm::StringRef;
using mlir::qc::Arithmetic;

namespace {

/// Shuffles of bytes over 512 bits, for tables of partial sums.
bool hasByteShuffles(const std::string &cpu) {
  return cpu == "icelake-server" || cpu == "x86-64-v4-amx" ||
         cpu.rfind("sapphirerapids", 0) == 0;
}

/// What rounding the tables of partial sums to 8 bits may change in each row's
/// sum, over its scale: half a step a look-up, where a step is 1/127 of a K
/// block's largest partial sum of the (rounded) entries and activations.
double tableRounding(const HostWeight &weight, const float *x, int64_t block) {
  const Tensor &books = weight.components[1];
  int64_t count = books.spec.shape[0], entries = books.spec.shape[1],
          vector = books.spec.shape[2];
  double largestEntry = 0;
  for (int64_t i = 0; i < count * entries * vector; ++i)
    largestEntry = std::max(largestEntry, std::abs(books.view().at(i)));
  double bound = 0;
  for (int64_t from = 0; from < weight.k; from += block) {
    int64_t to = std::min(from + block, weight.k);
    double top = 0, largest = 0;
    for (int64_t i = from; i < to; ++i)
      largest = std::max<double>(largest, std::abs(x[i]));
    for (int64_t v = from; v < to; v += vector)
      for (int64_t e = 0; e < count * entries; ++e) {
        double sum = 0;
        for (int64_t j = 0; j < std::min(vector, to - v); ++j)
          sum += books.view().at(e * vector + j) * x[v + j];
        top = std::max(top, std::abs(sum));
      }
    // Activations and entries are off by half of their own steps.
    top += static_cast<double>(vector) * largestEntry * largest / 127 * 1.01;
    int64_t lookups = (block + vector - 1) / vector * count;
    bound += 0.5 * top / 127 * static_cast<double>(lookups) * 1.001;
  }
  return bound;
}

class KernelTest : public testing::TestWithParam<std::string> {};

} // namespace

// Tiles of 8, 4, 2 and 1 tokens.
const std::vector<size_t> tokenCounts = {1, 3, 11, 15};

/// To nearest, ties to even; `value` is finite.
static double roundToBF16(float value) {
  auto bits = llvm::bit_cast<uint32_t>(value);
  bits += 0x7fff + (bits >> 16 & 1);
  return llvm::bit_cast<float>(bits & 0xffff0000);
}

static void checkMatmul(const std::string &spelling, const Format &format,
                        Shape shape, Arithmetic arithmetic,
                        const std::string &cpu, int64_t rows = 0,
                        const std::string &tuning = "",
                        const std::vector<size_t> &counts = tokenCounts) {
  std::string error;
  bool int8 = arithmetic == Arithmetic::Int8;
  auto kernel = KernelJIT::create(spelling, shape.n, shape.k, arithmetic, cpu,
                                  error, rows, tuning);
  ASSERT_TRUE(kernel) << error;
  std::mt19937 rng(static_cast<unsigned>(shape.n * 1000 + shape.k));
  HostWeight weight = randomWeight(format, shape.n, shape.k, rng);
  std::vector<uint8_t> blob = packed(format, weight, kernel->rows);

  auto n = static_cast<size_t>(shape.n), k = static_cast<size_t>(shape.k);
  std::vector<double> reference(n * k);
  for (size_t row = 0; row < n; ++row)
    if (int8)
      format.decodeRowInt8(weight.views(), shape.n, shape.k,
                           static_cast<int64_t>(row), &reference[row * k]);
    else
      format.decodeRow(weight.views(), shape.n, shape.k,
                       static_cast<int64_t>(row), &reference[row * k]);
  // Byte codebooks of whole words have tables where the CPU has vpermi2b.
  if (spelling.find("books = 2, bits = 8, vector = 8") != std::string::npos)
    EXPECT_EQ(kernel->tableLookups > 0,
              int8 && hasByteShuffles(cpu) && kernel->rows == 64);
  for (size_t m : counts) {
    // Behind the last token nothing may be written, and what padding of tiles
    // holds may not matter.
    std::vector<float> x(m * k), y((m + 1) * n, NAN);
    std::normal_distribution<float> normal(0, 2);
    for (float &value : x)
      value = normal(rng);
    if (m == 3) // a token of zeros
      std::fill_n(x.begin(), k, 0.0f);
    std::vector<uint8_t> scratch(
        static_cast<size_t>(kernel->scratchFor(m)) + 64, 0xff);
    kernel->matmul(blob.data(), x.data(), static_cast<int64_t>(m), y.data(),
                   scratch.data());
    ASSERT_TRUE(std::all_of(y.end() - static_cast<ptrdiff_t>(n), y.end(),
                            [](float value) { return std::isnan(value); }))
        << spelling << " m=" << m;
    double tables = 0;
    if (m == 1 && kernel->tableLookups)
      tables = tableRounding(weight, x.data(), kernel->int8Block);
    for (size_t t = 0; t < m; ++t)
      for (size_t row = 0; row < n; ++row) {
        const double *w = &reference[row * k];
        double sum = 0, magnitude = 0, rounding = 0;
        for (size_t i = 0; i < k; ++i) {
          double input = x[t * k + i];
          if (arithmetic == Arithmetic::BF16 && k % 2 == 0)
            input = roundToBF16(x[t * k + i]);
          sum += w[i] * input;
          magnitude += std::abs(w[i] * input);
        }
        if (tables > 0)
          rounding += tables * std::abs(weight.components[2].view().at(
                                   static_cast<int64_t>(row)));
        if (int8) {
          auto block = static_cast<size_t>(kernel->int8Block);
          for (size_t from = 0; from < k; from += block) {
            double top = 0, weights = 0;
            for (size_t i = from; i < std::min(k, from + block); ++i) {
              top = std::max<double>(top, std::abs(x[t * k + i]));
              weights += std::abs(w[i]);
            }
            rounding += 0.5 * top / 127 * weights * (1 + 1e-5);
          }
        }
        // Stored zero points are subtracted from the codes' sum: count it.
        double scale = hasFloatZeros(spelling) && int8 ? 300.0 : 1.0;
        double u = std::ldexp(1.0, -24);
        double gamma = (static_cast<double>(k) + 8) * u * scale;
        double bound = gamma * magnitude + rounding + 1e-30;
        ASSERT_LE(std::abs(y[t * n + row] - sum), bound)
            << spelling << " " << cpu << " int8=" << int8 << " n=" << n
            << " k=" << k << " m=" << m << " token " << t << " row " << row
            << " got " << y[t * n + row] << " expected " << sum;
      }
  }
}

TEST_P(KernelTest, MatmulMatchesDoubleReference) {
  std::string error;
  for (const char *spelling : formats) {
    auto format = parseFormat(spelling, error);
    ASSERT_TRUE(format) << error;
    for (Shape shape : shapes) {
      if (format->check(shape.n, shape.k))
        continue;
      checkMatmul(spelling, *format, shape, Arithmetic::F32, GetParam());
      if (hasIntegerCodes(spelling))
        checkMatmul(spelling, *format, shape, Arithmetic::Int8, GetParam());
      if (HasFatalFailure())
        return;
    }
  }
}

/// Weights packed for wider registers than the CPU has: what an executable for
/// several CPUs holds.
TEST_P(KernelTest, RowBlocksWiderThanRegisters) {
  std::string error;
  for (const char *spelling : formats) {
    auto format = parseFormat(spelling, error);
    ASSERT_TRUE(format) << error;
    bool wide = GetParam().find("v4") != std::string::npos ||
                hasByteShuffles(GetParam());
    int64_t rows = wide ? 64 : 16;
    checkMatmul(spelling, *format, {50, 172}, Arithmetic::F32, GetParam(),
                rows);
    if (hasIntegerCodes(spelling))
      checkMatmul(spelling, *format, {50, 172}, Arithmetic::Int8, GetParam(),
                  rows);
    if (HasFatalFailure())
      return;
  }
}

/// Constants that --tune may choose, and the ends of their ranges.
TEST_P(KernelTest, Tunings) {
  std::string error;
  for (const char *spelling :
       {"float<f16>", "grouped<bits = 4, group = 32, scale = f16>",
        "grouped<bits = 8, group = 128, scale = f16, zero = int>",
        "lut<nf4, group = 64, scale = f32>"}) {
    auto format = parseFormat(spelling, error);
    ASSERT_TRUE(format) << error;
    for (const char *tuning :
         {"token-tile=1,sums=1,strip=1,prefetch=0,decode-prefetch=0",
          "token-tile=2,sums=2,prefetch=1,decode-prefetch=64",
          "token-tile=4,sums=8,strip=1", "token-tile=16,sums=16,prefetch=64"}) {
      SCOPED_TRACE(tuning);
      for (bool int8 : {false, true})
        if (!int8 || hasIntegerCodes(spelling))
          checkMatmul(spelling, *format, {50, 172},
                      int8 ? Arithmetic::Int8 : Arithmetic::F32, GetParam(), 0,
                      tuning, {1, 7, 27}); // tiles of 16, too
      if (HasFatalFailure())
        return;
    }
  }
}

/// Every code point: all codes x zero points, all finite f16 scales, every
/// table and codebook entry.
TEST_P(KernelTest, DecodeIsExactOnEveryCodePoint) {
  std::string error;
  for (const char *spelling : formats) {
    auto format = parseFormat(spelling, error);
    ASSERT_TRUE(format) << error;
    HostWeight weight = format->exhaustiveWeight(/*quick=*/false);
    auto kernel = KernelJIT::create(spelling, weight.n, weight.k,
                                    Arithmetic::F32, GetParam(), error);
    ASSERT_TRUE(kernel) << error;
    std::vector<uint8_t> blob = packed(*format, weight, kernel->rows);
    auto k = static_cast<size_t>(weight.k);
    std::vector<double> expected(k);
    std::vector<float> decoded(k);
    int64_t different = 0;
    for (int64_t row = 0; row < weight.n; ++row) {
      format->decodeRow(weight.views(), weight.n, weight.k, row,
                        expected.data());
      kernel->decode(blob.data(), row, decoded.data());
      // Two books of f16 entries add up exactly in f32.
      double cancelled = 0;
      if (weight.components.size() == 3 &&
          weight.components[1].spec.name == "codebooks" &&
          weight.components[1].spec.shape[0] > 2)
        cancelled = std::ldexp(
            2.0 * static_cast<double>(weight.components[1].spec.shape[0]) *
                std::abs(weight.components[2].view().at(row)),
            -23);
      for (size_t i = 0; i < k; ++i) {
        auto exact = static_cast<float>(expected[i]);
        // A sum of codebook entries (below 2 each) and a code minus a float
        // zero point round in f32 before they are scaled; everything else
        // rounds once.
        bool twice =
            (std::string(spelling).find("codebook") == 0 &&
             std::string(spelling).find("books = 1") == std::string::npos) ||
            std::string(spelling).find("zero = f") != std::string::npos;
        bool same = twice ? std::abs(decoded[i] - expected[i]) <=
                                std::ldexp(std::abs(expected[i]), -22) + 1e-9 +
                                    cancelled
                          : std::memcmp(&exact, &decoded[i], 4) == 0 ||
                                (exact == 0 && decoded[i] == 0);
        if (!same && ++different == 1)
          ADD_FAILURE() << spelling << " row " << row << " column " << i
                        << ": got " << decoded[i] << ", expected "
                        << expected[i];
      }
    }
    EXPECT_EQ(different, 0) << spelling;
  }
}

INSTANTIATE_TEST_SUITE_P(CPUs, KernelTest, testing::ValuesIn(runnableCPUs()),
                         [](const auto &info) {
                           std::string name = info.param;
                           for (char &c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c)))
                               c = '_';
                           return name;
                         });

/// Pairs of inputs by vdpbf16ps; rows of odd length by f32.
TEST(BF16KernelTest, MatmulMatchesDoubleReference) {
  auto cpu = mlir::qc::cpu::CPU::get("znver4");
  ASSERT_TRUE(static_cast<bool>(cpu));
  if (!mlir::qc::cpu::runsHere(*cpu))
    GTEST_SKIP() << "skipped: this CPU does not run znver4 (AVX-512 BF16)";
  std::string error;
  auto format = parseFormat("float<bf16>", error);
  ASSERT_TRUE(format) << error;
  for (int64_t rows : {0, 64})
    for (Shape shape : {Shape{1, 64}, Shape{17, 33}, Shape{5, 2},
                        Shape{50, 172}, Shape{70, 1202}}) {
      checkMatmul("float<bf16>", *format, shape, Arithmetic::BF16, "znver4",
                  rows);
      checkMatmul("float<bf16>", *format, shape, Arithmetic::BF16, "znver4",
                  rows, "token-tile=16", {1, 7, 27});
      if (HasFatalFailure())
        return;
    }
}

TEST(BF16KernelTest, CodeHasDotProductsWhereTheCPUHas) {
  for (const char *cpu : {"znver4", "cooperlake", "sapphirerapids",
                          "icelake-server", "x86-64-v3"}) {
    std::string error;
    std::string assembly = KernelJIT::compileOnly("float<bf16>", 50, 172,
                                                  Arithmetic::BF16, cpu, error);
    ASSERT_FALSE(assembly.empty()) << cpu << ": " << error;
    bool expected =
        StringRef(cpu) != "icelake-server" && StringRef(cpu) != "x86-64-v3";
    EXPECT_EQ(assembly.find("vdpbf16ps") != std::string::npos, expected) << cpu;
  }
}

/// Tiles of 16 tokens in tile registers. No expected value depends on them: the
/// reference and its bounds are those of the other CPUs.
class AMXKernelTest : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    enableAMX();
    before = numTrappedAMX();
  }
  /// Instructions ran, as far as that can be seen.
  void TearDown() override {
    if (IsSkipped())
      return;
    bool machineCode = GetParam().find("emulation") == std::string::npos;
    EXPECT_EQ(numTrappedAMX() > before, machineCode && trapsAMX());
  }
  void check(const std::string &spelling, Shape shape,
             const std::vector<size_t> &counts, int64_t rows = 0,
             const std::string &tuning = "",
             Arithmetic arithmetic = Arithmetic::Int8) {
    std::string error;
    auto format = parseFormat(spelling, error);
    ASSERT_TRUE(format) << error;
    if (!format->check(shape.n, shape.k))
      checkMatmul(spelling, *format, shape, arithmetic, GetParam(), rows,
                  tuning, counts);
  }
  int64_t before = 0;
};

TEST_P(AMXKernelTest, MatmulMatchesDoubleReference) {
  for (const char *spelling : formats)
    for (Shape shape : {Shape{17, 33}, Shape{50, 172}}) {
      if (hasIntegerCodes(spelling))
        check(spelling, shape, {7, 16, 27, 75});
      if (HasFatalFailure())
        return;
    }
}

TEST_P(AMXKernelTest, EveryCountOfTokens) {
  std::vector<size_t> counts = {128, 143, 159, 160, 272}; // one strip and more
  for (size_t m = 1; m <= 40; ++m)
    counts.push_back(m);
  check("grouped<bits = 4, group = 32, scale = f16>", {50, 172}, counts);
  check("grouped<bits = 8, group = 300, scale = f32, zero = f32>", {35, 630},
        counts);
  check("codebook<books = 2, bits = 7, vector = 12, scale = f16, entry = f16>",
        {50, 172}, counts);
}

/// K blocks that are decoded in pieces, the last of which is ragged.
TEST_P(AMXKernelTest, LongBlocks) {
  for (const char *spelling :
       {"grouped<bits = 8, group = channel, scale = f32>",
        "grouped<bits = 3, group = channel, scale = f16, zero = int>",
        "grouped<bits = 4, group = 1100, scale = f16, zero = f16>",
        "codebook<books = 3, bits = 8, vector = 12, scale = f16, entry = f16>"})
    check(spelling, {40, 2520}, {33, 144});
}

TEST_P(AMXKernelTest, RowBlocksWiderThanRegisters) {
  for (const char *spelling : formats)
    if (hasIntegerCodes(spelling))
      check(spelling, {50, 172}, {35}, 64);
}

/// Whatever tiles of tokens the products of fewer tokens have.
TEST_P(AMXKernelTest, Tunings) {
  for (const char *tuning : {"token-tile=1", "token-tile=4", "token-tile=16"})
    check("grouped<bits = 4, group = 32, scale = f16>", {50, 172},
          {3, 4, 5, 31, 45}, 0, tuning);
}

/// Pairs of inputs; a few tokens by vdpbf16ps.
TEST_P(AMXKernelTest, BF16) {
  auto cpu = mlir::qc::cpu::CPU::get("cooperlake");
  ASSERT_TRUE(static_cast<bool>(cpu));
  if (!mlir::qc::cpu::runsHere(*cpu))
    GTEST_SKIP() << "skipped: this CPU does not run cooperlake (AVX-512 BF16)";
  std::vector<size_t> counts = {1, 4, 5, 15, 16, 17, 32, 47, 128, 143};
  for (int64_t rows : {16, 64})
    for (Shape shape : {Shape{1, 2}, Shape{17, 34}, Shape{50, 172},
                        Shape{40, 1088}, Shape{33, 1250}}) {
      check("float<bf16>", shape, counts, rows, "", Arithmetic::BF16);
      if (HasFatalFailure())
        return;
    }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AMXKernelTest);
INSTANTIATE_TEST_SUITE_P(CPUs, AMXKernelTest, testing::ValuesIn(runnableAMX()),
                         [](const auto &info) {
                           return info.param.find("emulation") ==
                                          std::string::npos
                                      ? "machine_code"
                                      : "emulated";
                         });

TEST(KernelCompile, LevelsThatTheHostLacksCompile) {
  for (const std::string &cpu : allCPUs())
    for (bool int8 : {false, true}) {
      std::string error;
      std::string assembly = KernelJIT::compileOnly(
          "grouped<bits = 4, group = 64, scale = f16>", 50, 172,
          int8 ? Arithmetic::Int8 : Arithmetic::F32, cpu, error);
      ASSERT_FALSE(assembly.empty()) << cpu << ": " << error;
      bool vnni = assembly.find("vpdpbusd") != std::string::npos;
      bool expected =
          cpu.find("vnni") != std::string::npos || hasByteShuffles(cpu);
      EXPECT_EQ(vnni, int8 && expected) << cpu;
      bool amx = assembly.find("tdpbssd") != std::string::npos;
      EXPECT_EQ(amx, int8 && cpu == "sapphirerapids") << cpu;
    }
}
