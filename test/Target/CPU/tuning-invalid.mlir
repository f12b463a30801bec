// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=tuning=token-tile=5 2>&1 | FileCheck %s --check-prefix=TILE
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=tuning=token-tile=32 2>&1 | FileCheck %s --check-prefix=LARGE
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=tuning=strip=0 2>&1 | FileCheck %s --check-prefix=STRIP
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=tuning=prefetch 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not qc-opt %s --qc-lower-to-cpu-kernels=tuning=tile=8 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{tuning={grouped<bits = 99>/int8: sums=2}})' 2>&1 | FileCheck %s --check-prefix=FORMAT
// RUN: not qc-opt %s --pass-pipeline='builtin.module(qc-lower-to-cpu-kernels{tuning={float<f16>/int9: sums=2}})' 2>&1 | FileCheck %s --check-prefix=ARITHMETIC

// TILE: tuning 'token-tile=5': expected a power of two from 1 to 16
// LARGE: tuning 'token-tile=32': expected a power of two from 1 to 16
// STRIP: tuning 'strip=0': expected a number from 1 to 65536
// NUMBER: tuning 'prefetch': expected a number from 0 to 1024
// NAME: tuning 'tile=8': expected token-tile, strip, prefetch, decode-prefetch, sums or score-registers and '=' and a number
// FORMAT: tuning 'grouped<bits = 99>/int8: sums=2': expected FORMAT/f32, FORMAT/int8 or FORMAT/bf16 before ':'
// ARITHMETIC: tuning 'float<f16>/int9: sums=2': expected FORMAT/f32, FORMAT/int8 or FORMAT/bf16 before ':'
module {}
