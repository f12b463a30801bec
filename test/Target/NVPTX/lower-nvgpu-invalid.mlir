// RUN: qc-opt %s --pass-pipeline='builtin.module(gpu.module(qc-lower-nvgpu))' -split-input-file -verify-diagnostics

gpu.module @unconverted {
  gpu.func @k(%x: memref<64xi32>) workgroup(%s : memref<64xi32, #gpu.address_space<workgroup>>) kernel {
    %c0 = arith.constant 0 : index
    // expected-error @+1 {{must have one index of a one-dimensional memref that convert-gpu-to-nvvm has lowered}}
    %t = nvgpu.device_async_copy %x[%c0], %s[%c0], 4 {bypassL1} : memref<64xi32> to memref<64xi32, #gpu.address_space<workgroup>>
    gpu.return
  }
}

// -----

gpu.module @waits {
  gpu.func @k(%x: memref<64xi32>) workgroup(%s : memref<64xi32, #gpu.address_space<workgroup>>) kernel {
    %c0 = arith.constant 0 : index
    // expected-error @+1 {{must copy whole elements and have a token that nobody uses}}
    %t = nvgpu.device_async_copy %x[%c0], %s[%c0], 4 {bypassL1} : memref<64xi32> to memref<64xi32, #gpu.address_space<workgroup>>
    nvgpu.device_async_wait %t
    gpu.return
  }
}

// -----

gpu.module @matrix {
  gpu.func @k() workgroup(%s : memref<64xf16, #gpu.address_space<workgroup>>) kernel {
    %c0 = arith.constant 0 : index
    // expected-error @+1 {{must load several matrices from one index of a one-dimensional memref that convert-gpu-to-nvvm has lowered}}
    %m = nvgpu.ldmatrix %s[%c0] {numTiles = 4 : i32, transpose = true} : memref<64xf16, #gpu.address_space<workgroup>> -> vector<4x2xf16>
    gpu.return
  }
}
