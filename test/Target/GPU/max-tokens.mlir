// RUN: not qc-opt %s --qc-lower-to-gpu-kernels=max-tokens=0 2>&1 | FileCheck %s
// CHECK: max-tokens must lie in [1, 65536], found 0
module {}
