//===- PTX.h - Code for NVIDIA GPUs -----------------------------*- C++ -*-===//
//
// From NVVM kernels to LLVM IR, PTX and, with the CUDA toolkit's assembler,
// cubins.
//
//===----------------------------------------------------------------------===//
#ifndef QC_TARGET_NVPTX_PTX_H
#define QC_TARGET_NVPTX_PTX_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace mlir::qc::nvptx {

/// The oldest architecture that CUDA 13 supports, and so a PTX that every
/// supported driver takes.
inline constexpr unsigned defaultArch = 75;

/// Shared memory of a workgroup that all devices from `arch` on have: 99 KB
/// from sm_80 on; 0 for the 48 KB that every device has.
inline int64_t sharedBytes(unsigned arch) { return arch >= 80 ? 96 << 10 : 0; }

/// Architectures of a list "sm_80,sm_90": 10 * major + minor, ascending, each
/// once. Error for another spelling and for what LLVM does not know.
llvm::Expected<std::vector<unsigned>> parseArchs(llvm::StringRef list);

/// The functions of the module's gpu.module (buildKernelsToNVVMPipeline()) as
/// LLVM IR. The kernels stay in `module`.
llvm::Expected<std::unique_ptr<llvm::Module>>
translateKernels(ModuleOp module, llvm::LLVMContext &context);

/// Optimizes `kernels` for an architecture (-O3) and returns its PTX.
llvm::Expected<std::string> emitPTX(llvm::Module &kernels, unsigned arch);

/// The CUDA toolkit's assembler: `named` if not empty, else on PATH, in
/// $CUDA_PATH/bin, $CUDA_HOME/bin or /usr/local/cuda/bin. Empty: there is none.
std::string findPtxas(llvm::StringRef named);

struct Cubin {
  std::string bytes;
  std::string report; ///< ptxas -v: registers, spills, shared memory
};
/// `folder`: for intermediate files.
llvm::Expected<Cubin> assemble(llvm::StringRef ptx, unsigned arch,
                               llvm::StringRef ptxas, llvm::StringRef folder);

} // namespace mlir::qc::nvptx

#endif // QC_TARGET_NVPTX_PTX_H
