//===- Compile.h - From a model folder to an executable ---------*- C++ -*-===//
//
// The phases, in order; `compileTo` stops after one and prints the IR:
//
//   import    HF folder to lm/qc on tensors
//   quantize  weights in their final formats
//   fuse      qc.matmul on stored weights, one function for each kind of layer
//   pack      weights in the target's physical layout
//   kernels   kernel calls on buffers of one arena
//   llvm      LLVM dialect (target cpu)
//   spirv     SPIR-V dialect (target spirv)
//   nvvm      NVVM dialect (target nvptx)
//
//===----------------------------------------------------------------------===//
#ifndef QC_PIPELINES_COMPILE_H
#define QC_PIPELINES_COMPILE_H

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/Error.h"
#include <string>

namespace mlir::qc {

enum class Emit {
  Executable,
  Shared,
  Object,
  LLVM,
  Assembly,
  MLIR,
  SPIRV,
  SPIRVText,
  PTX,
  Cubin
};

struct CompileOptions {
  std::string input;  ///< model folder or .mlir file
  std::string output; ///< "-" for text on stdout
  /// int4_sym, int4_asym, int8, nf4, e8p, none; empty: int4_sym for a folder,
  /// none for IR.
  std::string quantize;
  std::string target = "cpu"; ///< cpu, spirv or nvptx
  /// With spirv and nvptx: the last layers that run there, the others on the
  /// CPU; 0: none, -1 or as many as there are: all, and the embedding.
  int64_t gpuLayers = -1;
  /// NVIDIA architectures, "sm_80,sm_90": PTX for the first, a cubin for each.
  /// Empty: PTX for the oldest supported.
  std::string gpuArch;
  /// Of Vulkan: shapes of cooperative matrices to have kernels for, or "none".
  std::string cooperativeMatrices;
  std::string ptxas;     ///< the CUDA toolkit's assembler; empty: looked for
  int64_t groupSize = 0; ///< 0: 128 or 64 as the model's shapes allow
  std::string mcpu = "native";
  Emit emit = Emit::Executable;
  std::string compileTo;        ///< phase to stop after; empty: all
  std::string dumpDir;          ///< IR after each phase, LLVM IR and assembly
  std::string kvCache = "auto"; ///< f32, f16; auto: f32 if not quantized
  std::string activations = "auto"; ///< f32, int8; auto: int8 if quantized
  bool reproducible = false;        ///< the same bits on every target
  std::string prefillBackend = "generated"; ///< or onednn
  std::string runtime;                      ///< archive to link
  int64_t maxTokens = 128;
  unsigned threads = 0;   ///< 0: one a core
  std::string tuning;     ///< constants of kernels, see KernelTuning.h
  bool remembered = true; ///< use what earlier runs measured on this machine
  bool tune = false;      ///< measure, and remember it
  int64_t tuneSeconds = 60;
};

/// Compiles; nothing is left at `output` or beside it when it fails.
llvm::Error compile(MLIRContext &context, const CompileOptions &options);

} // namespace mlir::qc

#endif // QC_PIPELINES_COMPILE_H
