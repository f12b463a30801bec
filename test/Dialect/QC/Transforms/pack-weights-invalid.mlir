// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: split-file %s %t/parts
// RUN: %python -c "import struct; open('nan.bin', 'wb').write(struct.pack('<8f', 1, 2, 3, 4, 5, float('nan'), 7, 8))"
// RUN: %python -c "import struct; open('inf.bin', 'wb').write(struct.pack('<4e', 1, 2, 3, float('inf')))"
// RUN: not qc-opt parts/nan.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/nan.mlir
// RUN: not qc-opt parts/inf.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/inf.mlir
// RUN: not qc-opt parts/missing.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/missing.mlir
// RUN: not qc-opt parts/short.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/short.mlir
// RUN: not qc-opt parts/huge.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/huge.mlir
// RUN: not qc-opt parts/quantize.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/quantize.mlir
// RUN: not qc-opt parts/packed.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/packed.mlir
// RUN: not qc-opt parts/long.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/long.mlir

// Options, and outputs that cannot be written.
// RUN: not qc-opt parts/nan.mlir --qc-pack-weights 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: not qc-opt parts/nan.mlir --qc-pack-weights="rows=0 output=w.bin" 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: not qc-opt parts/nan.mlir --qc-pack-weights="alignment=96 output=w.bin" 2>&1 | FileCheck %s --check-prefix=ALIGNMENT
// ALIGNMENT: alignment is 96, expected a power of two in [64, 65536]
// RUN: not qc-opt parts/nan.mlir --qc-pack-weights="threads=-1 output=w.bin" 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: not qc-opt parts/nan.mlir --qc-pack-weights=output=nowhere/w.bin 2>&1 | FileCheck %s --check-prefix=FOLDER
// RUN: not qc-opt parts/nan.mlir --qc-pack-weights=output=parts 2>&1 | FileCheck %s --check-prefix=ISFOLDER

// A file size limit stands for a full disk; SIGXFSZ is ignored as on a server.
// RUN: %python -c "open('zero.bin', 'wb').write(bytes(4 << 20))"
// RUN: %python %S/Inputs/limit.py 65536 qc-opt parts/large.mlir --qc-pack-weights=output=w.bin 2>&1 | FileCheck parts/large.mlir

// Every failure leaves the folder as it was.
// RUN: ls %t | count 4

// OUTPUT: error: qc-pack-weights needs the option output=FILE
// ROWS: error: rows is 0, expected a number in [1, 256]
// THREADS: error: threads is -1, expected a number in [0, 1024]
// FOLDER: error: cannot write 'nowhere/w.bin': No such file or directory
// ISFOLDER: error: cannot write 'parts': Is a directory

//--- nan.mlir
// CHECK: error: weight @w: 'data' is nan at [1, 1], expected finite numbers
!w = !qc.weight<2x4, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"nan.bin", 0, 32>]
func.func @f(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = qc.get_weight @w : !w
  %y = qc.matmul %x, [%w] : (tensor<?x4xf32>, !w) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

//--- inf.mlir
// CHECK: error: weight @n: 'data' is infinite at [3
!n = !qc.weight<4, #qc.float<f16>>
qc.weight @n : !n = [#qc.external<"inf.bin", 0, 8>]
func.func @f() -> tensor<4xf32> {
  %n = qc.get_weight @n : !n
  %d = qc.dequantize %n : !n -> tensor<4xf32>
  return %d : tensor<4xf32>
}

//--- missing.mlir
// CHECK: error: weight @n: component 'data': cannot read 'nowhere.bin': No such file or directory
!n = !qc.weight<4, #qc.float<f16>>
qc.weight @n : !n = [#qc.external<"nowhere.bin", 0, 8>]
func.func @f() -> tensor<4xf32> {
  %n = qc.get_weight @n : !n
  %d = qc.dequantize %n : !n -> tensor<4xf32>
  return %d : tensor<4xf32>
}

//--- short.mlir
// CHECK: error: weight @n: component 'data': 'inf.bin' has 8 bytes, expected 8 bytes at offset 2
!n = !qc.weight<4, #qc.float<f16>>
qc.weight @n : !n = [#qc.external<"inf.bin", 2, 8>]
func.func @f() -> tensor<4xf32> {
  %n = qc.get_weight @n : !n
  %d = qc.dequantize %n : !n -> tensor<4xf32>
  return %d : tensor<4xf32>
}

//--- huge.mlir
// offset + length overflows.
// CHECK: error: weight @n: component 'data': 'inf.bin' has 8 bytes, expected 8 bytes at offset 9223372036854775807
!n = !qc.weight<4, #qc.float<f16>>
qc.weight @n : !n = [#qc.external<"inf.bin", 9223372036854775807, 8>]
func.func @f() -> tensor<4xf32> {
  %n = qc.get_weight @n : !n
  %d = qc.dequantize %n : !n -> tensor<4xf32>
  return %d : tensor<4xf32>
}

//--- quantize.mlir
// CHECK: error: qc.quantize must be folded before qc-pack-weights
!w = !qc.weight<2x4, #qc.float<f32>>
func.func @f(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>) -> tensor<?x2xf32> {
  %w = qc.quantize %d : tensor<2x4xf32> -> !w
  %y = qc.matmul %x, [%w] : (tensor<?x4xf32>, !w) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

//--- packed.mlir
// CHECK: error: weight @w is packed for 8 rows, expected 16 or not packed
!w = !qc.weight<2x4, #qc.float<f32>, packed<8>>
qc.weight @w : !w = [#qc.external<"nan.bin", 0, 128>]
func.func @f(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = qc.get_weight @w : !w
  %y = qc.matmul %x, [%w] : (tensor<?x4xf32>, !w) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

//--- large.mlir
// CHECK: error: weight @w: cannot write 'w.bin': File too large
!w = !qc.weight<1024x1024, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"zero.bin", 0, 4194304>]
func.func @f(%x: tensor<?x1024xf32>) -> tensor<?x1024xf32> {
  %w = qc.get_weight @w : !w
  %y = qc.matmul %x, [%w] : (tensor<?x1024xf32>, !w) -> tensor<?x1024xf32>
  return %y : tensor<?x1024xf32>
}

//--- long.mlir
// A row block would not fit in memory.
// CHECK: error: weight @w has 2147483648 inputs, too many for a block of 16 rows
!w = !qc.weight<1x2147483648, #qc.float<f32>>
qc.weight @w : !w = [#qc.external<"nan.bin", 0, 8589934592>]
func.func @f(%x: tensor<?x2147483648xf32>) -> tensor<?x1xf32> {
  %w = qc.get_weight @w : !w
  %y = qc.matmul %x, [%w] : (tensor<?x2147483648xf32>, !w) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
