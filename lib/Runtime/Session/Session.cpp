//===- Session.cpp - A running model --------------------------------------===//
#include "qc/Runtime/Session/Session.h"

#include <chrono>

using namespace qc::rt;

std::unique_ptr<Session>
Session::create(const QCModel &model, const void *weights,
                const Options &options, std::string &error,
                std::optional<DeviceError::Kind> *deviceError) {
  std::unique_ptr<Session> session(
      new Session(model, weights, options.capacity));
  session->logits.resize(static_cast<size_t>(model.vocab_size));
  session->pool = ThreadPool::create(options.threads, options.pin, error);
  if (!session->pool)
    return nullptr;
  if (model.device) {
    DeviceOptions wanted = {options.device, options.capacity,
                            options.deviceTimeout};
    DeviceError reason;
    auto [own, bytes] = deviceWeights(model, weights);
    session->gpu = createDevice(*model.device, own, bytes, wanted, reason);
    if (session->gpu && !model.gpu_layers)
      return session;
    if (!session->gpu) {
      error = reason.message;
      if (deviceError)
        *deviceError = reason.kind;
      return nullptr;
    }
  }
  size_t bytes = 0;
  // Generated code keeps positions in tiles.
  session->allocated =
      (options.capacity + QC_CACHE_TILE - 1) / QC_CACHE_TILE * QC_CACHE_TILE;
  if (__builtin_mul_overflow(static_cast<size_t>(session->allocated),
                             static_cast<size_t>(model.kv_bytes_per_token),
                             &bytes) ||
      !session->kv.allocate(bytes)) {
    error = "not enough memory for a KV cache of " +
            std::to_string(options.capacity) + " tokens (" +
            std::to_string(model.kv_bytes_per_token) +
            " bytes each): use a smaller --context";
    return nullptr;
  }
  if (!session->arena.allocate(static_cast<size_t>(model.arena_bytes))) {
    error = "not enough memory for " + std::to_string(model.arena_bytes) +
            " bytes of activations";
    return nullptr;
  }
  if (options.hugePages)
    session->hugePages.begin(
        weights,
        static_cast<size_t>(model.gpu_layers ? model.device_weights_offset
                                             : model.weights_bytes));
  session->fewest = options.threads;
  // Table look-ups add up one part a thread: another number of threads would
  // round differently, and the text would depend on who else uses the machine.
  bool fixed = options.fixedThreads;
  for (int64_t i = 0; i < model.num_kernels; ++i)
    fixed |= model.kernels[i].table_lookups > 0;
  if (!fixed)
    session->teamSize.emplace(options.threads);
  return session;
}

bool Session::check(std::span<const int32_t> ids, std::string &error) const {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= m.vocab_size) {
      error = "token id " + std::to_string(ids[i]) + " at index " +
              std::to_string(i) + " is out of range: the vocabulary has " +
              std::to_string(m.vocab_size) + " tokens";
      return false;
    }
  if (static_cast<int64_t>(ids.size()) > limit - used) {
    error = std::to_string(used + static_cast<int64_t>(ids.size())) +
            " tokens do not fit a context of " + std::to_string(limit);
    return false;
  }
  return true;
}

bool Session::stopped(std::string &error) const {
  if (!stopFlag || !stopFlag->load(std::memory_order_relaxed))
    return false;
  error = "interrupted";
  return true;
}

bool Session::step(int kind, std::span<const int32_t> ids, float *out,
                   std::string &error) {
  if (!gpu) {
    stepOnCPU(kind, ids, out);
    used += static_cast<int64_t>(ids.size());
    return true;
  }
  stepBefore(kind, ids);
  DeviceError reason;
  if (!gpu->run(stepFor(*m.device, kind, ids.size()), ids, used, out, reason))
    return !failed(reason, error);
  used += static_cast<int64_t>(ids.size());
  return true;
}

void Session::stepOnCPU(int kind, std::span<const int32_t> ids, float *out) {
  QCStepFn fn = kind == QC_STEP_DECODE    ? m.decode
                : kind == QC_STEP_PREFILL ? m.prefill
                                          : m.score;
  auto count = static_cast<int64_t>(ids.size());
  int64_t threads = teamSize ? teamSize->get() : pool->size();
  fewest = std::min(fewest, threads);
  auto start = std::chrono::steady_clock::now();
  pool->run(
      [&](int64_t thread) {
        fn(weights, arena.get(), kv.get(), allocated, ids.data(), count, used,
           out, thread, threads, pool->team());
      },
      threads);
  if (teamSize) {
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    ThreadPool::Waits waits = pool->waits(TeamSize::tolerated * seconds);
    teamSize->observe(count, seconds, waits.seconds, waits.threads);
  }
  // Not after long prompts, which read each weight once for many tokens: their
  // first answer should not wait.
  constexpr int64_t few = 16;
  if (count <= few && !hugePages.isDone()) {
    int64_t share =
        (hugePages.piecesPerStep() + pool->size() - 1) / pool->size();
    pool->run([&](int64_t) {
      for (int64_t i = 0; i < share && hugePages.moveOne(); ++i) {
      }
    });
  }
}

const float *Session::append(std::span<const int32_t> ids, std::string &error) {
  if (ids.empty()) {
    error = "no tokens to evaluate";
    return nullptr;
  }
  if (!check(ids, error))
    return nullptr;
  while (!ids.empty()) {
    if (stopped(error))
      return nullptr;
    size_t count = std::min(ids.size(), static_cast<size_t>(m.max_tokens));
    if (!step(count == 1 ? QC_STEP_DECODE : QC_STEP_PREFILL, ids.first(count),
              logits.data(), error))
      return nullptr;
    ids = ids.subspan(count);
  }
  return logits.data();
}

bool Session::failed(const DeviceError &reason, std::string &error) {
  error = reason.message;
  failure = reason.kind;
  return true;
}

bool Session::appendTop(int32_t id, QCDeviceTop &top, std::string &error) {
  if (!check({&id, 1}, error) || stopped(error))
    return false;
  DeviceError reason;
  stepBefore(QC_STEP_DECODE, {&id, 1});
  if (!gpu->runTop(id, used, top, reason))
    return !failed(reason, error);
  ++used;
  return true;
}

size_t Session::appendGreedy(int32_t id, std::span<int32_t> tokens,
                             std::string &error) {
  if (!check({&id, 1}, error) || stopped(error))
    return 0;
  tokens =
      tokens.first(std::min({tokens.size(), static_cast<size_t>(limit - used),
                             static_cast<size_t>(QC_RECENT_TOKENS)}));
  DeviceError reason;
  if (!gpu->runGreedy(id, used, tokens, reason))
    return failed(reason, error), 0;
  used += static_cast<int64_t>(tokens.size());
  return tokens.size();
}

bool Session::score(
    std::span<const int32_t> ids,
    const std::function<bool(int64_t, const float *, int64_t)> &sink,
    std::string &error) {
  if (!check(ids, error))
    return false;
  for (int64_t first = 0; !ids.empty();) {
    if (stopped(error))
      return false;
    size_t count = std::min(ids.size(), static_cast<size_t>(m.max_tokens));
    rows.resize(
        std::max(rows.size(), count * static_cast<size_t>(m.vocab_size)));
    if (!step(QC_STEP_SCORE, ids.first(count), rows.data(), error) ||
        !sink(first, rows.data(), static_cast<int64_t>(count)))
      return false;
    first += static_cast<int64_t>(count);
    ids = ids.subspan(count);
  }
  return true;
}
