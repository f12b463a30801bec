//===- Passes.td - Passes of the GPU targets ----------------*- tablegen -*-===//
#ifndef QC_TARGET_GPU_PASSES_TD
#define QC_TARGET_GPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def LowerToGPUKernelsPass : Pass<"qc-lower-to-gpu-kernels", "::mlir::ModuleOp"> {
  let summary = "Lower packed lm/qc functions to GPU kernels and dispatch lists";
  let description = [{
    Replaces the entry points `@decode`, `@prefill` and `@score` by lists of kernel
    launches, calls of layers unrolled. Kernels are generated for exactly the shapes
    and formats at hand, through the format interface; equal kernels exist once, in
    `gpu.module @kernels`. Memory is an array of 32-bit words, so nothing narrower
    reaches a target.

    The module gets the attribute `qc.device`: `kernels` (name, workgroup size,
    number of buffers, bytes of dynamic shared memory), `steps` (a list of dispatches each: kernel, grid as three
    pairs factor, tile, and buffers as space, access and [offset, offset per
    position, size, size per position]), `rotary` tables, and the sizes of the
    memory. `qc/Runtime/DeviceABI.h` says what they mean.

    The weights must be packed for 32 rows at offsets that are multiples of 256
    (`qc-pack-weights{rows=32 alignment=256}`), every dequantize of a matrix
    fused.
  }];
  let options = [
    Option<"maxTokens", "max-tokens", "int64_t", "128",
           "Most tokens that one step processes">,
    Option<"reproducible", "reproducible", "bool", "false",
           "Compute the same bits on every target">,
    Option<"integerDot", "integer-dot", "std::string", "\"emulated\"",
           "How kernels of int8 arithmetic multiply bytes: emulated, spirv (OpSUDot) or nvvm (dp4a)">,
    Option<"maxThreads", "max-threads", "int64_t", "128",
           "Most threads of a workgroup, a power of two">,
    Option<"wideLoads", "wide-loads", "bool", "false",
           "A thread has four rows of a weight, whose words it loads at once (128 bits)">,
    Option<"warpSize", "warp-size", "int64_t", "0",
           "With wide-loads: threads of a warp, 32, which exchange sums by gpu.shuffle, and load other buffers by 128 bits, too; 0: devices differ, sums meet in shared memory, and wide loads are of weights, for one token">,
    Option<"fuseSteps", "fuse-steps", "bool", "false",
           "In steps of one token let products normalize and round their input and attention rotate and append (with warps)">,
    Option<"programmaticLaunch", "programmatic-launch", "bool", "false",
           "Kernels of steps of one token and of few start early and wait by nvvm.griddepcontrol (sm_90)">,
    Option<"sharedBytes", "shared-bytes", "int64_t", "0",
           "Shared memory that a workgroup may have; in 96 KB products of one token in int8 keep copies of codebooks (with warps)">,
    Option<"tensorCores", "tensor-cores", "bool", "false",
           "Multiply int8 activations of several tokens by nvvm.mma.sync (sm_80), with steps of few tokens">,
    Option<"subgroupReductions", "subgroup-reductions", "bool", "false",
           "Reduce over a workgroup by gpu.subgroup_reduce, whatever size subgroups have">,
    ListOption<"cooperativeMatrix", "cooperative-matrix", "int64_t",
           "M,N,K,subgroup: multiply int8 activations of several tokens by cooperative matrices of M rows, N tokens and K inputs, in subgroups of this size">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect", "::mlir::math::MathDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect", "::mlir::nvgpu::NVGPUDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::spirv::SPIRVDialect", "::mlir::vector::VectorDialect"
  ];
  let statistics = [
    Statistic<"numKernels", "kernels", "Kernels generated">,
    Statistic<"numDispatches", "dispatches", "Dispatches of all steps">,
  ];
}

#endif // QC_TARGET_GPU_PASSES_TD
