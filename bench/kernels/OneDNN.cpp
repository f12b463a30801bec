//===- OneDNN.cpp - Products by oneDNN ------------------------------------===//
//
// What a backend for prompts could get from oneDNN: matmuls of the shape of
// Matmul.cpp with weights in its own layout, reordered ahead. Only where CMake
// finds oneDNN. Its int8 product has one scale for each column, no groups, and
// neither quantizes activations nor unpacks codes: an upper bound.
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include <benchmark/benchmark.h>
#include <cstring>
#include <dlfcn.h>
#include <dnnl.hpp>

using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

namespace {
// The gate and up projections of TinyLlama, as in Matmul.cpp.
constexpr int64_t n = 5632, k = 2048;
struct Case {
  const char *name;
  Type x, weight, out;
};
} // namespace

static dnnl::memory filled(const dnnl::memory::desc &desc,
                           const dnnl::engine &engine) {
  dnnl::memory memory(desc, engine);
  // 1 in every byte: no zeros, subnormals or infinities in any of the types.
  std::memset(memory.get_data_handle(), 0x3b, desc.get_size());
  return memory;
}

static void run(benchmark::State &state, Case c, int64_t m, int64_t threads) {
  // Of the OpenMP library that oneDNN was linked to.
  auto setThreads = reinterpret_cast<void (*)(int)>(
      dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (!setThreads) {
    state.SkipWithError("oneDNN was built without OpenMP");
    return;
  }
  setThreads(static_cast<int>(threads));
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  dnnl::memory::desc x({m, k}, c.x, Tag::ab), w({k, n}, c.weight, Tag::any),
      y({m, n}, c.out, Tag::ab);
  dnnl::primitive_attr attributes;
  if (c.weight == Type::s8)
    attributes.set_output_scales(1 << 1, std::vector<float>(n, 0.01f));
  dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(x, w, y), attributes,
                                    engine);
  dnnl::matmul product(desc);
  // As Matmul.cpp: weights that no cache holds.
  int64_t bytes = static_cast<int64_t>(desc.weights_desc().get_size());
  std::vector<dnnl::memory> weights;
  for (int64_t at = 0; at < qc::bench::rotation; at += bytes)
    weights.push_back(filled(desc.weights_desc(), engine));
  dnnl::memory in = filled(x, engine), out = filled(y, engine);
  size_t next = 0;
  for (auto _ : state) {
    product.execute(stream, {{DNNL_ARG_SRC, in},
                             {DNNL_ARG_WEIGHTS, weights[next]},
                             {DNNL_ARG_DST, out}});
    stream.wait();
    next = (next + 1) % weights.size();
  }
  using benchmark::Counter;
  state.counters["ops"] = Counter(static_cast<double>(state.iterations()) * 2 *
                                      static_cast<double>(m * n * k),
                                  Counter::kIsRate);
  state.SetLabel(desc.impl_info_str());
}

void qc::bench::registerOneDNN() {
  const Case cases[] = {{"f32", Type::f32, Type::f32, Type::f32},
                        {"bf16", Type::bf16, Type::bf16, Type::f32},
                        {"int8", Type::u8, Type::s8, Type::f32}};
  for (int64_t threads : threadCounts())
    for (const Case &c : cases)
      for (int64_t m : {1, 16, 128}) {
        std::string name = std::string("onednn/") + c.name +
                           "/m:" + std::to_string(m) +
                           "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(name.c_str(), run, c, m, threads)
            ->UseRealTime();
      }
}
