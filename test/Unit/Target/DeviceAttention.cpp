//===- DeviceAttention.cpp - Attention on a GPU against softmax -----------===//
//
// Queries, keys and values of a token are rows of three embeddings; the logits
// are what attention returns, times the identity.
//
//===----------------------------------------------------------------------===//
#include "DeviceAttention.h"

#include "TestModel.h"

#include "llvm/Support/FormatVariadic.h"

#include <numbers>

using namespace ::qc::test;
using ::qc::HostWeight;

static constexpr size_t vocabulary = 61;
static constexpr int64_t maxTokens = 130, capacity = 384;
static constexpr double attentionScale = 0.21;

namespace {
/// Rows of the embeddings.
struct Inputs {
  std::vector<float> queries, keys, values;
};
} // namespace

static std::vector<float> randomRows(int64_t columns, std::mt19937 &rng) {
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> rows(vocabulary * static_cast<size_t>(columns));
  for (float &value : rows)
    value = normal(rng);
  return rows;
}

static std::unique_ptr<TestModel>
createAttention(const DeviceTarget &target, const AttentionCase &attention,
                const Inputs &inputs, Arithmetic arithmetic,
                std::string &error) {
  int64_t columns = attention.heads * attention.headDim,
          cacheColumns = attention.cacheHeads * attention.headDim;
  std::vector<float> ones(static_cast<size_t>(columns * columns));
  for (size_t i = 0; i < ones.size(); i += static_cast<size_t>(columns) + 1)
    ones[i] = 1;
  HostWeight weights[] = {floatWeight(vocabulary, columns, inputs.queries),
                          floatWeight(vocabulary, cacheColumns, inputs.keys),
                          floatWeight(vocabulary, cacheColumns, inputs.values),
                          floatWeight(columns, columns, ones)};
  auto plain = ::qc::parseFormat("float<f32>", error);
  std::vector<Item> items;
  for (const HostWeight &weight : weights)
    items.push_back({"float<f32>", *plain, weight});
  std::string window;
  if (attention.window)
    window = llvm::formatv("window {0} ", *attention.window);
  std::string source = llvm::formatv(
      R"(func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x{0}>) -> tensor<?x{1}xf32> {{
           %wq = qc.get_weight @w0 : {3}
           %wk = qc.get_weight @w1 : {4}
           %wv = qc.get_weight @w2 : {4}
           %wo = qc.get_weight @w3 : {5}
           %layer = lm.cache_layer %c[0] : <1x{0}> -> <{0}>
           %q = qc.embedding %ids, %wq : (tensor<?xi32>, {3}) -> tensor<?x{1}xf32>
           %k = qc.embedding %ids, %wk : (tensor<?xi32>, {4}) -> tensor<?x{2}xf32>
           %v = qc.embedding %ids, %wv : (tensor<?xi32>, {4}) -> tensor<?x{2}xf32>
           %a = lm.attention %q, %k, %v, %layer at %p scale {6} {7}: tensor<?x{1}xf32>, tensor<?x{2}xf32>, <{0}> -> tensor<?x{1}xf32>
           %y = qc.matmul %a, [%wo] : (tensor<?x{1}xf32>, {5}) -> tensor<?x{1}xf32>
           return %y : tensor<?x{1}xf32>
         })",
      llvm::formatv("{0}x{1}x{2}", attention.cacheHeads, attention.headDim,
                    attention.element)
          .str(),
      columns, cacheColumns, items[0].type(), items[1].type(), items[3].type(),
      attentionScale, window);
  return TestModel::create(target, items, source, columns, maxTokens, capacity,
                           error, arithmetic);
}

/// What the cache holds of the heads in `rows`, as it is multiplied.
static void roundToCache(const AttentionCase &attention, bool isHalf,
                         std::vector<float> &rows) {
  auto toHalf = [](float value) {
    return ::qc::halfToFloat(::qc::floatToHalf(value));
  };
  llvm::StringRef element = attention.element;
  auto headDim = static_cast<size_t>(attention.headDim);
  for (size_t first = 0; first < rows.size(); first += headDim) {
    llvm::MutableArrayRef<float> head(&rows[first], headDim);
    if (element == "f16")
      llvm::transform(head, head.begin(), toHalf);
    if (element != "i8")
      continue;
    float top = 0;
    for (float value : head)
      top = std::max(top, std::abs(value));
    float scale = top / 127, inverse = 1 / scale;
    for (float &value : head) {
      value = std::nearbyint(value * inverse) * scale;
      if (isHalf)
        value = toHalf(value);
    }
  }
}

void ::qc::test::checkAttention(const DeviceTarget &target,
                                const AttentionCase &attention,
                                Arithmetic arithmetic, bool isHalf) {
  auto headDim = static_cast<size_t>(attention.headDim),
       heads = static_cast<size_t>(attention.heads),
       cacheHeads = static_cast<size_t>(attention.cacheHeads);
  std::mt19937 rng(static_cast<unsigned>(attention.headDim));
  // Scores of about +-2 in units of the exponent.
  Inputs inputs = {randomRows(attention.heads * attention.headDim, rng),
                   randomRows(attention.cacheHeads * attention.headDim, rng),
                   randomRows(attention.cacheHeads * attention.headDim, rng)};
  for (float &query : inputs.queries)
    query *= 2 / static_cast<float>(attentionScale) /
             std::sqrt(static_cast<float>(attention.headDim));
  std::string error;
  auto model = createAttention(target, attention, inputs, arithmetic, error);
  ASSERT_TRUE(model) << error;

  Inputs exact = inputs;
  roundToCache(attention, isHalf, exact.keys);
  roundToCache(attention, isHalf, exact.values);
  auto factor = static_cast<float>(attentionScale * std::numbers::log2e);
  std::vector<double> scaled; // scores are powers of 2
  for (float query : inputs.queries)
    scaled.push_back(isHalf
                         ? ::qc::halfToFloat(::qc::floatToHalf(query * factor))
                         : query * (attentionScale * std::numbers::log2e));

  std::vector<int32_t> ids;
  // The second one's first token sees all but one position of a block.
  for (size_t count : {62u, 17u, 64u, 70u, 129u, 1u, 5u}) {
    size_t position = ids.size();
    std::vector<int32_t> step;
    for (size_t i = 0; i < count; ++i)
      step.push_back(static_cast<int32_t>(rng() % vocabulary));
    ids.insert(ids.end(), step.begin(), step.end());
    std::vector<float> logits =
        model->run(model->stepFor(QC_STEP_SCORE, count), step,
                   static_cast<int64_t>(position), error);
    ASSERT_EQ(error, "");
    for (size_t token = 0; token < count; ++token)
      for (size_t head = 0; head < heads; ++head) {
        size_t last = position + token, begin = 0,
               own = head / (heads / cacheHeads);
        if (attention.window)
          begin = last + 1 -
                  std::min(last + 1, static_cast<size_t>(*attention.window));
        auto rowOf = [&](const std::vector<float> &rows, size_t at) {
          return &rows[(static_cast<size_t>(ids[at]) * cacheHeads + own) *
                       headDim];
        };
        const double *query =
            &scaled[(static_cast<size_t>(step[token]) * heads + head) *
                    headDim];
        std::vector<double> scores;
        for (size_t at = begin; at <= last; ++at) {
          const float *key = rowOf(exact.keys, at);
          double score = 0;
          for (size_t d = 0; d < headDim; ++d)
            score += query[d] * key[d];
          scores.push_back(score);
        }
        double top = *llvm::max_element(scores), sum = 0;
        for (double &score : scores)
          sum += score = std::exp2(score - top);
        for (size_t d = 0; d < headDim; ++d) {
          double value = 0, magnitude = 0;
          for (size_t at = begin; at <= last; ++at) {
            double part = scores[at - begin] / sum * rowOf(exact.values, at)[d];
            value += part;
            magnitude += std::abs(part);
          }
          // Each probability is rounded to f16, and what is below its normal
          // numbers to multiples of 2^-24; scores and sums are f32.
          double bound = magnitude * 0x1p-15 + 1e-6;
          if (isHalf)
            bound += magnitude * 0x1p-11 +
                     static_cast<double>(scores.size()) * 0x1p-25 * 4;
          float got = logits[(token * heads + head) * headDim + d];
          ASSERT_LE(std::abs(got - value), bound)
              << "heads of " << headDim << " " << attention.element
              << ", position " << last << " of a step of " << count << ", head "
              << head << ", dimension " << d << ": got " << got << ", expected "
              << value;
        }
      }
  }
}
