//===- Passes.td - Passes of the SPIR-V target --------------*- tablegen -*-===//
#ifndef QC_TARGET_SPIRV_PASSES_TD
#define QC_TARGET_SPIRV_PASSES_TD

include "mlir/Pass/PassBase.td"

def PrepareSPIRVPass : Pass<"qc-prepare-spirv", "::mlir::ModuleOp"> {
  let summary = "Say to GPU kernels what Vulkan wants to know";
  let description = [{
    Gives each `gpu.module` the target environment (Vulkan 1.1, SPIR-V 1.3; Vulkan
    1.3, SPIR-V 1.6 where it has integer dot products or cooperative matrices), each
    kernel its entry point interface (workgroup size) and each buffer its
    storage class: `StorageBuffer`, or `Workgroup` where the memory space is the
    workgroup's. Results of an `scf.for` that may run zero times are selected from
    its initial values, which upstream's conversion forgets. A buffer that
    `vector.load` reads gets a second argument with the same binding, an array of
    vectors, which is loaded instead. Upstream's conversions need no more.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::spirv::SPIRVDialect"];
}

def ConvertKernelsPass : Pass<"qc-convert-kernels-to-spirv", "::mlir::ModuleOp"> {
  let summary = "Convert gpu.modules to spirv.modules of the same name";
  let description = [{
    Upstream's `convert-gpu-to-spirv` in place, with pointers for cooperative
    matrices: a cast of a buffer and an index becomes the address of that element.

    ```mlir
    %p = builtin.unrealized_conversion_cast %codes, %i
        : memref<1440xi32, #spirv.storage_class<Workgroup>>, index to !spirv.ptr<i32, Workgroup>
    // becomes
    %p = spirv.AccessChain %codes[%zero, %i] : ...
    ```
  }];
  let dependentDialects = ["::mlir::spirv::SPIRVDialect"];
}

def ForbidContractionPass : Pass<"qc-spirv-forbid-contraction"> {
  let summary = "Decorate additions and products of floats with NoContraction";
  let description = [{
    Vulkan lets drivers fuse a product with a sum, which rounds once instead of
    twice, unless the results are decorated. Reproducible mode needs every
    rounding.

    ```mlir
    %0 = spirv.FMul %a, %b {no_contraction} : f32
    ```
  }];
  let dependentDialects = ["::mlir::spirv::SPIRVDialect"];
}

#endif // QC_TARGET_SPIRV_PASSES_TD
