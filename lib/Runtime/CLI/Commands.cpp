//===- Commands.cpp - Perplexity, logits, ids -----------------------------===//
#include "OutputFile.h"
#include "Program.h"

#include <chrono>
#include <cinttypes>
#include <cstdio>

using namespace qc::rt;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

int Program::runPerplexity() {
  std::string text, error;
  if (int code = readText(*options.perplexity, text))
    return code;
  int64_t window = options.window
                       ? options.window
                       : std::min<int64_t>(activeModel().max_positions, 2048);
  if (window > activeModel().max_positions)
    return fail(UsageError,
                "--window " + std::to_string(window) + ": the model has " +
                    std::to_string(activeModel().max_positions) + " positions");
  if (int code = createSession(window))
    return code;
  auto start = Clock::now();
  PerplexityResult result;
  if (!perplexity(*session, *tokenizer, bos, text, options.mode, window,
                  options.perplexityTokens, result, error))
    return failSession(session->deviceFailure()
                           ? error
                           : "'" + *options.perplexity + "': " + error);
  std::chrono::duration<double> seconds = Clock::now() - start;
  const char *names[] = {"windows", "lines", "gptq"};
  const char *mode = names[static_cast<int>(options.mode)];
  if (options.json)
    std::puts(json{{"perplexity", result.perplexity},
                   {"nll", result.nll},
                   {"tokens", result.tokens},
                   {"windows", result.windows},
                   {"window", window},
                   {"mode", mode},
                   {"seconds", seconds.count()},
                   {"threads", session->threads()},
                   {"model", metadata.value("model", std::string())},
                   {"bits_per_weight", metadata.value("bits_per_weight", 0.0)}}
                  .dump()
                  .c_str());
  else
    std::printf("perplexity %.5f (nll %.6f, %" PRId64 " tokens in %" PRId64
                " windows of %" PRId64 ", mode %s)\n",
                result.perplexity, result.nll, result.tokens, result.windows,
                window, mode);
  return Success;
}

/// Header of a version 1.0 .npy file: float32, C order, [rows, columns].
static std::string npyHeader(int64_t rows, int64_t columns) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                     std::to_string(rows) + ", " + std::to_string(columns) +
                     "), }";
  // Magic, version and length are 10 bytes; all is padded to 64 with a newline
  // at the end.
  text.append(63 - (10 + text.size()) % 64, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 255);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

int Program::runLogits() {
  std::vector<int32_t> ids;
  std::string error;
  if (int code = readIds(*options.logits, ids))
    return code;
  auto count = static_cast<int64_t>(ids.size());
  if (count > activeModel().max_positions)
    return fail(BadInput,
                "'" + *options.logits + "': " + std::to_string(count) +
                    " tokens do not fit the model's " +
                    std::to_string(activeModel().max_positions) + " positions");
  // Before the work: whether there is a place for its result.
  OutputFile file(*options.output);
  if (!file.error().empty())
    return fail(writeFailureCode(file.errorNumber()), file.error());
  if (int code = createSession(count))
    return code;
  std::string header = npyHeader(count, activeModel().vocab_size);
  bool done = file.write(header.data(), header.size());
  auto rowBytes = static_cast<size_t>(activeModel().vocab_size) * sizeof(float);
  if (options.tokenByToken) {
    for (size_t i = 0; done && i < ids.size(); ++i) {
      const float *row = session->append(std::span(ids).subspan(i, 1), error);
      done = row && file.write(row, rowBytes);
    }
  } else {
    done = done &&
           session->score(
               ids,
               [&](int64_t, const float *rows, int64_t n) {
                 return file.write(rows, static_cast<size_t>(n) * rowBytes);
               },
               error);
  }
  if (!error.empty())
    return failSession(error);
  if (!done || !file.commit())
    return fail(writeFailureCode(file.errorNumber()), file.error());
  return Success;
}

int Program::runGenerateIds() {
  std::vector<int32_t> ids;
  std::string error;
  if (int code = readIds(*options.generateIds, ids))
    return code;
  auto count = static_cast<int64_t>(ids.size());
  int64_t capacity = contextSize();
  if (count > capacity)
    return fail(BadInput,
                "'" + *options.generateIds + "': " + std::to_string(count) +
                    " tokens do not fit a context of " +
                    std::to_string(capacity) + " (this model: up to " +
                    std::to_string(activeModel().max_positions) + ")");
  if (int code = createSession(capacity))
    return code;
  // The last token needs no place in the cache: nothing follows it.
  int64_t wanted = capacity - count + 1;
  if (options.tokens >= 0)
    wanted = std::min(wanted, options.tokens);
  Sampler draw(options.sampler);
  Continuation sequence(*session, draw);
  bool good = sequence.begin(ids, error);
  std::string line;
  for (int64_t i = 0; i < wanted && good; ++i) {
    int32_t id = sequence.next(ids);
    if (id < 0)
      return fail(Failure, "the model's logits are not numbers");
    if (isEnd(id))
      break;
    line += (line.empty() ? "" : " ") + std::to_string(id);
    ids.push_back(id);
    if (i + 1 < wanted)
      good = sequence.accept(id, wanted - i - 1, error);
  }
  if (!good)
    return failSession(error);
  std::puts(line.c_str());
  return Success;
}
