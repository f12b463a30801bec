//===- SafetensorsTest.cpp - Reading well-formed files --------------------===//
#include "TestFiles.h"

#include "qc/Frontend/Safetensors.h"
#include <cmath>
#include <limits>

using namespace qc;
using namespace qc::test;

static std::unique_ptr<SafetensorsFile> open(const std::string &path) {
  auto file = SafetensorsFile::open(path);
  EXPECT_TRUE(bool(file));
  if (!file) {
    ADD_FAILURE() << llvm::toString(file.takeError());
    return nullptr;
  }
  return std::move(*file);
}

TEST(Safetensors, UnalignedScalarEmptyAndPadding) {
  TempDir dir;
  std::string header =
      " {\"odd\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
      "\"f\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[3,11]},"
      "\"none\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[11,11]},"
      "\"s\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[11,13],"
      "\"future\":{\"x\":[1]}},"
      "\"__metadata__\":{\"format\":\"pt\"}}    ";
  float values[] = {1.5f, -2.25f};
  std::string data = "abc" + std::string(reinterpret_cast<char *>(values), 8) +
                     "\x80\x3f"; // 1.0 in bf16
  auto file = open(dir.write("x", safetensors(header, data)));
  ASSERT_TRUE(file);
  ASSERT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(file->metadata()[0].second, "pt");
  const SafetensorsTensor *f = file->find("f");
  ASSERT_TRUE(f);
  EXPECT_EQ(f->offset, static_cast<int64_t>(8 + header.size() + 3));
  EXPECT_EQ(f->bytes, 8);
  EXPECT_EQ(f->spec.shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(describe(f->spec), "F32 [1, 2]");
  float out[2];
  toFloat(f->view(), 0, out);
  EXPECT_EQ(out[0], 1.5f);
  EXPECT_EQ(out[1], -2.25f);
  EXPECT_EQ(file->find("none")->data, nullptr);
  EXPECT_EQ(file->find("none")->bytes, 0);
  float one;
  toFloat(file->find("s")->view(), 0, {&one, 1});
  EXPECT_EQ(one, 1.0f);
  EXPECT_EQ(file->find("absent"), nullptr);
  expectError(errorOf(file->get("absent")), "tensor 'absent' is missing");
  file->release(*f); // whole pages only: must not lose neighbours
  toFloat(f->view(), 1, {&one, 1});
  EXPECT_EQ(one, -2.25f);
}

TEST(Safetensors, NoTensors) {
  TempDir dir;
  auto file = open(dir.write("x", safetensors("{}")));
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->tensors().empty());
}

// One tensor of each float type; every value is exact in all of them.
TEST(Safetensors, WidensEveryFloatType) {
  const float values[] = {0, -0.0f, 1, -1.5f, 0.25f, 96, -3.0f / 128};
  std::string f64, f32, f16, bf16;
  for (float v : values) {
    double wide = v;
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    uint16_t half = 0, brain = static_cast<uint16_t>(bits >> 16);
    if (v != 0)
      half = static_cast<uint16_t>((((bits >> 23) & 255) - 112) << 10 |
                                   ((bits >> 13) & 1023));
    half |= static_cast<uint16_t>(bits >> 16 & 0x8000);
    f64.append(reinterpret_cast<char *>(&wide), 8);
    f32.append(reinterpret_cast<const char *>(&v), 4);
    f16.append(reinterpret_cast<char *>(&half), 2);
    bf16.append(reinterpret_cast<char *>(&brain), 2);
  }
  struct Case {
    DType type;
    const std::string &data;
  };
  for (auto [type, data] : {Case{DType::F64, f64},
                            {DType::F32, f32},
                            {DType::F16, f16},
                            {DType::BF16, bf16}}) {
    EXPECT_TRUE(isFloat(type));
    std::string shifted = "?" + data; // no alignment
    TensorView view{{"t", type, {7}},
                    reinterpret_cast<const uint8_t *>(shifted.data()) + 1};
    float out[7];
    toFloat(view, 0, out);
    for (int i = 0; i < 7; ++i)
      EXPECT_TRUE(out[i] == values[i] &&
                  std::signbit(out[i]) == std::signbit(values[i]))
          << dtypeName(type) << " " << i << " " << out[i];
    float part[3];
    toFloat(view, 3, part);
    EXPECT_EQ(part[0], values[3]);
    EXPECT_EQ(part[2], values[5]);
  }
  EXPECT_FALSE(isFloat(DType::U8));
}

TEST(Safetensors, FindsNonFiniteAnywhere) {
  for (DType type : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
    int64_t width = byteWidth(type), count = 10007;
    for (int64_t place :
         {int64_t(0), int64_t(4095), int64_t(4096), int64_t(9999), count - 1}) {
      std::vector<uint8_t> bytes(static_cast<size_t>(count * width), 0x3c);
      TensorView view{{"t", type, {count}}, bytes.data()};
      EXPECT_EQ(findNonFinite(view), std::nullopt);
      // All exponent bits: sign 0, top bytes 7f f0 / 7f 80 / 7c 00.
      uint8_t *top = bytes.data() + (place + 1) * width - 1;
      top[0] = type == DType::F16 ? 0x7c : 0x7f;
      top[-1] = type == DType::F64 ? 0xf0 : 0x80;
      EXPECT_EQ(findNonFinite(view), place) << dtypeName(type);
      top[0] |= 0x80; // negative too
      EXPECT_EQ(findNonFinite(view), place) << dtypeName(type);
    }
  }
}

TEST(Safetensors, NaNIsNamedWithItsPlace) {
  TempDir dir;
  float values[6] = {0, 1, 2, 3, 4, 5};
  auto write = [&] {
    return open(dir.write(
        "m.safetensors",
        safetensors("{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],"
                    "\"data_offsets\":[0,24]}}",
                    std::string(reinterpret_cast<char *>(values), 24))));
  };
  auto fine = write();
  EXPECT_EQ(errorOf(checkFinite(*fine, fine->tensors()[0])), "");
  values[5] = std::numeric_limits<float>::quiet_NaN();
  auto nan = write();
  expectError(errorOf(checkFinite(*nan, nan->tensors()[0])),
              "m.safetensors: tensor 'w' is NaN at [1, 2], expected finite");
  values[2] = -std::numeric_limits<float>::infinity();
  auto infinite = write();
  expectError(errorOf(checkFinite(*infinite, infinite->tensors()[0])),
              "tensor 'w' is infinite at [0, 2]");
}

TEST(Safetensors, RealModel) {
  auto file = open(QC_SOURCE_DIR "/examples/stories260K/model.safetensors");
  ASSERT_TRUE(file);
  const SafetensorsTensor *embedding = file->find("model.embed_tokens.weight");
  ASSERT_TRUE(embedding);
  EXPECT_EQ(describe(embedding->spec), "F32 [512, 64]");
  int64_t total = 0;
  for (const SafetensorsTensor &tensor : file->tensors()) {
    EXPECT_EQ(errorOf(checkFinite(*file, tensor)), "");
    total += tensor.spec.numElements();
  }
  EXPECT_EQ(total, 260032); // as published
}
