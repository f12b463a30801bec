//===- Steps.cpp - Attention and norms ------------------------------------===//
//
// Graphs of one operation behind an embedding, whose copy of a row is small
// beside it; norms come in a chain so that it is small there, too. One thread.
//
//===----------------------------------------------------------------------===//
#include "Bench.h"
#include "StepJIT.h"

#include "llvm/Support/FormatVariadic.h"
#include <benchmark/benchmark.h>
#include <cstring>
#include <map>

using namespace qc;

// TinyLlama: 32 query heads of 64, 4 key heads.
static constexpr int64_t heads = 32, kvHeads = 4, dim = 64, ids = 16,
                         norms = 32, capacity = 2048;

static std::string embeddings(llvm::ArrayRef<int64_t> columns) {
  std::string text;
  for (int64_t c : columns)
    text += llvm::formatv(
        "!w{0} = !qc.weight<{1}x{0}, #qc.float<f32>, packed<{{rows}>>\n"
        "qc.weight @w{0} : !w{0} = [#qc.external<\"none\", 0, {2}>]\n",
        c, ids, 4 * ids * c);
  return text;
}

static std::string attentionSource() {
  int64_t q = heads * dim, kv = kvHeads * dim;
  return embeddings({q, kv}) +
         llvm::formatv(
             R"(func.func @prefill(%ids: tensor<?xi32>, %pos: index, %cache: !lm.kv_cache<{2}x{3}xf16>) -> tensor<?x{0}xf32> {{
  %w = qc.get_weight @w{0} : !w{0}
  %v = qc.get_weight @w{1} : !w{1}
  %q = qc.embedding %ids, %w : (tensor<?xi32>, !w{0}) -> tensor<?x{0}xf32>
  %k = qc.embedding %ids, %v : (tensor<?xi32>, !w{1}) -> tensor<?x{1}xf32>
  %a = lm.attention %q, %k, %k, %cache at %pos scale 0.125 : tensor<?x{0}xf32>, tensor<?x{1}xf32>, !lm.kv_cache<{2}x{3}xf16> -> tensor<?x{0}xf32>
  return %a : tensor<?x{0}xf32>
})",
             q, kv, kvHeads, dim)
             .str();
}

static std::string normSource() {
  int64_t columns = heads * dim;
  std::string text = embeddings({columns});
  text += llvm::formatv(
      R"(qc.weight @n : !qc.weight<{0}, #qc.float<f32>> = [#qc.external<"none", 0, {1}>]
func.func @prefill(%ids: tensor<?xi32>, %pos: index, %cache: !lm.kv_cache<{2}x{3}xf16>) -> tensor<?x{0}xf32> {{
  %w = qc.get_weight @w{0} : !w{0}
  %g = qc.get_weight @n : !qc.weight<{0}, #qc.float<f32>>
  %d = qc.dequantize %g : !qc.weight<{0}, #qc.float<f32>> -> tensor<{0}xf32>
  %y0 = qc.embedding %ids, %w : (tensor<?xi32>, !w{0}) -> tensor<?x{0}xf32>
)",
      columns, 4 * columns, kvHeads, dim);
  for (int64_t i = 0; i < norms; ++i)
    text += llvm::formatv("  %y{0} = lm.rms_norm %y{1}, %d eps 1.0e-5 : "
                          "tensor<?x{2}xf32>, tensor<{2}xf32>\n",
                          i + 1, i, columns);
  return text +
         llvm::formatv("  return %y{0} : tensor<?x{1}xf32>\n}", norms, columns)
             .str();
}

static const bench::StepJIT *stepOf(const std::string &source,
                                    std::string &error) {
  static std::map<std::string, std::unique_ptr<bench::StepJIT>> made;
  auto &step = made[source];
  if (!step)
    step = bench::StepJIT::create(source, /*maxTokens=*/128, error);
  return step.get();
}

/// Times steps of `count` tokens whose last position is context - 1.
static double timeStep(benchmark::State &state, const std::string &source,
                       int64_t count, int64_t context) {
  std::string error;
  const bench::StepJIT *jit = stepOf(source, error);
  if (!jit) {
    state.SkipWithError(error.c_str());
    return 0;
  }
  int64_t columns = heads * dim;
  auto floats = [](int64_t number, auto value) {
    bench::Buffer buffer = bench::allocate(number * 4);
    auto *to = reinterpret_cast<float *>(buffer.get());
    for (int64_t i = 0; i < number; ++i)
      to[i] = value(i);
    return buffer;
  };
  auto weights = floats(ids * columns, [](int64_t i) {
    return 0.1f + static_cast<float>(i % 37) / 37;
  });
  auto logits = floats(count * columns, [](int64_t) { return 0.0f; });
  bench::Buffer arena = bench::allocate(jit->arenaBytes + 64);
  // f16: 0x2c00 is 1/16.
  int64_t elements = 2 * kvHeads * dim * capacity;
  bench::Buffer cache = bench::allocate(2 * elements);
  for (int64_t i = 0; i < elements; ++i) {
    auto half = static_cast<uint16_t>(0x2c00 + i % 700);
    std::memcpy(cache.get() + 2 * i, &half, 2);
  }
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int32_t>(i % ids);
  for (auto _ : state)
    jit->step(weights.get(), arena.get(), cache.get(), capacity, tokens.data(),
              count, context - count, reinterpret_cast<float *>(logits.get()),
              0, 1, nullptr);
  return static_cast<double>(state.iterations());
}

using benchmark::Counter;

static void attention(benchmark::State &state) {
  int64_t count = state.range(0), context = state.range(1);
  double runs = timeStep(state, attentionSource(), count, context);
  // Every query head meets a key and a value of each visible position.
  double pairs = static_cast<double>(count * (2 * context - count + 1)) / 2;
  double ops = runs * pairs * 4 * heads * dim;
  double bytes = runs * 4 * kvHeads * dim * static_cast<double>(context);
  state.counters["ops"] = Counter(ops, Counter::kIsRate);
  state.counters["bytes"] = Counter(bytes, Counter::kIsRate);
}

static void rmsNorm(benchmark::State &state) {
  int64_t count = state.range(0);
  double runs = timeStep(state, normSource(), count, count);
  state.counters["rows"] =
      Counter(runs * norms * static_cast<double>(count), Counter::kIsRate);
}

void bench::registerSteps() {
  benchmark::RegisterBenchmark("attention", attention)
      ->ArgNames({"tokens", "context"})
      ->Args({1, 128})
      ->Args({1, 2048})
      ->Args({128, 128})
      ->Args({128, 2048});
  benchmark::RegisterBenchmark("rms_norm", rmsNorm)
      ->ArgName("tokens")
      ->Arg(1)
      ->Arg(128);
}
