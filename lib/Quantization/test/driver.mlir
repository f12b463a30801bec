// What the driver does for every method, shown with RTN.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %S/Inputs/write_floats.py weights.bin 3480
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="bits=4 group-size=16 output-dir=a" | FileCheck %s
// RUN: ls a | FileCheck %s --check-prefix=FILES
//
// Linear layers only by default; the rest keeps its floats.
// CHECK:      qc.weight @embed : !qc.weight<32x24, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 3072>]
// CHECK-NEXT: qc.weight @layers.0.up : !qc.weight<40x24, #qc.grouped<bits = 4, group = 16, scale = f16>>
// CHECK-SAME: = [#qc.external<"[[STORE:/.*/a/tiny-rtn-[0-9a-f]+.safetensors]]", {{[0-9]+}}, 480>, #qc.external<"[[STORE]]", {{[0-9]+}}, 160>]
// CHECK-SAME: {qc.error = 6.0{{[0-9]*}}e-02 : f64}
// CHECK-NEXT: qc.weight @layers.0.down : !qc.weight<24x40, #qc.grouped<bits = 4, group = 16, scale = f16>>
// CHECK-NEXT: qc.weight @norm : !qc.weight<24, #qc.float<f32>>
// CHECK-NEXT: qc.weight @head : !qc.weight<32x24, #qc.float<f32>>
// References follow, dense results stay.
// CHECK: qc.get_weight @layers.0.up : <40x24, #qc.grouped<bits = 4, group = 16, scale = f16>>
// CHECK: qc.dequantize {{.*}} -> tensor<40x24xf32>
//
// One complete file and nothing else.
// FILES: tiny-rtn-{{[0-9a-f]+}}.safetensors
// FILES-NOT: {{.}}
//
// targets=all also takes embedding and head; include and exclude look at names.
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="targets=all exclude=^layers output-dir=b" | FileCheck %s --check-prefix=ALL
// ALL: @embed : !qc.weight<32x24, #qc.grouped
// ALL: @layers.0.up : !qc.weight<40x24, #qc.float
// ALL: @layers.0.down : !qc.weight<24x40, #qc.float
// ALL: @head : !qc.weight<32x24, #qc.grouped
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="include=\.(up|gate)$ output-dir=c" | FileCheck %s --check-prefix=INCLUDE
// INCLUDE: @layers.0.up : !qc.weight<40x24, #qc.grouped
// INCLUDE: @layers.0.down : !qc.weight<24x40, #qc.float
//
// A second pass leaves what the first one quantized.
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-nf4="output-dir=d" --qc-quantize-llm-int8="targets=all output-dir=d" | FileCheck %s --check-prefix=TWICE
// TWICE: @embed : !qc.weight<32x24, #qc.grouped<bits = 8, group = channel, scale = f32>>
// TWICE: @layers.0.up : !qc.weight<40x24, #qc.lut<nf4
// TWICE: @layers.0.down : !qc.weight<24x40, #qc.lut<nf4
// TWICE: @head : !qc.weight<32x24, #qc.grouped<bits = 8
//
// The report.
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="bits=4 group-size=16 output-dir=a report=true" 2>&1 | FileCheck %s --check-prefix=REPORT
// REPORT: remark: quantized to grouped<bits = 4, group = 16, scale = f16>, 5.333 bits per weight, relative error 0.06
//
// Progress without a terminal only on demand; a store that exists is used again.
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="bits=3 output-dir=e" -o 1.mlir 2>&1 | count 0
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="bits=3 output-dir=e verbose=true" -o 2.mlir 2>&1 | count 0
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="bits=2 output-dir=e verbose=true" -o 3.mlir 2>&1 | count 2
// RUN: cmp 1.mlir 2.mlir
//
// A source that changed is not.
// RUN: %python %S/Inputs/write_floats.py weights.bin 3480 0=0.5
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="bits=3 output-dir=e verbose=true" -o 4.mlir 2>&1 | count 2
//
// Equal bytes from any number of threads.
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-aqlm="bits=4 threads=1 output-dir=t1" -o 5.mlir
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-aqlm="bits=4 threads=3 output-dir=t3" -o 6.mlir
// RUN: diff -r t1 t3
