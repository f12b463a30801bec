//===- qc-opt - Runs passes on qc and lm programs -------------------------===//
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "qc/Tools/Register.h"
#include "llvm/Support/Signals.h"
#include <csignal>

int main(int argc, char **argv) {
  // A size limit is an error, not a death; LLVM's handlers come first.
  llvm::sys::PrintStackTraceOnErrorSignal(argv[0]);
  std::signal(SIGXFSZ, SIG_IGN);
  mlir::DialectRegistry registry;
  mlir::qc::registerAllDialects(registry);
  mlir::qc::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "qc-opt: quantizing compiler passes\n", registry));
}
