// RUN: not qc-opt %s --qc-lower-to-cpu-kernels="mcpu=x86-64-v4 prefill-backend=mkl" 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels="mcpu=x86-64-v4 prefill-backend=onednn reproducible" 2>&1 | FileCheck %s --check-prefix=SAME
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels="mcpu=x86-64-v4 prefill-backend=onednn" 2>&1 | FileCheck %s --check-prefix=NOTHING

// NAME: error: prefill-backend must be generated or onednn, found 'mkl'
// SAME: error: prefill-backend=onednn sums in another order: expected generated with reproducible
// NOTHING: error: prefill-backend=onednn: no matmul has f32 weights with a multiple of 16 inputs, packed<16> (AVX-512)
module {}
