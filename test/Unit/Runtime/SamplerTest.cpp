//===- SamplerTest.cpp - Probabilities against hand-computed ones ---------===//
#include "qc/Runtime/Sampling/Sampler.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <random>

using namespace qc::rt;

namespace {

/// Everything off.
SamplerOptions plain() {
  SamplerOptions options;
  options.temperature = 1;
  options.topK = 0;
  options.topP = 1;
  options.minP = 0;
  return options;
}

std::map<int32_t, double>
probabilities(const SamplerOptions &options, const std::vector<float> &logits,
              const std::vector<int32_t> &history = {}) {
  Sampler sampler(options);
  std::map<int32_t, double> result;
  double before = 2;
  for (auto c : sampler.distribution(
           logits.data(), static_cast<int64_t>(logits.size()), history)) {
    EXPECT_LE(c.value, before) << "most likely first";
    before = c.value;
    result[c.id] = c.value;
  }
  return result;
}

void expectClose(const std::map<int32_t, double> &got,
                 const std::map<int32_t, double> &expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (auto [id, p] : expected) {
    ASSERT_TRUE(got.count(id)) << id;
    EXPECT_NEAR(got.at(id), p, 1e-12) << id;
  }
}

// Probabilities 0.4, 0.3, 0.2, 0.1 up to the rounding of float logits: computed
// from these floats in double.
const std::vector<float> fourLogits = {std::log(0.2f), std::log(0.4f),
                                       std::log(0.1f), std::log(0.3f)};

double weight(size_t id, double temperature = 1) {
  return std::exp(static_cast<double>(fourLogits[id]) / temperature);
}

TEST(SamplerTest, Softmax) {
  double z = weight(0) + weight(1) + weight(2) + weight(3);
  expectClose(probabilities(plain(), fourLogits), {{0, weight(0) / z},
                                                   {1, weight(1) / z},
                                                   {2, weight(2) / z},
                                                   {3, weight(3) / z}});
}

TEST(SamplerTest, Temperature) {
  SamplerOptions options = plain();
  options.temperature = 2;
  double z = weight(0, 2) + weight(1, 2) + weight(2, 2) + weight(3, 2);
  expectClose(probabilities(options, fourLogits), {{0, weight(0, 2) / z},
                                                   {1, weight(1, 2) / z},
                                                   {2, weight(2, 2) / z},
                                                   {3, weight(3, 2) / z}});
}

TEST(SamplerTest, TopK) {
  SamplerOptions options = plain();
  options.topK = 2;
  double z = weight(1) + weight(3);
  expectClose(probabilities(options, fourLogits),
              {{1, weight(1) / z}, {3, weight(3) / z}});
  options.topK = 100;
  EXPECT_EQ(probabilities(options, fourLogits).size(), 4u);
}

TEST(SamplerTest, TopP) {
  SamplerOptions options = plain();
  // The token that crosses the bound stays.
  for (auto [p, count] : std::vector<std::pair<double, size_t>>{
           {0.0, 1}, {0.39, 1}, {0.41, 2}, {0.69, 2}, {0.71, 3}, {0.95, 4}}) {
    options.topP = p;
    EXPECT_EQ(probabilities(options, fourLogits).size(), count) << p;
  }
  // top-p sees probabilities among the k best: 0.4 / 0.7 and 0.3 / 0.7.
  options.topK = 2;
  options.topP = 0.56;
  EXPECT_EQ(probabilities(options, fourLogits).size(), 1u);
  options.topP = 0.58;
  EXPECT_EQ(probabilities(options, fourLogits).size(), 2u);
}

TEST(SamplerTest, MinP) {
  SamplerOptions options = plain();
  for (auto [p, count] : std::vector<std::pair<double, size_t>>{
           {0.2, 4}, {0.26, 3}, {0.49, 3}, {0.51, 2}, {0.76, 1}, {1.0, 1}}) {
    options.minP = p;
    EXPECT_EQ(probabilities(options, fourLogits).size(), count) << p;
  }
  // Temperature comes last: it cannot bring tokens back.
  options.minP = 0.51;
  options.temperature = 100;
  EXPECT_EQ(probabilities(options, fourLogits).size(), 2u);
}

TEST(SamplerTest, TopPAndMinPTogether) {
  // min-p runs first inside, but top-p must see probabilities before it.
  SamplerOptions options = plain();
  options.topP = 0.65; // of all four: 0.4 + 0.3
  options.minP = 0.6;  // 0.4 and 0.3
  EXPECT_EQ(probabilities(options, fourLogits).size(), 2u);
  options.topP = 0.39;
  EXPECT_EQ(probabilities(options, fourLogits).size(), 1u);
}

TEST(SamplerTest, RepetitionPenalty) {
  SamplerOptions options = plain();
  options.temperature = 0;
  options.repetitionPenalty = 2;
  std::vector<float> logits = {3, 2, -1, -1.5f};
  EXPECT_EQ(probabilities(options, logits, {0}).begin()->first, 1);
  EXPECT_EQ(probabilities(options, logits, {0, 0, 0}).begin()->first, 1)
      << "once, however often it was seen";
  EXPECT_EQ(probabilities(options, logits, {0, 1}).begin()->first, 0);
  // Negative logits become smaller: -1 * 2 < -1.5.
  EXPECT_EQ(probabilities(options, {-9, -9, -1, -1.5f}, {2}).begin()->first, 3);
  // Out of the window.
  options.penaltyWindow = 1;
  EXPECT_EQ(probabilities(options, logits, {0, 3}).begin()->first, 0);
  // Ids outside of the vocabulary are nobody's.
  EXPECT_EQ(probabilities(options, logits, {-1}).begin()->first, 0);
}

TEST(SamplerTest, GreedyTakesTheLowestOfEquals) {
  SamplerOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  std::vector<float> logits = {1, 7, 7, 2};
  EXPECT_EQ(sampler.sample(logits.data(), 4, {}), 1);
}

/// What a device has sorted already: the same tokens as from all logits.
TEST(SamplerTest, TheBestCandidatesSuffice) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal(0, 2);
  auto isBetter = [](const auto &a, const auto &b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  };
  for (double temperature : {0.0, 0.7, 1.5})
    for (int64_t topK : {1, 40, 64})
      for (double topP : {0.9, 1.0})
        for (double minP : {0.0, 0.1}) {
          SamplerOptions options;
          options.temperature = temperature;
          options.topK = topK;
          options.topP = topP;
          options.minP = minP;
          options.seed = 11;
          Sampler all(options), few(options);
          ASSERT_TRUE(few.needsOnlyTop(64));
          for (int turn = 0; turn < 20; ++turn) {
            std::vector<float> logits(300);
            std::vector<std::pair<float, int32_t>> sorted;
            for (float &value : logits) {
              value = std::round(4 * normal(rng)) / 4; // many are equal
              sorted.push_back({value, static_cast<int32_t>(sorted.size())});
            }
            std::sort(sorted.begin(), sorted.end(), isBetter);
            std::vector<float> best;
            std::vector<int32_t> ids;
            for (size_t i = 0; i < 64; ++i) {
              best.push_back(sorted[i].first);
              ids.push_back(sorted[i].second);
            }
            ASSERT_EQ(few.sampleTop(best, ids),
                      all.sample(logits.data(), 300, {}));
          }
        }
  SamplerOptions options;
  EXPECT_FALSE(Sampler(options).needsOnlyTop(39));
  options.repetitionPenalty = 1.1;
  EXPECT_FALSE(Sampler(options).needsOnlyTop(64));
  options = SamplerOptions();
  options.topK = 0;
  EXPECT_FALSE(Sampler(options).needsOnlyTop(64));
  float inf = std::numeric_limits<float>::infinity();
  Sampler sampler(SamplerOptions{});
  std::vector<int32_t> ids = {5, 6};
  EXPECT_EQ(sampler.sampleTop(std::vector<float>{NAN, 1}, ids), -1);
  EXPECT_EQ(sampler.sampleTop(std::vector<float>{inf, 1}, ids), -1);
  EXPECT_EQ(sampler.sampleTop(std::vector<float>{-inf, -inf}, ids), -1);
}

TEST(SamplerTest, BrokenLogits) {
  float inf = std::numeric_limits<float>::infinity();
  for (double temperature : {0.0, 0.8}) {
    SamplerOptions options;
    options.temperature = temperature;
    Sampler sampler(options);
    auto sample = [&](std::vector<float> logits) {
      return sampler.sample(logits.data(), static_cast<int64_t>(logits.size()),
                            {});
    };
    EXPECT_EQ(sample({1, NAN, 2}), -1);
    EXPECT_EQ(sample({1, inf, 2}), -1);
    EXPECT_EQ(sample({-inf, -inf}), -1);
    EXPECT_EQ(sample({-inf, 3, -inf}), 1) << "forbidden tokens are fine";
  }
}

TEST(SamplerTest, DrawsFollowTheDistribution) {
  SamplerOptions options = plain();
  options.seed = 7;
  Sampler sampler(options);
  constexpr int draws = 100000;
  double counts[4] = {};
  for (int i = 0; i < draws; ++i)
    ++counts[sampler.sample(fourLogits.data(), 4, {})];
  double chiSquare = 0;
  for (int id = 0; id < 4; ++id) {
    double expected = draws * weight(static_cast<size_t>(id));
    chiSquare += (counts[id] - expected) * (counts[id] - expected) / expected;
  }
  EXPECT_LT(chiSquare, 16.27) << "0.999 quantile, 3 degrees of freedom";
}

TEST(SamplerTest, SeedsDecide) {
  auto draw = [](uint64_t seed) {
    SamplerOptions options = plain();
    options.seed = seed;
    Sampler sampler(options);
    std::vector<int32_t> ids;
    for (int i = 0; i < 64; ++i)
      ids.push_back(sampler.sample(fourLogits.data(), 4, {}));
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

} // namespace
