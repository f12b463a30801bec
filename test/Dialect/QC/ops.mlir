// RUN: qc-opt %s | qc-opt | FileCheck %s
// RUN: qc-opt %s --mlir-print-op-generic | qc-opt | FileCheck %s

!w = !qc.weight<6x5, #qc.grouped<bits = 3, group = 4, scale = f16, zero = int>>
!v = !qc.weight<6x5, #qc.float<f32>>
!p = !qc.weight<6x5, #qc.float<f32>, packed<4>>
!b = !qc.weight<6, #qc.float<f32>>

// CHECK: qc.weight @w : !qc.weight<6x5, {{.*}}> = [#qc.external<"w", 0, 12>, #qc.external<"w", 12, 24>, #qc.external<"w", 36, 12>]
qc.weight @w : !w = [#qc.external<"w", 0, 12>, #qc.external<"w", 12, 24>, #qc.external<"w", 36, 12>]
// A packed weight has its blob as only component: 2 row blocks of 80 bytes,
// padded to 64.
// CHECK: qc.weight @p : !qc.weight<6x5, #qc.float<f32>, packed<4>> = [#qc.external<"w", 64, 256>]
qc.weight @p : !p = [#qc.external<"w", 64, 256>]
// CHECK: qc.weight @"a name/with.signs" : !qc.weight<6, #qc.float<f32>>
qc.weight @"a name/with.signs" : !b = [#qc.external<"w", 0, 24>]

// CHECK-LABEL: @conversions
// CHECK-NEXT: %[[W:.*]] = qc.get_weight @w : {{.*}}<6x5, #qc.grouped<bits = 3, group = 4, scale = f16, zero = int>>
// CHECK-NEXT: %[[D:.*]] = qc.dequantize %[[W]] : {{.*}}<6x5, {{.*}}> -> tensor<6x5xf32>
// CHECK-NEXT: qc.quantize %[[D]] : tensor<6x5xf32> -> {{.*}}<6x5, #qc.float<f32>>
func.func @conversions() -> !v {
  %w = qc.get_weight @w : !w
  %d = qc.dequantize %w : !w -> tensor<6x5xf32>
  %q = qc.quantize %d : tensor<6x5xf32> -> !v
  return %q : !v
}

// CHECK-LABEL: @matmuls
// CHECK-SAME: %[[X:.*]]: tensor<?x5xf32>, %[[W:.*]]: !qc.weight<6x5, {{.*}}>, %[[V:.*]]: !qc.weight<6x5, #qc.float<f32>>, %[[B:.*]]: tensor<6xf32>, %[[R:.*]]: tensor<?x6xf32>)
func.func @matmuls(%x: tensor<?x5xf32>, %w: !w, %v: !v, %b: tensor<6xf32>, %r: tensor<?x6xf32>) {
  // CHECK: qc.matmul %[[X]], [%[[W]]] : (tensor<?x5xf32>, !qc.weight<{{.*}}>) -> tensor<?x6xf32>
  %0 = qc.matmul %x, [%w] : (tensor<?x5xf32>, !w) -> tensor<?x6xf32>
  // CHECK: qc.matmul %[[X]], [%[[W]]] bias(%[[B]]) residual(%[[R]]) arithmetic(<int8>) :
  %1 = qc.matmul %x, [%w] bias(%b) residual(%r) arithmetic(<int8>) : (tensor<?x5xf32>, !w, tensor<6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  // CHECK: %{{.*}}:3 = qc.matmul %[[X]], [%[[W]], %[[W]], %[[W]]] bias(%[[B]], %[[B]], %[[B]]) :
  %2:3 = qc.matmul %x, [%w, %w, %w] bias(%b, %b, %b) : (tensor<?x5xf32>, !w, !w, !w, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x6xf32>)
  // CHECK: qc.matmul %[[X]], [%[[V]], %[[V]]] gate(<gelu_tanh>) arithmetic(<f32>) :
  %3 = qc.matmul %x, [%v, %v] gate(<gelu_tanh>) arithmetic(<f32>) : (tensor<?x5xf32>, !v, !v) -> tensor<?x6xf32>
  // CHECK: qc.matmul %[[X]], [%[[V]], %[[V]]] bias(%[[B]], %[[B]]) gate(<silu>) {note = "kept"} :
  %4 = qc.matmul %x, [%v, %v] bias(%b, %b) gate(<silu>) {note = "kept"} : (tensor<?x5xf32>, !v, !v, tensor<6xf32>, tensor<6xf32>) -> tensor<?x6xf32>
  return
}

// CHECK-LABEL: @lookUp
// CHECK: qc.embedding %{{.*}}, %{{.*}} : (tensor<?xi32>, {{.*}}<6x5, #qc.float<f32>, packed<4>>) -> tensor<?x5xf32>
func.func @lookUp(%ids: tensor<?xi32>) -> tensor<?x5xf32> {
  %p = qc.get_weight @p : !p
  %e = qc.embedding %ids, %p : (tensor<?xi32>, !p) -> tensor<?x5xf32>
  return %e : tensor<?x5xf32>
}
