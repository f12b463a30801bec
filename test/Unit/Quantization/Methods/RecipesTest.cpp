//===- RecipesTest.cpp - Named choices of quantization --------------------===//
#include "qc/Quantization/Recipes.h"
#include "TestModule.h"

#include <gtest/gtest.h>

using namespace mlir::qc;

namespace {

/// The textual pipeline of a recipe on a model with one 256xK linear layer;
/// empty if the recipe is unknown.
std::string pipeline(const std::string &recipe, int64_t groupSize, int64_t k) {
  TestModule test(testMatrix(256, k, 1), 256, k);
  mlir::PassManager manager(&test.context, mlir::ModuleOp::getOperationName());
  if (failed(addQuantizePasses(manager, *test.module, recipe, groupSize, "out",
                               2)))
    return "";
  std::string text;
  llvm::raw_string_ostream os(text);
  manager.printAsTextualPipeline(os);
  return text;
}

bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST(RecipesTest, Int4IsFollowedByInt8ForTheRest) {
  std::string text = pipeline("int4_sym", 0, 256);
  size_t first = text.find("qc-quantize-rtn"),
         second = text.rfind("qc-quantize-rtn");
  ASSERT_NE(first, second);
  std::string body = text.substr(first, second - first),
              rest = text.substr(second);
  EXPECT_TRUE(has(body, "bits=4")) << text;
  EXPECT_TRUE(has(body, "group-size=128")) << text;
  EXPECT_TRUE(has(body, "symmetric=true")) << text;
  EXPECT_TRUE(has(body, "targets=linear")) << text;
  EXPECT_TRUE(has(rest, "bits=8")) << text;
  EXPECT_TRUE(has(rest, "targets=all")) << text;
  EXPECT_TRUE(has(rest, "output-dir=out")) << text;
}

TEST(RecipesTest, GroupFollowsTheShapes) {
  EXPECT_TRUE(has(pipeline("int4_sym", 0, 96), "group-size=64"));
  EXPECT_TRUE(has(pipeline("int4_sym", 32, 256), "group-size=32"));
  EXPECT_TRUE(has(pipeline("int4_asym", -1, 256), "group-size=-1"));
  EXPECT_TRUE(has(pipeline("int4_asym", 0, 256), "symmetric=false"));
}

TEST(RecipesTest, Others) {
  EXPECT_TRUE(has(pipeline("nf4", 0, 256), "qc-quantize-nf4"));
  EXPECT_TRUE(has(pipeline("e8p", 0, 256), "qc-quantize-e8p"));
  EXPECT_FALSE(has(pipeline("int8", 0, 256), "bits=4"));
  EXPECT_FALSE(has(pipeline("none", 0, 256), "quantize"));
  EXPECT_NE(pipeline("none", 0, 256), "");
  EXPECT_EQ(pipeline("int5", 0, 256), "");
}

} // namespace
