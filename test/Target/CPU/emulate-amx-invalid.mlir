// RUN: qc-opt %s --pass-pipeline='builtin.module(func.func(qc-emulate-amx))' -verify-diagnostics -split-input-file

func.func @carried(%n: index) {
  %i0 = arith.constant 0 : index
  %i1 = arith.constant 1 : index
  %zero = amx.tile_zero : !amx.tile<16x16xi32>
  // expected-error @below {{'scf.for' op cannot be emulated: expected tiles in amx.tile_zero, tile_load, tile_muli, tile_mulf of bf16 and tile_store only, not carried between blocks}}
  %sum = scf.for %i = %i0 to %n step %i1 iter_args(%t = %zero) -> !amx.tile<16x16xi32> {
    scf.yield %t : !amx.tile<16x16xi32>
  }
  return
}

// -----

func.func @halves(%a: memref<16x32xf16>) {
  %i0 = arith.constant 0 : index
  %zero = amx.tile_zero : !amx.tile<16x16xf32>
  %ta = amx.tile_load %a[%i0, %i0] : memref<16x32xf16> into !amx.tile<16x32xf16>
  // expected-error @below {{'amx.tile_mulf' op cannot be emulated}}
  %c = amx.tile_mulf %ta, %ta, %zero : !amx.tile<16x32xf16>, !amx.tile<16x32xf16>, !amx.tile<16x16xf32>
  return
}
