// RUN: qc-opt %s --lm-select-kv-cache=type=f16 | FileCheck %s --check-prefix=F16
// RUN: qc-opt %s --lm-select-kv-cache=type=f16 --lm-select-kv-cache=type=f32 | FileCheck %s --check-prefix=F32
// RUN: not qc-opt %s --lm-select-kv-cache=type=int8 2>&1 | FileCheck %s --check-prefix=BAD

// BAD: error: unknown KV cache type 'int8', expected f32, f16 or i8

// F16-LABEL: @layer
// F16-SAME: !lm.kv_cache<2x4xf16>
// F16: lm.attention {{.*}}<2x4xf16> ->
// F16-LABEL: @decode
// F16-SAME: !lm.kv_cache<3x2x4xf16>
// F16: lm.cache_layer {{.*}}<3x2x4xf16> -> {{.*}}<2x4xf16>
// F16: call @layer({{.*}}!lm.kv_cache<2x4xf16>
// F32-NOT: f16
// F32: !lm.kv_cache<2x4xf32>

func.func private @layer(%q: tensor<?x8xf32>, %cache: !lm.kv_cache<2x4xf32>, %pos: index) -> tensor<?x8xf32> {
  %a = lm.attention %q, %q, %q, %cache at %pos scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>, !lm.kv_cache<2x4xf32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}
func.func @decode(%q: tensor<?x8xf32>, %cache: !lm.kv_cache<3x2x4xf32>, %pos: index) -> tensor<?x8xf32> {
  %c = lm.cache_layer %cache[1] : !lm.kv_cache<3x2x4xf32> -> !lm.kv_cache<2x4xf32>
  %a = call @layer(%q, %c, %pos) : (tensor<?x8xf32>, !lm.kv_cache<2x4xf32>, index) -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}
