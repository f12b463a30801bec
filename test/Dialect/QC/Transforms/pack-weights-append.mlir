// The CPU's half of a model over two devices: @codes is its own, @table is the
// GPU's, too, and was packed for that one in w.bin.
// RUN: rm -rf %t && split-file %s %t && cd %t
// RUN: %python %S/Inputs/weights.py write %t
// RUN: qc-opt gpu.mlir --qc-pack-weights="rows=8 alignment=256 output=w.bin" | FileCheck gpu.mlir
// RUN: qc-opt cpu.mlir --qc-pack-weights="rows=4 output=both.bin append=w.bin" | FileCheck cpu.mlir
// RUN: tail -c +4097 both.bin | cmp - w.bin
// RUN: head -c 128 both.bin > codes.bin
// RUN: qc-opt codes.mlir --qc-pack-weights="rows=4 output=alone.bin" -o /dev/null
// RUN: cmp codes.bin alone.bin

// RUN: not qc-opt cpu.mlir --qc-pack-weights="rows=4 output=x.bin append=gone.bin" 2>&1 | FileCheck cpu.mlir --check-prefix=GONE
// RUN: not qc-opt short.mlir --qc-pack-weights="rows=4 output=x.bin append=w.bin" 2>&1 | FileCheck short.mlir
// RUN: not ls x.bin

//--- gpu.mlir
// CHECK: qc.weights = {bytes = 256 : i64, file = "w.bin"}
// CHECK: qc.weight @table : !qc.weight<5x3, #qc.float<f32>, packed<8>> = [#qc.external<"w.bin", 0, 128>]
!table = !qc.weight<5x3, #qc.float<f32>>
qc.weight @table : !table = [#qc.external<"a.bin", 3, 60>]
func.func @decode(%x: tensor<?x3xf32>) -> tensor<?x5xf32> {
  %t = qc.get_weight @table : !table
  %y = qc.matmul %x, [%t] : (tensor<?x3xf32>, !table) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

//--- cpu.mlir
// CHECK: qc.weights = {appended = 4096 : i64, bytes = 4352 : i64, file = "both.bin"}
// CHECK: qc.weight @codes : !qc.weight<7x6, #qc.grouped<{{.*}}>, packed<4>> = [#qc.external<"both.bin", 0, 128>]
// CHECK: qc.weight @table : !qc.weight<5x3, #qc.float<f32>, packed<8>> = [#qc.external<"both.bin", 4096, 128>]
// CHECK: qc.get_weight @table : <5x3, #qc.float<f32>, packed<8>>
// GONE: error: cannot read 'gone.bin': No such file or directory
!codes = !qc.weight<7x6, #qc.grouped<bits = 4, group = 4, scale = f16, zero = int>>
!table = !qc.weight<5x3, #qc.float<f32>, packed<8>>
qc.weight @codes : !codes = [#qc.external<"b.bin", 3, 21>, #qc.external<"b.bin", 24, 28>, #qc.external<"b.bin", 52, 14>]
qc.weight @table : !table = [#qc.external<"w.bin", 0, 128>]
func.func @decode(%ids: tensor<1xi32>, %x: tensor<?x6xf32>) -> (tensor<1x3xf32>, tensor<?x7xf32>) {
  %w = qc.get_weight @codes : !codes
  %t = qc.get_weight @table : !table
  %e = qc.embedding %ids, %t : (tensor<1xi32>, !table) -> tensor<1x3xf32>
  %y = qc.matmul %x, [%w] : (tensor<?x6xf32>, !codes) -> tensor<?x7xf32>
  return %e, %y : tensor<1x3xf32>, tensor<?x7xf32>
}

//--- codes.mlir
!codes = !qc.weight<7x6, #qc.grouped<bits = 4, group = 4, scale = f16, zero = int>>
qc.weight @codes : !codes = [#qc.external<"b.bin", 3, 21>, #qc.external<"b.bin", 24, 28>, #qc.external<"b.bin", 52, 14>]
func.func @decode(%x: tensor<?x6xf32>) -> tensor<?x7xf32> {
  %w = qc.get_weight @codes : !codes
  %y = qc.matmul %x, [%w] : (tensor<?x6xf32>, !codes) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}

//--- short.mlir
// CHECK: error: weight @table is not packed in the file to append, 'w.bin'
!table = !qc.weight<5x3, #qc.float<f32>, packed<8>>
qc.weight @table : !table = [#qc.external<"w.bin", 192, 128>]
func.func @decode(%ids: tensor<1xi32>) -> tensor<1x3xf32> {
  %t = qc.get_weight @table : !table
  %e = qc.embedding %ids, %t : (tensor<1xi32>, !table) -> tensor<1x3xf32>
  return %e : tensor<1x3xf32>
}
