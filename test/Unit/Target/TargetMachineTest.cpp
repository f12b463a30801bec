#include "qc/Target/CPU/TargetMachine.h"
#include "gtest/gtest.h"

using mlir::qc::cpu::CPU;

TEST(TargetMachine, LevelsHaveTheirVectors) {
  auto lanes = [](const char *name) {
    auto cpu = CPU::get(name);
    EXPECT_TRUE(static_cast<bool>(cpu)) << name;
    return cpu ? cpu->vectors.lanes : 0;
  };
  EXPECT_EQ(lanes("x86-64-v2"), 4);
  EXPECT_EQ(lanes("x86-64-v3"), 8);
  EXPECT_EQ(lanes("x86-64-v4"), 16);
  EXPECT_EQ(lanes("x86-64-v4-vnni"), 16);
  EXPECT_EQ(lanes("skylake"), 8);
}

TEST(TargetMachine, RequiredFeaturesFollowTheLevel) {
  auto v2 = CPU::get("x86-64-v2");
  auto v4 = CPU::get("x86-64-v4-vnni");
  ASSERT_TRUE(v2 && v4);
  auto has = [](const CPU &cpu, const char *feature) {
    return llvm::is_contained(cpu.required, feature);
  };
  EXPECT_TRUE(has(*v2, "sse4.2"));
  EXPECT_FALSE(has(*v2, "avx"));
  EXPECT_TRUE(has(*v4, "avx512vnni"));
  EXPECT_FALSE(v2->vectors.fma);
  EXPECT_TRUE(v4->vectors.vnni512);
}

TEST(TargetMachine, UnknownOrTooOldIsOneLine) {
  for (const char *name : {"pentium-9", "x86-64", "", "x86-64-v9-vnni"}) {
    auto cpu = CPU::get(name);
    ASSERT_FALSE(static_cast<bool>(cpu)) << name;
    std::string message = llvm::toString(cpu.takeError());
    EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}
