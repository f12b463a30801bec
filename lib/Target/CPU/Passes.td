//===- Passes.td - Passes of the CPU target -----------------*- tablegen -*-===//
#ifndef QC_TARGET_CPU_PASSES_TD
#define QC_TARGET_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def LowerToCPUKernelsPass : Pass<"qc-lower-to-cpu-kernels", "::mlir::ModuleOp"> {
  let summary = "Lower packed lm/qc functions to calls of generated CPU kernels";
  let description = [{
    Replaces every function over tensors by one over buffers in which each
    operation is a call of a kernel. Kernels are private functions generated for
    exactly the shapes, formats and CPU at hand, through the format interface;
    equal kernels exist once. All threads run the function, and a call of
    `qc_barrier` follows each kernel call. Rows of products are claimed by threads
    as they become free (`qc_claim`, include/qc/Runtime/ModelABI.h); of other work
    each thread takes an equal share.

    Buffers are `memref.alloc`s for `qc-plan-memory` to place. The module gets
    the C entry points of the model ABI (`qc_step_prefill`, `qc_step_decode`, `qc_step_score`), test
    entry points for each matmul and decode kernel, and the attribute `qc.kernels`
    that lists them.

    The weights must be packed for the vector width of the CPU
    (`qc-pack-weights{rows=...}`), every dequantize of a matrix fused.

    `tuning` replaces constants of the cost model (docs/Performance.md):
    `"token-tile=8,strip=256"` for all kernels, and behind semicolons for the
    products of one format and arithmetic:
    `"prefetch=0; grouped<bits = 4, group = 128, scale = f16>/int8: token-tile=16"`.
  }];
  let options = [
    Option<"mcpu", "mcpu", "std::string", "\"native\"",
           "CPU to generate for: an LLVM name (x86-64-v2, x86-64-v3, x86-64-v4, znver4, ...), x86-64-v4-vnni, x86-64-v4-vbmi, x86-64-v4-amx, or native">,
    Option<"tuning", "tuning", "std::string", "\"\"",
           "Constants that differ from the cost model's">,
    Option<"maxTokens", "max-tokens", "int64_t", "128",
           "Most tokens that one step processes">,
    Option<"reproducible", "reproducible", "bool", "false",
           "Compute the same bits on every target">,
    Option<"prefillBackend", "prefill-backend", "std::string", "\"generated\"",
           "Products of 128 and more tokens with f32 weights: generated, or onednn, a call of the runtime that may decline">,
  ];
  let dependentDialects = [
    "::mlir::amx::AMXDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
  let statistics = [
    Statistic<"numKernels", "kernels", "Kernels generated">,
    Statistic<"numCalls", "kernel calls", "Kernel calls emitted">,
  ];
}

def PlanMemoryPass : Pass<"qc-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Place all buffers in one arena at compile time";
  let description = [{
    Gives every `memref.alloc` of the lowered functions a fixed offset in the
    arena by the lifetimes of the buffers (first fit, 64-byte aligned; dynamic sizes
    count `max-tokens` rows, up to a multiple of the buffer's attribute `qc.row_tile`
    where it has one). A callee's frame lies behind its caller's. The size of the
    arena becomes the module attribute `qc.arena_bytes`; no allocation remains.
  }];
  let options = [
    Option<"maxTokens", "max-tokens", "int64_t", "128",
           "Most tokens that one step processes">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
  let statistics = [
    Statistic<"numBuffers", "buffers", "Buffers placed">,
  ];
}

def EmulateAMXPass : Pass<"qc-emulate-amx", "::mlir::func::FuncOp"> {
  let summary = "Rewrite AMX operations on integers and bf16 to plain vector code";
  let description = [{
    Replaces `amx.tile_zero`, `amx.tile_load`, `amx.tile_muli`, `amx.tile_mulf` of bf16
    and `amx.tile_store` by loops over tiles in memory that do what Intel's manual says of
    the instructions, so that kernels for CPUs with AMX run, and are tested, on
    CPUs without it. Tiles must not be carried by loops or branches. It is slow.

    ```mlir
    // qc-opt --qc-emulate-amx: four products for each 32-bit sum
    %c = amx.tile_muli %a, %b zext, %c0 : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
    ```
  }];
  let dependentDialects = [
    "::mlir::amx::AMXDialect", "::mlir::arith::ArithDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"
  ];
}

#endif // QC_TARGET_CPU_PASSES_TD
