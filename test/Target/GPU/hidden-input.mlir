// RUN: qc-opt %s --qc-lower-to-gpu-kernels=max-tokens=70 | FileCheck %s
// RUN: sed 's/, %h: tensor<?x8xf32>/, %h: index/; s/tensor.cast %h : tensor<?x8xf32> to tensor/arith.constant dense<0.0> : tensor/' %s | not qc-opt --qc-lower-to-gpu-kernels 2>&1 | FileCheck %s --check-prefix=BAD

// The half of a model behind lm-place-layers begins with hidden states that the
// host writes: 128 rows of 8. A greedy step cannot follow by itself.
// CHECK-LABEL: module
// CHECK-SAME:  input_columns = 8 : i64
// CHECK-SAME:  steps = {decode = [{buffers = {{\[\[}}"weights", "read", {{[^]]*}}], ["input", "read", array<i64: 0, 0, 4096, 0>], ["logits", "write",
// CHECK-SAME:  decode_top = [
// CHECK-NOT:   decode_greedy
// BAD: expected (tensor<?xi32>, index, !lm.kv_cache<...>[, tensor<?xHxf32>]) -> tensor<?xVxf32>
!e = !qc.weight<100x8, #qc.float<f32>, packed<32>>
qc.weight @e : !e = [#qc.external<"b", 0, 4096>]
func.func @decode(%ids: tensor<1xi32>, %pos: index, %cache: !lm.kv_cache<1x1x8xf16>, %h: tensor<?x8xf32>) -> tensor<1x100xf32> {
  %e = qc.get_weight @e : !e
  %x = tensor.cast %h : tensor<?x8xf32> to tensor<1x8xf32>
  %l = qc.matmul %x, [%e] : (tensor<1x8xf32>, !e) -> tensor<1x100xf32>
  return %l : tensor<1x100xf32>
}
