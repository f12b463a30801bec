//===- Register.cpp - All dialects and passes -----------------------------===//
#include "qc/Tools/Register.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/Extensions/AllExtensions.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/Passes.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Dialect/LM/Transforms/Passes.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Dialect/QC/Transforms/Passes.h"
#include "qc/Quantization/Registry.h"
#include "qc/Target/CPU/Passes.h"

using namespace mlir;

void mlir::qc::registerAllDialects(DialectRegistry &registry) {
  registry
      .insert<QCDialect, lm::LMDialect, amx::AMXDialect, arith::ArithDialect,
              cf::ControlFlowDialect, func::FuncDialect, LLVM::LLVMDialect,
              math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
              tensor::TensorDialect, vector::VectorDialect>();
  func::registerAllExtensions(registry);
}

void mlir::qc::registerAllPasses() {
  registerQCTransformsPasses();
  lm::registerLMTransformsPasses();
  registerQuantizationPasses();
  cpu::registerQCTargetCPUPasses();
  cpu::registerKernelsToLLVMPipeline();
  registerTransformsPasses();
  registerConversionPasses();
  arith::registerArithPasses();
  memref::registerMemRefPasses();
}
