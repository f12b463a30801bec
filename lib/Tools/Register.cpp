//===- Register.cpp - All dialects and passes -----------------------------===//
#include "qc/Tools/Register.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/Extensions/AllExtensions.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/Transforms/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/Passes.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Dialect/LM/Transforms/Passes.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Dialect/QC/Transforms/Passes.h"
#include "qc/Quantization/Registry.h"
#include "qc/Target/CPU/Passes.h"
#include "qc/Target/GPU/Passes.h"
#include "qc/Target/NVPTX/Passes.h"
#include "qc/Target/SPIRV/Passes.h"

using namespace mlir;

void mlir::qc::registerAllDialects(DialectRegistry &registry) {
  registry.insert<QCDialect, lm::LMDialect, amx::AMXDialect,
                  arith::ArithDialect, cf::ControlFlowDialect,
                  func::FuncDialect, mlir::gpu::GPUDialect, LLVM::LLVMDialect,
                  math::MathDialect, memref::MemRefDialect, nvgpu::NVGPUDialect,
                  NVVM::NVVMDialect, scf::SCFDialect, mlir::spirv::SPIRVDialect,
                  tensor::TensorDialect, vector::VectorDialect>();
  func::registerAllExtensions(registry);
  mlir::qc::nvptx::registerConversionInterfaces(registry);
}

void mlir::qc::registerAllPasses() {
  registerQCTransformsPasses();
  lm::registerLMTransformsPasses();
  registerQuantizationPasses();
  cpu::registerQCTargetCPUPasses();
  cpu::registerKernelsToLLVMPipeline();
  mlir::qc::gpu::registerQCTargetGPUPasses();
  mlir::qc::spirv::registerQCTargetSPIRVPasses();
  mlir::qc::spirv::registerKernelsToSPIRVPipeline();
  mlir::qc::nvptx::registerQCTargetNVPTXPasses();
  mlir::qc::nvptx::registerNVPTXPipelines();
  mlir::spirv::registerSPIRVPasses();
  registerTransformsPasses();
  registerConversionPasses();
  arith::registerArithPasses();
  memref::registerMemRefPasses();
}
