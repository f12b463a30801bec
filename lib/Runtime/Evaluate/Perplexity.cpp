//===- Perplexity.cpp - How well a model predicts a text ------------------===//
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <algorithm>
#include <cmath>
#include <string_view>

using namespace qc::rt;

/// -log softmax(logits)[target], in double.
static double negativeLogLikelihood(const float *logits, int64_t size,
                                    int32_t target) {
  double top = *std::max_element(logits, logits + size);
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += std::exp(logits[i] - top);
  return top + std::log(sum) - logits[target];
}

/// `line` without white space at both ends, by Unicode's definition, as
/// Python's str.strip().
static std::string strip(std::string_view line) {
  static constexpr std::string_view spaces[] = {
      " ",      "\t",     "\n",     "\v",     "\f",     "\r",
      "\x1c",   "\x1d",   "\x1e",   "\x1f",   "\u0085", "\u00a0",
      "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
      "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
      "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  for (bool changed = true; changed;) {
    changed = false;
    for (std::string_view space : spaces) {
      if (line.starts_with(space)) {
        line.remove_prefix(space.size());
        changed = true;
      }
      if (line.ends_with(space)) {
        line.remove_suffix(space.size());
        changed = true;
      }
    }
  }
  return std::string(line);
}

/// The windows of ids that the model sees, each from position 0.
static bool cutText(const Tokenizer &tokenizer, int32_t bos,
                    const std::string &text, PerplexityMode mode,
                    int64_t window, int64_t maxTokens,
                    std::vector<std::vector<int32_t>> &windows,
                    std::string &error) {
  error.clear();
  auto encode = [&](const std::string &part) {
    return tokenizer.encode(part, /*parseSpecial=*/false, &error);
  };
  if (mode == PerplexityMode::Lines) {
    for (size_t at = 0; at < text.size();) {
      size_t end = std::min(text.find('\n', at), text.size());
      std::string line = strip(std::string_view(text).substr(at, end - at));
      at = end + 1;
      if (line.empty())
        continue;
      std::vector<int32_t> ids = encode(line);
      if (bos >= 0)
        ids.insert(ids.begin(), bos);
      if (static_cast<int64_t>(ids.size()) > window)
        ids.resize(static_cast<size_t>(window));
      windows.push_back(std::move(ids));
    }
    return error.empty();
  }
  std::vector<int32_t> ids = encode(text);
  if (mode == PerplexityMode::GPTQ && bos >= 0)
    ids.insert(ids.begin(), bos);
  if (maxTokens > 0 && static_cast<int64_t>(ids.size()) > maxTokens)
    ids.resize(static_cast<size_t>(maxTokens));
  bool prefixed = mode == PerplexityMode::Windows && bos >= 0;
  auto length = static_cast<size_t>(window - prefixed);
  for (size_t at = 0; at < ids.size(); at += length) {
    std::vector<int32_t> piece;
    if (prefixed)
      piece.push_back(bos);
    size_t end = std::min(ids.size(), at + length);
    piece.insert(piece.end(), ids.begin() + static_cast<long>(at),
                 ids.begin() + static_cast<long>(end));
    windows.push_back(std::move(piece));
  }
  return error.empty();
}

bool qc::rt::perplexity(Session &session, const Tokenizer &tokenizer,
                        int32_t bos, const std::string &text,
                        PerplexityMode mode, int64_t window, int64_t maxTokens,
                        PerplexityResult &result, std::string &error) {
  std::vector<std::vector<int32_t>> windows;
  if (!cutText(tokenizer, bos, text, mode, window, maxTokens, windows, error))
    return false;
  double total = 0;
  result = {};
  int64_t vocabulary = session.model().vocab_size;
  std::vector<double> losses;
  for (const std::vector<int32_t> &ids : windows) {
    if (ids.size() < 2)
      continue;
    session.truncate(0);
    bool done = session.score(
        ids,
        [&](int64_t first, const float *logits, int64_t rows) {
          // The last token of a window predicts nothing.
          int64_t scored =
              std::min(rows, static_cast<int64_t>(ids.size()) - 1 - first);
          losses.assign(static_cast<size_t>(scored), 0.0);
          ThreadPool &pool = session.threadPool();
          pool.run([&](int64_t thread) {
            for (int64_t i = thread; i < scored; i += pool.size())
              losses[static_cast<size_t>(i)] = negativeLogLikelihood(
                  logits + i * vocabulary, vocabulary,
                  ids[static_cast<size_t>(first + i) + 1]);
          });
          // In order: the same sum with any number of threads.
          for (double loss : losses)
            total += loss;
          result.tokens += scored;
          return true;
        },
        error);
    if (!done)
      return false;
    ++result.windows;
  }
  if (result.tokens == 0) {
    error = "the text has fewer than two tokens: nothing to predict";
    return false;
  }
  result.nll = total / static_cast<double>(result.tokens);
  result.perplexity = std::exp(result.nll);
  return true;
}
