//===- Passes.td - Passes of the NVPTX target --------------*- tablegen -*-===//
#ifndef QC_TARGET_NVPTX_PASSES_TD
#define QC_TARGET_NVPTX_PASSES_TD

include "mlir/Pass/PassBase.td"

def PrepareNVVMPass : Pass<"qc-prepare-nvvm", "::mlir::ModuleOp"> {
  let summary = "Say to GPU kernels what CUDA wants to know";
  let description = [{
    Kernels of each `gpu.module` get the form from which upstream's conversions
    make entry points whose parameters are the buffers' addresses alone:

    - buffers get a static shape, which bare pointers need; the size says nothing
    - arguments say that buffers do not overlap, lie at multiples of 16 bytes and,
      where no store names them, are read only (`ld.global.nc`)
    - shared memory that a kernel allocates becomes a workgroup attribution
    - `math.exp` becomes arithmetic (the polynomial of
      `populateMathPolynomialApproximationPatterns`): the function of NVIDIA's
      libdevice would need the toolkit; `math.sqrt`, `math.absf`, `math.floor`,
      `math.roundeven` and `arith.maxnumf` become LLVM's intrinsics, which are instructions of PTX, and
      `math.exp2` the approximation `ex2.approx.ftz`, 2 ulp at most
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::vector::VectorDialect"
  ];
}

def LowerNVGPUPass : Pass<"qc-lower-nvgpu", "::mlir::gpu::GPUModuleOp"> {
  let summary = "Lower asynchronous copies, loads of matrices and prefetches";
  let description = [{
    `nvgpu.device_async_copy` and `nvgpu.ldmatrix`. Upstream's pass for the nvgpu
    dialect describes memory with indices of 64 bits, kernels here have indices of
    32. So this runs behind the conversion of the rest and takes pointers and
    indices from the casts that it left. Tokens of the copies must have no users:
    kernels count groups themselves (`nvvm.cp.async.commit.group`,
    `nvvm.cp.async.wait.group`).

    `llvm.intr.prefetch` becomes an `nvvm.cp.async.bulk.prefetch` of 4 KiB to the
    second-level cache.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect"];
}

#endif // QC_TARGET_NVPTX_PASSES_TD
