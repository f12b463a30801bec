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

TEST(TargetMachine, TileRegisters) {
  for (const char *name :
       {"sapphirerapids", "graniterapids", "x86-64-v4-amx"}) {
    auto cpu = CPU::get(name);
    ASSERT_TRUE(static_cast<bool>(cpu)) << name;
    EXPECT_TRUE(cpu->vectors.amx) << name;
    EXPECT_EQ(cpu->vectors.lanes, 16);
    for (const char *feature : {"amx-tile", "amx-int8", "avx512vnni"})
      EXPECT_TRUE(llvm::is_contained(cpu->required, feature)) << name;
  }
  for (const char *name : {"icelake-server", "znver4", "x86-64-v4-vbmi"}) {
    auto cpu = CPU::get(name);
    ASSERT_TRUE(static_cast<bool>(cpu)) << name;
    EXPECT_FALSE(cpu->vectors.amx) << name;
    EXPECT_FALSE(llvm::is_contained(cpu->required, "amx-tile")) << name;
  }
}

TEST(TargetMachine, ListOfVersionsIsBestFirst) {
  auto cpus = CPU::list("x86-64-multi");
  ASSERT_TRUE(static_cast<bool>(cpus));
  ASSERT_EQ(cpus->size(), 7u);
  EXPECT_EQ(cpus->front().name, "x86-64-v4-amx");
  EXPECT_TRUE(cpus->front().vectors.amx && cpus->front().vectors.vbmi &&
              cpus->front().vectors.vnni512);
  EXPECT_EQ(cpus->back().name, "x86-64-v2");
  // The runtime takes the first whose features are there: none may come after
  // one that needs less.
  for (size_t later = 1; later < cpus->size(); ++later)
    for (size_t first = 0; first < later; ++first)
      EXPECT_FALSE(llvm::all_of((*cpus)[first].required,
                                [&](const std::string &feature) {
                                  return llvm::is_contained(
                                      (*cpus)[later].required, feature);
                                }))
          << (*cpus)[first].name << " hides " << (*cpus)[later].name;
  auto one = CPU::list("x86-64-v3");
  ASSERT_TRUE(static_cast<bool>(one));
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ(one->front().name, "x86-64-v3");
  auto none = CPU::list("x86-64-v9");
  ASSERT_FALSE(static_cast<bool>(none));
  llvm::consumeError(none.takeError());
}

TEST(TargetMachine, UnknownOrTooOldIsOneLine) {
  for (const char *name :
       {"pentium-9", "x86-64", "", "x86-64-v9-vnni", "x86-64-v3-vbmi"}) {
    auto cpu = CPU::get(name);
    ASSERT_FALSE(static_cast<bool>(cpu)) << name;
    std::string message = llvm::toString(cpu.takeError());
    EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}
