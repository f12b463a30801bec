// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=nvvm wide-loads warp-size=32 tensor-cores" -o %t
// RUN: FileCheck %s < %t
// RUN: qc-opt %t --qc-gpu-kernels-to-nvvm | FileCheck %s --check-prefix=NVVM
// RUN: sed 's/x32xf16>/x32xi8>/g' %s | qc-opt --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=nvvm wide-loads warp-size=32 tensor-cores" | FileCheck %s --check-prefix=I8
// RUN: sed 's/x32xf16>/x32xf32>/g' %s | qc-opt --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=nvvm wide-loads warp-size=32 tensor-cores" | FileCheck %s --check-prefix=NONE
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=16 integer-dot=nvvm wide-loads warp-size=32 tensor-cores" | FileCheck %s --check-prefix=NONE
// RUN: qc-opt %s --qc-lower-to-gpu-kernels="max-tokens=100 integer-dot=nvvm wide-loads warp-size=32 tensor-cores reproducible" | FileCheck %s --check-prefix=NONE

// Workgroups of 64 tokens; a cache of f32, steps of few tokens and reproducible
// mode have one a token.
// CHECK: grid = array<i32: 4, 0, 1, 64, 1, 0>, kernel = "[[NAME:attention_4_2x32f16_window80_3e4ccccd_mma]]"}
// I8:    grid = array<i32: 4, 0, 1, 64, 1, 0>, kernel = "attention_4_2x32i8_window80_3e4ccccd_mma"}
// NONE:  grid = array<i32: 4, 0, 1, 1, 1, 0>, kernel = "attention_4_2x32{{f16|f32}}_window80_3e4ccccd"}

// Blocks of 64 positions whose begin some tokens do not see; blocks that all
// see; the last ones. Eight products of 8 positions have two steps of 16
// dimensions; four products of 8 dimensions have four steps of 16 positions.
// CHECK:          gpu.func @[[NAME]](
// CHECK:            memref.alloc() {alignment = 16 : i64} : memref<5120xi8, #gpu.address_space<workgroup>>
// CHECK:            memref.alloc() {alignment = 16 : i64} : memref<1024xi32, #gpu.address_space<workgroup>>
// CHECK:            nvgpu.device_async_copy
// CHECK:            scf.for
// CHECK:              gpu.barrier
// CHECK:              nvgpu.device_async_copy %arg2[
// CHECK-COUNT-16:     nvvm.mma.sync
// CHECK-NOT:          nvvm.mma.sync
// CHECK:              nvvm.cp.async.wait.group 0
// CHECK:              gpu.barrier
// CHECK:              nvgpu.device_async_copy %arg2[
// CHECK:              arith.select %{{.*}}, %{{.*}}, %{{.*}} : f32
// CHECK:              math.exp2
// CHECK:              nvgpu.ldmatrix %{{.*}} {numTiles = 4 : i32, transpose = true} : memref<2560xf16, #gpu.address_space<workgroup>> -> vector<4x2xf16>
// CHECK-COUNT-16:     nvvm.mma.sync
// CHECK-NOT:          nvvm.mma.sync
// CHECK:            scf.for
// CHECK-COUNT-16:     nvvm.mma.sync
// CHECK-NOT:          arith.select %{{.*}}, %{{.*}}, %{{.*}} : f32
// CHECK-COUNT-16:     nvvm.mma.sync
// CHECK:            scf.for
// CHECK:              arith.select %{{.*}}, %{{.*}}, %{{.*}} : f32

// NVVM-LABEL: llvm.func @attention_4_2x32f16_window80_3e4ccccd_mma(
// NVVM:         nvvm.cp.async.shared.global
// NVVM:         nvvm.mma.sync A[{{.*}}] B[{{.*}}] C[{{.*}}] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
// NVVM:         llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"
// NVVM:         nvvm.ldmatrix %{{.*}} {{.*}}layout = #nvvm.mma_layout<col>{{.*}} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>

// Codes become f16 on their way through registers.
// I8: gpu.func @attention_4_2x32i8_window80_3e4ccccd_mma(
// I8:   arith.truncf %{{.*}} : vector<2xf32> to vector<2xf16>
// I8:   vector.store %{{.*}} : memref<1024xi32, #gpu.address_space<workgroup>>, vector<4xi32>

// NONE-NOT: _mma

!q = !qc.weight<4x128, #qc.float<f32>, packed<32>>
!k = !qc.weight<4x64, #qc.float<f32>, packed<32>>
qc.weight @q : !q = [#qc.external<"b", 0, 16384>]
qc.weight @k : !k = [#qc.external<"b", 16384, 8192>]
func.func @score(%ids: tensor<?xi32>, %p: index, %c: !lm.kv_cache<1x2x32xf16>) -> tensor<?x4xf32> {
  %wq = qc.get_weight @q : !q
  %wk = qc.get_weight @k : !k
  %q = qc.embedding %ids, %wq : (tensor<?xi32>, !q) -> tensor<?x128xf32>
  %k = qc.embedding %ids, %wk : (tensor<?xi32>, !k) -> tensor<?x64xf32>
  %layer = lm.cache_layer %c[0] : <1x2x32xf16> -> <2x32xf16>
  %a = lm.attention %q, %k, %k, %layer at %p scale 0.2 window 80 : tensor<?x128xf32>, tensor<?x64xf32>, <2x32xf16> -> tensor<?x128xf32>
  %y = qc.matmul %a, [%wq] : (tensor<?x128xf32>, !q) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
