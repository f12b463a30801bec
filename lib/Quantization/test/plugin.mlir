// The plugin in examples/out-of-tree-quantizer builds by its own CMake file and
// runs in qc-opt.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: cmake -G Ninja -S %examples/out-of-tree-quantizer -B build -DCMAKE_CXX_COMPILER=clang++-22 -DCMAKE_C_COMPILER=clang-22 -DCMAKE_BUILD_TYPE=Debug -DQC_SOURCE_DIR=%root -DQC_BUILD_DIR=%build > log
// RUN: cmake --build build >> log
// RUN: %python -c "import array; open('weights.bin', 'wb').write(array.array('f', [1, -2, 3, 4, -5, -6, 0, 1]).tobytes())"
// RUN: qc-opt %s --load-pass-plugin=build/SignQuantizer.so --pass-pipeline="builtin.module(quantize-sign{report=true output-dir=s})" 2> err | FileCheck %s
// RUN: FileCheck %s --check-prefix=REPORT < err
// RUN: %python -c "import glob, struct; d = open(glob.glob('s/*')[0], 'rb').read(); s = d[8 + struct.unpack('<Q', d[:8])[0]:]; print(struct.unpack('<d2f2B', s))" | FileCheck %s --check-prefix=STORE
//
// CHECK: qc.weight @w : !qc.weight<2x4, #qc.grouped<bits = 1, group = channel, scale = f32>>
// CHECK-SAME: 2>, {{.*}} 8>]
// REPORT: remark: quantized to grouped<bits = 1, group = channel, scale = f32>, 10.000 bits per weight, relative error 0.5805
//
// Row means 2.5 and 3; signs + - + + and - - + +, first in the lowest bit.
// STORE: (0.5804{{[0-9]*}}, 2.5, 3.0, 13, 12)

module @plugin {
  qc.weight @w : !qc.weight<2x4, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 32>]
  func.func @f(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
    %w = qc.get_weight @w : !qc.weight<2x4, #qc.float<f32>>
    %d = qc.dequantize %w : !qc.weight<2x4, #qc.float<f32>> -> tensor<2x4xf32>
    %y = lm.linear %x, %d : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  }
}
