//===- OneDNN.cpp - Products of prompts by oneDNN -------------------------===//
//
// [N / 16][K][16] is what oneDNN calls BA16a16b where K is a multiple of 16, so
// its matmul reads our packed weights as they are. It writes only dense
// results: a thread's columns go to memory of its own and are copied.
//
// The library is Debian's, with OpenMP. Threads are ours, so each of its calls
// runs in one; the caller's own number is put back.
//
//===----------------------------------------------------------------------===//
#include "qc/Runtime/OneDNN/OneDNN.h"

#ifndef QC_HAS_ONEDNN

const char *qc::rt::oneDNNProblem() {
  return "this runtime was built without oneDNN";
}
int32_t qc_onednn_matmul_f32(const void *, const float *, float *, int64_t,
                             int64_t, int64_t, int64_t) {
  return 0;
}

#else

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <dnnl.h>
#include <map>
#include <memory>
#include <tuple>

static_assert(DNNL_VERSION_MAJOR == 2, "the C interface of oneDNN 2");

namespace {

/// The functions of the library that are used.
struct Library {
  const char *problem = nullptr;
  dnnl_engine_t engine = nullptr;

#define QC_ONEDNN_FUNCTIONS(X)                                                 \
  X(dnnl_engine_create)                                                        \
  X(dnnl_stream_create)                                                        \
  X(dnnl_stream_wait)                                                          \
  X(dnnl_memory_desc_init_by_tag)                                              \
  X(dnnl_memory_create)                                                        \
  X(dnnl_memory_set_data_handle)                                               \
  X(dnnl_matmul_desc_init)                                                     \
  X(dnnl_primitive_desc_create)                                                \
  X(dnnl_primitive_desc_destroy)                                               \
  X(dnnl_primitive_desc_query)                                                 \
  X(dnnl_primitive_create)                                                     \
  X(dnnl_primitive_execute)
#define X(name) decltype(&::name) name = nullptr;
  QC_ONEDNN_FUNCTIONS(X)
#undef X
  void (*setThreads)(int) = nullptr;
  int (*getThreads)() = nullptr;

  Library();
};

/// One thread's primitive of one shape.
struct Product {
  dnnl_primitive_t primitive = nullptr; ///< null: oneDNN has no fast one
  dnnl_memory_t x = nullptr, weight = nullptr, out = nullptr;
};

/// What a thread keeps for as long as it lives. Nothing is destroyed: at the
/// end of the process the library may be gone before the thread is.
struct ThreadState {
  dnnl_stream_t stream = nullptr;
  std::map<std::tuple<int64_t, int64_t, int64_t>, Product> products;
  std::unique_ptr<float[], void (*)(void *)> memory{nullptr, std::free};
  size_t capacity = 0;

  float *reserve(size_t count);
};

/// Runs oneDNN's OpenMP in the calling thread only.
class OneThread {
public:
  explicit OneThread(const Library &l) : library(l), before(l.getThreads()) {
    library.setThreads(1);
  }
  ~OneThread() { library.setThreads(before); }

private:
  const Library &library;
  int before;
};

} // namespace

Library::Library() {
  void *handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    problem = "libdnnl.so.2 not found";
    return;
  }
  bool complete = true;
#define X(name)                                                                \
  name = reinterpret_cast<decltype(name)>(dlsym(handle, #name));               \
  complete &= name != nullptr;
  QC_ONEDNN_FUNCTIONS(X)
#undef X
  // dlsym() also looks at what the library was linked to.
  setThreads =
      reinterpret_cast<void (*)(int)>(dlsym(handle, "omp_set_num_threads"));
  getThreads =
      reinterpret_cast<int (*)()>(dlsym(handle, "omp_get_max_threads"));
  if (!complete)
    problem = "libdnnl.so.2 lacks functions of oneDNN 2";
  else if (!setThreads || !getThreads)
    problem = "libdnnl.so.2 was built without OpenMP";
  else if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
    problem = "oneDNN cannot use this CPU";
}

static const Library &library() {
  static const Library *loaded = [] {
    auto *result = new Library();
    if (result->problem)
      std::fprintf(stderr,
                   "note: %s, prompts are computed without it (compiled with "
                   "--prefill-backend=onednn)\n",
                   result->problem);
    return result;
  }();
  return *loaded;
}

const char *qc::rt::oneDNNProblem() { return library().problem; }

float *ThreadState::reserve(size_t count) {
  if (count > capacity) {
    size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
    memory.reset(static_cast<float *>(std::aligned_alloc(64, bytes)));
    capacity = memory ? count : 0;
  }
  return memory.get();
}

static bool create(const Library &l, Product &product, int64_t m, int64_t k,
                   int64_t n) {
  const dnnl_dims_t xDims = {m, k}, wDims = {k, n}, outDims = {m, n};
  dnnl_memory_desc_t x, w, out;
  dnnl_matmul_desc_t desc;
  auto describe = [&](dnnl_memory_desc_t &d, const dnnl_dims_t dims,
                      dnnl_format_tag_t tag) {
    return l.dnnl_memory_desc_init_by_tag(&d, 2, dims, dnnl_f32, tag) ==
           dnnl_success;
  };
  if (!describe(x, xDims, dnnl_ab) || !describe(w, wDims, dnnl_BA16a16b) ||
      !describe(out, outDims, dnnl_ab) ||
      l.dnnl_matmul_desc_init(&desc, &x, &w, nullptr, &out) != dnnl_success)
    return false;
  dnnl_primitive_desc_t primitive = nullptr;
  if (l.dnnl_primitive_desc_create(&primitive, &desc, nullptr, l.engine,
                                   nullptr) != dnnl_success)
    return false;
  // Anything but brgemm ("brg:avx512_core") is the slow reference.
  const char *kind = nullptr;
  bool good =
      l.dnnl_primitive_desc_query(primitive, dnnl_query_impl_info_str, 0,
                                  &kind) == dnnl_success &&
      std::strncmp(kind, "brg", 3) == 0 &&
      l.dnnl_memory_create(&product.x, &x, l.engine, DNNL_MEMORY_NONE) ==
          dnnl_success &&
      l.dnnl_memory_create(&product.weight, &w, l.engine, DNNL_MEMORY_NONE) ==
          dnnl_success &&
      l.dnnl_memory_create(&product.out, &out, l.engine, DNNL_MEMORY_NONE) ==
          dnnl_success &&
      l.dnnl_primitive_create(&product.primitive, primitive) == dnnl_success;
  l.dnnl_primitive_desc_destroy(primitive);
  return good;
}

int32_t qc_onednn_matmul_f32(const void *weight, const float *x, float *out,
                             int64_t m, int64_t k, int64_t columns,
                             int64_t stride) {
  const Library &l = library();
  if (l.problem || k % 16 != 0)
    return 0;
  if (m <= 0 || columns <= 0)
    return 1;
  thread_local ThreadState *state = new ThreadState();
  OneThread one(l);
  if (!state->stream &&
      l.dnnl_stream_create(&state->stream, l.engine,
                           dnnl_stream_default_flags) != dnnl_success)
    return 0;
  auto [it, isNew] = state->products.try_emplace({m, k, columns});
  Product &product = it->second;
  if (isNew && !create(l, product, m, k, columns))
    product.primitive = nullptr;
  if (!product.primitive)
    return 0;
  bool dense = columns == stride;
  float *y = dense ? out : state->reserve(static_cast<size_t>(m * columns));
  if (!y)
    return 0;
  l.dnnl_memory_set_data_handle(product.x, const_cast<float *>(x));
  l.dnnl_memory_set_data_handle(product.weight, const_cast<void *>(weight));
  l.dnnl_memory_set_data_handle(product.out, y);
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, product.x},
                                       {DNNL_ARG_WEIGHTS, product.weight},
                                       {DNNL_ARG_DST, product.out}};
  if (l.dnnl_primitive_execute(product.primitive, state->stream, 3,
                               arguments) != dnnl_success ||
      l.dnnl_stream_wait(state->stream) != dnnl_success)
    return 0;
  if (!dense)
    for (int64_t row = 0; row < m; ++row)
      std::memcpy(out + row * stride, y + row * columns,
                  static_cast<size_t>(columns) * sizeof(float));
  return 1;
}

#endif // QC_HAS_ONEDNN
