//===- SelfTestTest.cpp - What --self-test finds of a device --------------===//
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

using namespace qc::rt;

namespace {

constexpr uint64_t vocabulary = 4096, maxTokens = 16;

/// Logits are random numbers of a token's position; those of several tokens at
/// once go through `change`.
class FakeDevice : public Device {
public:
  using Change = std::function<void(size_t token, std::span<float> logits)>;
  explicit FakeDevice(Change change) : change(std::move(change)) {}

  bool run(int step, std::span<const int32_t> ids, int64_t position, float *out,
           DeviceError &) override {
    for (size_t i = 0; i < ids.size(); ++i) {
      std::span<float> logits(out + i * vocabulary, vocabulary);
      fill(static_cast<size_t>(position) + i, logits);
      if (step == QC_STEP_SCORE)
        change(i, logits);
    }
    return true;
  }
  static void fill(size_t position, std::span<float> logits) {
    std::mt19937 rng(static_cast<unsigned>(position));
    std::normal_distribution<float> normal(-3, 2);
    for (float &logit : logits)
      logit = normal(rng);
  }
  bool runTop(int32_t, int64_t, QCDeviceTop &, DeviceError &) override {
    return false;
  }
  bool runGreedy(int32_t, int64_t, std::span<int32_t>, DeviceError &) override {
    return false;
  }
  float *input() override { return nullptr; }
  const DeviceInfo &info() const override { return about; }
  bool decode(const QCDeviceTest &, std::span<const uint8_t>, float *,
              DeviceError &) override {
    return false;
  }

private:
  Change change;
  DeviceInfo about;
};

} // namespace

static bool passes(bool int8, FakeDevice::Change change) {
  QCDeviceModel model = {};
  model.int8_activations = int8;
  model.vocab_size = vocabulary;
  model.max_tokens = maxTokens;
  FakeDevice device(std::move(change));
  return selfTest(model, device, /*quiet=*/true);
}

/// Noise in units of the logits' deviation.
static FakeDevice::Change noise(float size) {
  return [size](size_t token, std::span<float> logits) {
    std::mt19937 rng(static_cast<unsigned>(100 + token));
    std::normal_distribution<float> normal(0, 2 * size);
    for (float &logit : logits)
      logit += normal(rng);
  };
}

namespace {

TEST(SelfTest, AllowsRoundingsOfF32) {
  for (bool int8 : {false, true}) {
    EXPECT_TRUE(passes(int8, [](size_t, std::span<float>) {}));
    EXPECT_TRUE(passes(int8, noise(1e-5f)));
    EXPECT_FALSE(passes(int8, noise(0.5f)));
  }
}

TEST(SelfTest, AllowsOtherCodesOfInt8) {
  EXPECT_TRUE(passes(true, noise(0.05f)));
  EXPECT_FALSE(passes(false, noise(0.05f)));
}

TEST(SelfTest, FindsWrongKernels) {
  for (bool int8 : {false, true}) {
    // A row block of the last weight.
    EXPECT_FALSE(passes(int8, [](size_t, std::span<float> logits) {
      std::fill_n(logits.begin() + 64, 32, 0.0f);
    }));
    // Of the last tile.
    EXPECT_FALSE(passes(int8, [](size_t token, std::span<float> logits) {
      if (token == 10)
        FakeDevice::fill(token - 1, logits);
    }));
    EXPECT_FALSE(passes(int8, [](size_t, std::span<float> logits) {
      for (float &logit : logits)
        logit *= 1.5f;
    }));
    EXPECT_FALSE(passes(int8, [](size_t token, std::span<float> logits) {
      if (token == 3)
        logits[7] = NAN;
    }));
  }
}

} // namespace
