//===- Passes.h - Passes of the CPU target ----------------------*- C++ -*-===//
#ifndef QC_TARGET_CPU_PASSES_H
#define QC_TARGET_CPU_PASSES_H

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::qc::cpu {

#define GEN_PASS_DECL
#include "qc/Target/CPU/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "qc/Target/CPU/Passes.h.inc"

/// From kernels to the LLVM dialect: upstream passes only.
void buildKernelsToLLVMPipeline(OpPassManager &pm);
void registerKernelsToLLVMPipeline();

} // namespace mlir::qc::cpu

#endif // QC_TARGET_CPU_PASSES_H
