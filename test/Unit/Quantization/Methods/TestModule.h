//===- TestModule.h - A module with one linear layer ------------*- C++ -*-===//
#ifndef QC_TEST_UNIT_QUANTIZATION_METHODS_TESTMODULE_H
#define QC_TEST_UNIT_QUANTIZATION_METHODS_TESTMODULE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "llvm/Support/FileSystem.h"
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <vector>

/// A folder that disappears with its contents.
struct TestFolder {
  std::string path;
  TestFolder() {
    llvm::SmallString<128> unique;
    if (llvm::sys::fs::createUniqueDirectory("qc-quantize", unique))
      std::abort();
    path = std::string(unique);
  }
  ~TestFolder() { (void)llvm::sys::fs::remove_directories(path); }
};

/// Gaussian numbers with some rows of zeros, one sign and outliers.
inline std::vector<float> testMatrix(int64_t n, int64_t k, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<float> w(static_cast<size_t>(n * k));
  for (float &value : w)
    value = normal(engine);
  for (int64_t i = 0; i < k; ++i) {
    w[static_cast<size_t>(i)] = 0;
    if (n > 1)
      w[static_cast<size_t>(k + i)] = std::abs(w[static_cast<size_t>(k + i)]);
  }
  if (n > 2)
    w[static_cast<size_t>(3 * k - 1)] = 1.5f;
  return w;
}

struct TestModule {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  TestFolder folder;

  TestModule(const std::vector<float> &w, int64_t n, int64_t k) {
    context.loadDialect<mlir::qc::QCDialect, mlir::lm::LMDialect,
                        mlir::func::FuncDialect>();
    std::string file = folder.path + "/weights.bin";
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char *>(w.data()),
               static_cast<std::streamsize>(w.size() * sizeof(float)));
    std::string shape = std::to_string(n) + "x" + std::to_string(k);
    std::string type = "!qc.weight<" + shape + ", #qc.float<f32>>";
    std::string x = "tensor<?x" + std::to_string(k) + "xf32>";
    std::string y = "tensor<?x" + std::to_string(n) + "xf32>";
    std::string dense = "tensor<" + shape + "xf32>";
    module = mlir::parseSourceString<mlir::ModuleOp>(
        "module {\nqc.weight @w : " + type + " = [#qc.external<\"" + file +
            "\", 0, " + std::to_string(w.size() * sizeof(float)) + ">]\n" +
            "func.func @f(%x: " + x + ") -> " + y +
            " {\n%w = qc.get_weight @w : " + type +
            "\n%d = qc.dequantize %w : " + type + " -> " + dense +
            "\n%y = lm.linear %x, %d : (" + x + ", " + dense + ") -> " + y +
            "\nreturn %y : " + y + "\n}\n}",
        &context);
  }

  mlir::LogicalResult run(std::unique_ptr<mlir::Pass> pass) {
    mlir::PassManager manager(&context, mlir::ModuleOp::getOperationName());
    manager.addPass(std::move(pass));
    return manager.run(*module);
  }

  mlir::qc::WeightOp weight() {
    return *module->getOps<mlir::qc::WeightOp>().begin();
  }

  /// Bytes of a component, read with nothing of qc.
  std::vector<uint8_t> component(unsigned index) {
    mlir::qc::ExternalAttr where = weight().getComponent(index);
    std::ifstream file(where.getFile().str(), std::ios::binary);
    std::vector<uint8_t> bytes(static_cast<size_t>(where.getLength()));
    file.seekg(where.getOffset());
    file.read(reinterpret_cast<char *>(bytes.data()), where.getLength());
    return bytes;
  }
};

#endif // QC_TEST_UNIT_QUANTIZATION_METHODS_TESTMODULE_H
