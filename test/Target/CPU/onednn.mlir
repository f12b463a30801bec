// RUN: qc-opt %s --qc-lower-to-cpu-kernels="mcpu=x86-64-v4 prefill-backend=onednn" | FileCheck %s
// RUN: qc-opt %s --qc-lower-to-cpu-kernels=mcpu=x86-64-v4 | FileCheck %s --check-prefix=NONE

// 128 and more tokens of f32 weights go to the runtime; what it declines, and
// everything else, to the generated kernel. 21 rows: the last block is ragged.

// CHECK-LABEL: func.func private @fused_21x32_float_f32_f32_onednn(
// CHECK:         %[[MANY:.*]] = arith.cmpi sge, %{{.*}}, %c128
// CHECK:         %[[DID:.*]] = scf.if %[[MANY]] -> (i1) {
// CHECK:           memref.extract_aligned_pointer_as_index
// CHECK:           call @qc_onednn_matmul_f32(
// CHECK:         } else {
// CHECK-NEXT:      scf.yield %false
// CHECK:         scf.if
// CHECK-NEXT:      func.call @matmul_21x32_float_f32_f32(

// f16 weights and 24 inputs are not laid out as oneDNN's.
// CHECK-LABEL: func.func private @f(
// CHECK:         call @fused_21x32_float_f32_f32_onednn(
// CHECK:         call @fused_21x32_float_f16_f32(
// CHECK:         call @fused_21x24_float_f32_f32(

// NONE-NOT: onednn

qc.weight @a : !qc.weight<21x32, #qc.float<f32>, packed<16>> = [#qc.external<"b", 0, 4096>]
qc.weight @b : !qc.weight<21x32, #qc.float<f16>, packed<16>> = [#qc.external<"b", 4096, 2048>]
qc.weight @c : !qc.weight<21x24, #qc.float<f32>, packed<16>> = [#qc.external<"b", 8192, 3072>]

func.func @f(%x: tensor<?x32xf32>, %z: tensor<?x24xf32>) -> (tensor<?x21xf32>, tensor<?x21xf32>, tensor<?x21xf32>) {
  %a = qc.get_weight @a : !qc.weight<21x32, #qc.float<f32>, packed<16>>
  %b = qc.get_weight @b : !qc.weight<21x32, #qc.float<f16>, packed<16>>
  %c = qc.get_weight @c : !qc.weight<21x24, #qc.float<f32>, packed<16>>
  %0 = qc.matmul %x, [%a] : (tensor<?x32xf32>, !qc.weight<21x32, #qc.float<f32>, packed<16>>) -> tensor<?x21xf32>
  %1 = qc.matmul %x, [%b] : (tensor<?x32xf32>, !qc.weight<21x32, #qc.float<f16>, packed<16>>) -> tensor<?x21xf32>
  %2 = qc.matmul %z, [%c] : (tensor<?x24xf32>, !qc.weight<21x24, #qc.float<f32>, packed<16>>) -> tensor<?x21xf32>
  return %0, %1, %2 : tensor<?x21xf32>, tensor<?x21xf32>, tensor<?x21xf32>
}
