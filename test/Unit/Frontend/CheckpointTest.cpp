//===- CheckpointTest.cpp - Model folders, whole and in shards ------------===//
#include "TestFiles.h"

#include "qc/Frontend/Checkpoint.h"

using namespace qc;
using namespace qc::test;

static std::string oneTensor(const std::string &name) {
  return safetensors(
      "{\"" + name +
          "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "abcd");
}

static std::string indexOf(const std::string &map) {
  return "{\"metadata\":{\"total_size\":8},\"weight_map\":{" + map + "}}";
}

static std::string openError(const TempDir &dir) {
  return errorOf(CheckpointDir::open(dir.path));
}

TEST(Checkpoint, Shards) {
  TempDir dir;
  dir.write("model-00001-of-00002.safetensors", oneTensor("a"));
  dir.write("model-00002-of-00002.safetensors", oneTensor("b"));
  dir.write("model.safetensors.index.json",
            indexOf("\"b\":\"model-00002-of-00002.safetensors\","
                    "\"a\":\"model-00001-of-00002.safetensors\""));
  auto checkpoint = CheckpointDir::open(dir.path);
  ASSERT_TRUE(bool(checkpoint)) << llvm::toString(checkpoint.takeError());
  EXPECT_EQ((*checkpoint)->files().size(), 2u);
  EXPECT_EQ((*checkpoint)->tensors().size(), 2u);
  EXPECT_EQ((*checkpoint)->find("b").file->path(),
            dir.file("model-00002-of-00002.safetensors"));
  EXPECT_EQ((*checkpoint)->find("a").tensor->bytes, 4);
  EXPECT_EQ((*checkpoint)->find("c").tensor, nullptr);
}

TEST(Checkpoint, WholeFileBeforeIndex) {
  TempDir dir;
  dir.write("model.safetensors", oneTensor("a"));
  dir.write("model.safetensors.index.json", "nonsense");
  EXPECT_EQ(openError(dir), "");
}

TEST(Checkpoint, NoFolder) {
  TempDir dir;
  expectError(errorOf(CheckpointDir::open(dir.file("none"))), "no such folder");
  expectError(errorOf(CheckpointDir::open(dir.write("f", ""))), "not a folder");
}

TEST(Checkpoint, EmptyFolder) {
  TempDir dir;
  expectError(openError(dir), "has neither model.safetensors nor "
                              "model.safetensors.index.json");
}

TEST(Checkpoint, PickledIsNeverRead) {
  TempDir dir;
  dir.write("pytorch_model.bin", oneTensor("a"));
  expectError(openError(dir), "only 'pytorch_model.bin', which qc does not "
                              "read: convert it with python -c");
}

TEST(Checkpoint, OtherSafetensorsName) {
  TempDir dir;
  dir.write("consolidated.safetensors", oneTensor("a"));
  expectError(openError(dir), "only 'consolidated.safetensors'");
}

namespace {
struct BadIndex {
  const char *name, *text, *fragment;
};
} // namespace

class BadShards : public testing::TestWithParam<BadIndex> {};

TEST_P(BadShards, OneLineSaysWhatIsWrong) {
  TempDir dir;
  // 1 and 2 are fine; 3 has the tensor of 1; 4 is cut.
  dir.write("1.safetensors", oneTensor("a"));
  dir.write("2.safetensors", oneTensor("b"));
  dir.write("3.safetensors", oneTensor("a"));
  dir.write("4.safetensors", oneTensor("d").substr(0, 30));
  dir.write("x.bin", oneTensor("a"));
  dir.write("model.safetensors.index.json", GetParam().text);
  expectError(openError(dir), GetParam().fragment);
}

INSTANTIATE_TEST_SUITE_P(
    Index, BadShards,
    testing::Values(
        BadIndex{"NotJson", "{", "index.json: not JSON"},
        BadIndex{"NotUtf8", "{\"\xff\":1}", "index.json: not UTF-8"},
        BadIndex{"Array", "[]", "expected an object 'weight_map'"},
        BadIndex{"NoMap", "{\"metadata\":{}}",
                 "expected an object 'weight_map'"},
        BadIndex{"MapIsArray", "{\"weight_map\":[1]}",
                 "expected an object 'weight_map'"},
        BadIndex{"MapEmpty", "{\"weight_map\":{}}", "'weight_map' is empty"},
        BadIndex{"FileIsNumber", "{\"weight_map\":{\"a\":1}}",
                 "file of tensor 'a' is 1, expected a name"},
        BadIndex{"ParentFolder",
                 "{\"weight_map\":{\"a\":\"../1.safetensors\"}}",
                 "shard '../1.safetensors' of tensor 'a': expected the name of "
                 "a file beside"},
        BadIndex{"AbsolutePath",
                 "{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}",
                 "shard '/etc/x.safetensors' of tensor 'a': expected the name"},
        BadIndex{"Subfolder", "{\"weight_map\":{\"a\":\"s/1.safetensors\"}}",
                 "expected the name of a file beside the index"},
        BadIndex{"DotDot", "{\"weight_map\":{\"a\":\"..\"}}",
                 "shard '..' of tensor 'a': expected the name of a file"},
        BadIndex{"NulInName",
                 "{\"weight_map\":{\"a\":\"1\\u0000.safetensors\"}}",
                 "expected the name of a file beside the index"},
        BadIndex{"EmptyName", "{\"weight_map\":{\"a\":\"\"}}",
                 "shard '' of tensor 'a'"},
        BadIndex{"PickledShard", "{\"weight_map\":{\"a\":\"x.bin\"}}",
                 "shard 'x.bin' of tensor 'a': expected a .safetensors file"},
        BadIndex{"MissingShard",
                 "{\"weight_map\":{\"a\":\"1.safetensors\","
                 "\"b\":\"9.safetensors\"}}",
                 "9.safetensors' is missing, "},
        BadIndex{"TensorNotInShard",
                 "{\"weight_map\":{\"a\":\"1.safetensors\","
                 "\"c\":\"2.safetensors\"}}",
                 "2.safetensors: tensor 'c' is missing, "},
        BadIndex{"TensorInOtherShard",
                 "{\"weight_map\":{\"a\":\"2.safetensors\","
                 "\"b\":\"1.safetensors\"}}",
                 "2.safetensors: tensor 'a' is missing, "},
        BadIndex{"TensorInTwoShards",
                 "{\"weight_map\":{\"a\":\"1.safetensors\","
                 "\"b\":\"3.safetensors\"}}",
                 "3.safetensors: tensor 'a' is in "},
        BadIndex{"TensorListedTwice",
                 "{\"weight_map\":{\"a\":\"1.safetensors\","
                 "\"a\":\"3.safetensors\"}}",
                 "duplicate key 'a'"},
        BadIndex{
            "ShardIsBad",
            "{\"weight_map\":{\"a\":\"1.safetensors\","
            "\"d\":\"4.safetensors\"}}",
            "4.safetensors: header of 54 bytes, but the file has only 22"}),
    [](const testing::TestParamInfo<BadIndex> &info) {
      return std::string(info.param.name);
    });

TEST(Checkpoint, GoldenFolders) {
  SKIP_WITHOUT_SHARED_DATA("golden");
  for (const auto &folder :
       std::filesystem::directory_iterator(sharedData() + "/golden")) {
    auto checkpoint = CheckpointDir::open(folder.path().string());
    ASSERT_TRUE(bool(checkpoint)) << llvm::toString(checkpoint.takeError());
    for (const CheckpointDir::Entry &entry : (*checkpoint)->tensors())
      EXPECT_EQ(errorOf(checkFinite(*entry.file, *entry.tensor)), "");
  }
}
