// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %S/Inputs/weights.py write %t
// RUN: qc-opt %s --qc-pack-weights="rows=4 output=w.bin threads=2" -o packed.mlir
// RUN: FileCheck %s --input-file=packed.mlir
// RUN: %python %S/Inputs/weights.py check packed.mlir w.bin

// The same with one thread, and packing what is packed copies it.
// RUN: qc-opt %s --qc-pack-weights="rows=4 output=one.bin threads=1" -o /dev/null
// RUN: cmp w.bin one.bin
// RUN: qc-opt packed.mlir --qc-pack-weights="rows=4 output=again.bin" -o again.mlir
// RUN: cmp w.bin again.bin

// Nothing but the results is left in the folder.
// RUN: ls %t | count 7

// The table is looked up only and comes first; then the order of use in
// decode, through the call, whatever the order of the symbols.
// CHECK: qc.weight_stats = [{bytes = 128 : i64, count = 1 : i64, format = "float<f32>", parameters = 15 : i64}
// CHECK-SAME: {bytes = 12 : i64, count = 1 : i64, format = "float<bf16>", parameters = 3 : i64}
// CHECK-SAME: {bytes = 128 : i64, count = 1 : i64, format = "grouped<bits = 4, group = 4, scale = f16, zero = int>", parameters = 42 : i64}
// CHECK-SAME: qc.weights = {bytes = 320 : i64, file = "w.bin"}
// CHECK-NOT: @unused
// CHECK: qc.weight @codes : !qc.weight<7x6, #qc.grouped<{{.*}}>, packed<4>> = [#qc.external<"w.bin", 192, 128>]
// CHECK: qc.weight @norm : !qc.weight<3, #qc.float<f32>> = [#qc.external<"w.bin", 128, 12>]
// CHECK: qc.weight @table : !qc.weight<5x3, #qc.float<f32>, packed<4>> = [#qc.external<"w.bin", 0, 128>]
// CHECK: func.func private @layer({{.*}}: tensor<?x6xf32>, %{{.*}}: !qc.weight<7x6, #qc.grouped<{{.*}}>, packed<4>>)
// CHECK: qc.matmul {{.*}} : (tensor<?x6xf32>, !qc.weight<7x6, {{.*}}, packed<4>>)
// CHECK: qc.get_weight @norm : {{.*}}<3, #qc.float<f32>>
// CHECK: qc.dequantize %{{.*}} : {{.*}}<3, #qc.float<f32>> -> tensor<3xf32>
// CHECK: call @layer({{.*}}, !qc.weight<7x6, {{.*}}, packed<4>>)

!codes = !qc.weight<7x6, #qc.grouped<bits = 4, group = 4, scale = f16, zero = int>>
!norm = !qc.weight<3, #qc.float<bf16>>
!table = !qc.weight<5x3, #qc.float<f32>>
qc.weight @codes : !codes = [#qc.external<"b.bin", 3, 21>, #qc.external<"b.bin", 24, 28>, #qc.external<"b.bin", 52, 14>]
qc.weight @unused : !norm = [#qc.external<"nowhere.bin", 0, 6>]
qc.weight @norm : !norm = [#qc.external<"a.bin", 63, 6>]
qc.weight @table : !table = [#qc.external<"a.bin", 3, 60>]
func.func private @layer(%x: tensor<?x6xf32>, %w: !codes) -> tensor<?x7xf32> {
  %y = qc.matmul %x, [%w] : (tensor<?x6xf32>, !codes) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}
func.func @prefill(%x: tensor<?x6xf32>) -> tensor<?x7xf32> {
  %w = qc.get_weight @codes : !codes
  %y = call @layer(%x, %w) : (tensor<?x6xf32>, !codes) -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}
func.func @decode(%ids: tensor<1xi32>, %x: tensor<?x6xf32>) -> (tensor<1x3xf32>, tensor<?x7xf32>) {
  %w = qc.get_weight @codes : !codes
  %dead = qc.get_weight @unused : !norm
  %t = qc.get_weight @table : !table
  %n = qc.get_weight @norm : !norm
  %e = qc.embedding %ids, %t : (tensor<1xi32>, !table) -> tensor<1x3xf32>
  %d = qc.dequantize %n : !norm -> tensor<3xf32>
  %z = lm.rms_norm %e, %d eps 1.0e-5 : tensor<1x3xf32>, tensor<3xf32>
  %y = call @layer(%x, %w) : (tensor<?x6xf32>, !codes) -> tensor<?x7xf32>
  return %z, %y : tensor<1x3xf32>, tensor<?x7xf32>
}
