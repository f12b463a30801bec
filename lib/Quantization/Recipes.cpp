//===- Recipes.cpp - Named choices of quantization ------------------------===//
#include "qc/Quantization/Recipes.h"

#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Quantization/Methods.h"

using namespace mlir;
using namespace mlir::qc;

StringRef mlir::qc::recipeNames() {
  return "int4_sym, int4_asym, int8, nf4, e8p or none";
}

int64_t mlir::qc::defaultGroupSize(ModuleOp module) {
  int64_t divisible = 0, all = 0;
  module.walk([&](lm::LinearOp linear) {
    auto type = cast<RankedTensorType>(linear.getWeight().getType());
    int64_t n = type.getDimSize(0), k = type.getDimSize(1);
    all += n * k;
    if (k % 128 == 0)
      divisible += n * k;
  });
  return divisible * 2 > all ? 128 : 64;
}

/// The options that every method has.
template <typename Options>
static Options commonOptions(StringRef targets, StringRef outputDir,
                             unsigned threads) {
  Options options;
  options.targets = targets;
  options.outputDir = outputDir;
  options.threads = threads;
  return options;
}

LogicalResult mlir::qc::addQuantizePasses(OpPassManager &pm, ModuleOp module,
                                          StringRef recipe, int64_t groupSize,
                                          StringRef outputDir,
                                          unsigned threads) {
  if (recipe == "none")
    return success();
  int64_t group = groupSize == 0 ? defaultGroupSize(module) : groupSize;
  auto rtn = [&](StringRef targets, int bits, bool symmetric) {
    auto options = commonOptions<RTNPassOptions>(targets, outputDir, threads);
    options.bits = bits;
    options.groupSize = group;
    options.symmetric = symmetric;
    pm.addPass(createRTNPass(options));
  };
  if (recipe == "int4_sym" || recipe == "int4_asym") {
    rtn("linear", 4, recipe == "int4_sym");
  } else if (recipe == "nf4") {
    auto options = commonOptions<NF4PassOptions>("linear", outputDir, threads);
    // bitsandbytes' choice, and smaller groups cost little when the scales are
    // quantized too.
    options.groupSize = groupSize == 0 ? 64 : groupSize;
    pm.addPass(createNF4Pass(options));
  } else if (recipe == "e8p") {
    pm.addPass(createE8PPass(
        commonOptions<E8PPassOptions>("linear", outputDir, threads)));
  } else if (recipe != "int8") {
    return failure();
  }
  // What is still in floats: embedding and head, with int8 everything.
  rtn("all", 8, /*symmetric=*/true);
  return success();
}
