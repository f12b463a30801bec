// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=mcpu=pentium-9 2>&1 | FileCheck %s
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=mcpu=x86-64 2>&1 | FileCheck %s --check-prefix=OLD
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=max-tokens=0 2>&1 | FileCheck %s --check-prefix=TOKENS
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=mcpu=x86-64-multi 2>&1 | FileCheck %s --check-prefix=MULTI

// CHECK: unknown CPU 'pentium-9', expected native, x86-64-v2
// OLD: CPU 'x86-64' lacks SSE4.1, which generated kernels need; the least is x86-64-v2
// MULTI: 'x86-64-multi' stands for several CPUs, expected one
// TOKENS: max-tokens must lie in [1, 65536], found 0
module {}
