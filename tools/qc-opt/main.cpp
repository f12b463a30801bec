//===- qc-opt - Runs passes on qc and lm programs -------------------------===//
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "qc/Tools/Register.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::qc::registerAllDialects(registry);
  mlir::qc::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "qc-opt: quantizing compiler passes\n", registry));
}
