//===- Recipes.h - Named choices of quantization ----------------*- C++ -*-===//
#ifndef QC_QUANTIZATION_RECIPES_H
#define QC_QUANTIZATION_RECIPES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

namespace mlir::qc {

/// Names of the recipes, for messages and help: "int4_sym, ...".
StringRef recipeNames();

/// 128 if it divides the inputs of most values of the module's linear layers,
/// else 64.
int64_t defaultGroupSize(ModuleOp module);

/// Adds the passes of a recipe:
///
///   int4_sym   linear layers RTN 4 bits symmetric,   embedding and head int8
///   int4_asym  linear layers RTN 4 bits with zero points,           same
///   nf4        linear layers NF4 with double quantization,          same
///   e8p        linear layers E8P, 2 bits,                           same
///   int8       everything RTN 8 bits symmetric
///   none       nothing
///
/// `groupSize` 0 takes defaultGroupSize(), -1 is a group a row. Embedding and
/// head have 8 bits in groups of the same size. Fails without a diagnostic if
/// there is no recipe of that name.
LogicalResult addQuantizePasses(OpPassManager &pm, ModuleOp module,
                                StringRef recipe, int64_t groupSize,
                                StringRef outputDir, unsigned threads);

} // namespace mlir::qc

#endif // QC_QUANTIZATION_RECIPES_H
