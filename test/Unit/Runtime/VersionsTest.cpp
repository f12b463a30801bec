//===- VersionsTest.cpp - Which code version runs ------------------------===//
#include "TestProgram.h"
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <fstream>

using namespace qc::rt;

namespace {

TEST(PickVersionTest, FirstThatLacksNothing) {
  QCModel best = {}, good = {}, least = {};
  best.target_cpu = "best";
  best.cpu_features = "avx1024";
  good.target_cpu = "good";
  good.cpu_features = "";
  least.target_cpu = "least";
  least.cpu_features = "";
  const QCModel *versions[] = {&best, &good, &least};
  least.versions = versions;
  least.num_versions = 3;
  std::string error;
  EXPECT_EQ(pickVersion(least, nullptr, error), &good);
  EXPECT_EQ(pickVersion(least, "least", error), &least);
  // What the CPU lacks is the caller's to report.
  EXPECT_EQ(pickVersion(least, "best", error), &best);
  EXPECT_EQ(error, "");
  EXPECT_EQ(pickVersion(least, "bes", error), nullptr);
  EXPECT_EQ(error, "QC_ISA=bes: this file has code for best, good, least");
  good.cpu_features = least.cpu_features = "avx1024";
  EXPECT_EQ(pickVersion(least, nullptr, error), &least);
}

TEST(PickVersionTest, OneVersion) {
  QCModel model = {};
  model.target_cpu = "only";
  model.cpu_features = "avx1024";
  std::string error;
  EXPECT_EQ(pickVersion(model, nullptr, error), &model);
  EXPECT_EQ(pickVersion(model, "only", error), &model);
  EXPECT_EQ(error, "");
  EXPECT_EQ(pickVersion(model, "other", error), nullptr);
}

/// LLVM's names against the kernel's, which hides what it does not save.
TEST(CPUFeaturesTest, AgreeWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  std::string line, flags;
  while (flags.empty() && std::getline(file, line))
    if (line.rfind("flags", 0) == 0)
      flags = line.substr(line.find(':') + 1) + " ";
  if (flags.empty())
    GTEST_SKIP() << "/proc/cpuinfo lists no flags";
  const std::pair<const char *, const char *> names[] = {
      {"sse4.1", "sse4_1"},         {"avx2", "avx2"},
      {"avx512f", "avx512f"},       {"avx512vnni", "avx512_vnni"},
      {"avx512vbmi", "avx512vbmi"}, {"avx512bf16", "avx512_bf16"},
      {"avxvnni", "avx_vnni"},      {"avx512fp16", "avx512_fp16"},
      {"amx-tile", "amx_tile"},     {"amx-int8", "amx_int8"}};
  for (auto [name, flag] : names)
    EXPECT_EQ(hasFeature(name),
              flags.find(" " + std::string(flag) + " ") != std::string::npos)
        << name;
  EXPECT_FALSE(hasFeature("amx-tiles"));
}

class VersionsTest : public testing::Test {
protected:
  void SetUp() override {
    story = dir.file("story");
    makeFake("qc-fake-model-multi", story, TokenizerFile::None);
  }
  RunResult info(const std::string &isa) {
    return run({story, "--info"}, {.environment = {"QC_ISA=" + isa}});
  }
  TempDir dir;
  std::string story;
};

TEST_F(VersionsTest, InfoSaysWhichRuns) {
  const std::string line = "code versions    x86-64-v9, x86-64-v3, x86-64: ";
  EXPECT_NE(info("").out.find(line + "x86-64-v3 runs here"), std::string::npos);
  EXPECT_NE(info("x86-64").out.find(line + "x86-64 runs here"),
            std::string::npos);
}

TEST_F(VersionsTest, Forced) {
  std::string ids = dir.write("ids", "1 2 3");
  auto generate = [&](const std::string &isa) {
    return run({story, "--generate-ids", ids, "--tokens", "4", "--temperature",
                "0", "--ignore-eos"},
               {.environment = {"QC_ISA=" + isa}});
  };
  EXPECT_EQ(generate("x86-64").code, 0);
  RunResult result = generate("x86-64-v9");
  EXPECT_EQ(result.code, 4);
  EXPECT_EQ(result.err,
            "story: error: this CPU lacks avx1024, which the model was "
            "compiled for (--mcpu=x86-64-v9)\n");
  result = generate("i386");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err, "story: error: QC_ISA=i386: this file has code for "
                        "x86-64-v9, x86-64-v3, x86-64\n");
}

} // namespace
