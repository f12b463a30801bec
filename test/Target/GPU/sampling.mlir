// RUN: qc-opt %s --qc-lower-to-gpu-kernels | FileCheck %s
// RUN: sed 's/70000/64/g; s/2240512/2048/' %s | qc-opt --qc-lower-to-gpu-kernels | FileCheck %s --check-prefix=SMALL

// 70000 logits: 69 sorts, 5 of their best, 1 of theirs. decode_greedy goes on to
// the next step's token.
// CHECK-LABEL: module
// CHECK-SAME:  decode_greedy = [
// CHECK-SAME:  grid = array<i32: 69, 0, 1, 0, 1, 0>, kernel = "top_70000"}
// CHECK-SAME:  grid = array<i32: 5, 0, 1, 0, 1, 0>, kernel = "merge_top_69"}
// CHECK-SAME:  {barrier, buffers = {{\[\[}}"arena", "read", {{[^]]*}}], ["top", "write", array<i64: 0, 0, 512, 0>]], grid = array<i32: 1, 0, 1, 0, 1, 0>, kernel = "merge_top_5"}
// CHECK-SAME:  {barrier, buffers = {{\[\[}}"top", "read", {{[^]]*}}], ["state", "write", {{[^]]*}}]], {{[^}]*}}, kernel = "advance"}]
// CHECK-SAME:  decode_top = [
// CHECK-SAME:  kernel = "merge_top_5"}]
// CHECK:       gpu.func @top_70000(%{{.*}}: memref<?xf32>, %{{.*}}: memref<?xi32>)
// CHECK:         memref.alloc() : memref<1024xi32, #gpu.address_space<workgroup>>
// CHECK-COUNT-2: scf.for
// CHECK:         gpu.barrier
// CHECK:       gpu.func @merge_top_69(
// CHECK:       gpu.func @advance(

// Not more tokens than candidates: their logits are as few.
// SMALL-NOT: decode_top
// SMALL-NOT: decode_greedy
!e = !qc.weight<70000x8, #qc.float<f32>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 2240512>]
func.func @decode(%ids: tensor<1xi32>, %pos: index, %cache: !lm.kv_cache<1x1x8xf16>) -> tensor<1x70000xf32> {
  %e = qc.get_weight @e : !e
  %x = qc.embedding %ids, %e : (tensor<1xi32>, !e) -> tensor<1x8xf32>
  %l = qc.matmul %x, [%e] : (tensor<1x8xf32>, !e) -> tensor<1x70000xf32>
  return %l : tensor<1x70000xf32>
}
