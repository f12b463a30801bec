//===- Bench.cpp - Tokens a second and share of memory bandwidth ----------===//
#include "Program.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>

using namespace qc::rt;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

namespace {
/// One number of each repetition, most of them tokens a second.
struct Rates {
  std::vector<double> values;

  void add(double value) {
    values.insert(std::upper_bound(values.begin(), values.end(), value), value);
  }
  bool empty() const { return values.empty(); }
  double best() const { return values.back(); }
  double least() const { return values.front(); }
  double median() const {
    size_t middle = values.size() / 2;
    return values.size() % 2 ? values[middle]
                             : (values[middle - 1] + values[middle]) / 2;
  }
  json report(int64_t tokens) const {
    return {{"tokens", tokens},
            {"best", best()},
            {"median", median()},
            {"min", least()}};
  }
};
} // namespace

int Program::benchSizes(int64_t &prompt, int64_t &tokens) {
  int64_t most =
      options.context ? options.context : activeModel().max_positions;
  for (auto [name, count] : {std::pair("--bench-prompt", options.benchPrompt),
                             std::pair("--bench-tokens", options.benchTokens)})
    if (options.has(name) && count > most)
      return fail(UsageError, std::string(name) + " " + std::to_string(count) +
                                  (options.context ? ": --context has "
                                                   : ": the model has ") +
                                  std::to_string(most) + " positions");
  prompt = std::min(options.benchPrompt, most);
  tokens = std::min(options.benchTokens, most);
  return Success;
}

int Program::runBench() {
  int64_t prompt, tokens;
  if (int code = benchSizes(prompt, tokens))
    return code;
  if (int code = createSession(std::max(prompt, tokens)))
    return code;
  // Which tokens does not matter, but not all the same: rows of the embedding
  // would come from the cache.
  std::vector<int32_t> ids(static_cast<size_t>(std::max(prompt, tokens)));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(
        (i * 7919 + 1) % static_cast<size_t>(activeModel().vocab_size));
  auto bytes = metadata.value("bytes_per_token", 0.0);
  int64_t swept = 0;
  double bandwidth = 0;
  std::string error;
  Rates prefill, decode, shares;
  json rounds = json::array();
  // The yardstick before and after each round: on a shared machine bandwidth
  // comes and goes from second to second.
  auto stream = [&] {
    double now = streamBandwidth(session->threadPool(), 1, swept);
    bandwidth = std::max(bandwidth, now);
    return now;
  };
  // The first round warms caches, page tables and clocks up.
  for (int64_t round = 0; round <= options.repeat; ++round) {
    session->truncate(0);
    auto start = Clock::now();
    if (!session->append(std::span(ids).first(static_cast<size_t>(prompt)),
                         error))
      return failSession(error, Failure);
    std::chrono::duration<double> taken = Clock::now() - start;
    if (round)
      prefill.add(static_cast<double>(prompt) / taken.count());
    session->truncate(0);
    double before = stream();
    start = Clock::now();
    for (int64_t i = 0; i < tokens; ++i)
      if (!session->append(std::span(ids).subspan(static_cast<size_t>(i), 1),
                           error))
        return failSession(error, Failure);
    std::chrono::duration<double> seconds = Clock::now() - start;
    double peak = std::max(before, stream());
    if (round == 0)
      continue;
    double rate = static_cast<double>(tokens) / seconds.count();
    decode.add(rate);
    if (peak > 0)
      shares.add(rate * bytes / peak);
    rounds.push_back({{"decode", rate}, {"stream_bytes_per_second", peak}});
  }
  double used = bytes * decode.best();
  double share = shares.empty() ? 0.0 : shares.median();
  if (options.json) {
    std::puts(json{{"model", metadata.value("model", std::string())},
                   {"format", metadata.value("format", std::string())},
                   {"bits_per_weight", metadata.value("bits_per_weight", 0.0)},
                   {"target_cpu", activeModel().target_cpu},
                   {"threads", session->threads()},
                   {"fewest_threads", session->fewestThreads()},
                   {"repeat", options.repeat},
                   {"prefill", prefill.report(prompt)},
                   {"decode", decode.report(tokens)},
                   {"bytes_per_token", bytes},
                   {"decode_bytes_per_second", used},
                   {"decode_bytes_per_second_median", bytes * decode.median()},
                   {"stream_bytes_per_second", bandwidth},
                   {"stream_sweep_bytes", swept},
                   {"share_of_bandwidth", share},
                   {"rounds", rounds}}
                  .dump()
                  .c_str());
    return Success;
  }
  std::printf("threads %" PRId64 "\n", session->threads());
  std::printf("prefill %6" PRId64
              " tokens  %10.2f tokens/s best  %10.2f median  %10.2f min\n",
              prompt, prefill.best(), prefill.median(), prefill.least());
  std::printf("decode  %6" PRId64
              " tokens  %10.2f tokens/s best  %10.2f median  %10.2f min\n",
              tokens, decode.best(), decode.median(), decode.least());
  std::printf("decode reads %.1f MB a token: %.2f GB/s; %.0f %% (median) of "
              "what this machine streams at the same time, at most %.2f GB/s\n",
              bytes / 1e6, used / 1e9, 100 * share, bandwidth / 1e9);
  return Success;
}
