// An embedding that is also the head, or a linear layer that shares its weight
// with one, is a matter of targets=all.
//
// RUN: rm -rf %t && mkdir %t && cd %t
// RUN: %python %S/Inputs/write_floats.py weights.bin 1024
// An odd offset: nothing promises alignment.
// RUN: %python -c "open('halves.bin', 'wb').write(bytes([7] + [0, 60] * 256))"
// RUN: qc-opt %s --qc-quantize-rtn="bits=8 output-dir=." | FileCheck %s --check-prefix=LINEAR
// RUN: qc-opt %s --qc-quantize-rtn="bits=8 targets=all output-dir=." | FileCheck %s --check-prefix=ALL
// LINEAR: qc.get_weight @twice : <16x16, #qc.grouped
// LINEAR: @tied : !qc.weight<16x16, #qc.float
// LINEAR: @shared : !qc.weight<16x16, #qc.float
// LINEAR: @twice : !qc.weight<16x16, #qc.grouped
// ALL: @tied : !qc.weight<16x16, #qc.grouped
// ALL: @shared : !qc.weight<16x16, #qc.grouped
//
// A weight with a use that is none of a transformer's stays as it is, and so
// does one without a use.
// LINEAR: @strange : !qc.weight<16x16, #qc.float
// LINEAR: qc.get_weight @twice : <16x16, #qc.grouped
// ALL: @strange : !qc.weight<16x16, #qc.float
// ALL: @unused : !qc.weight<16x16, #qc.float
// ALL-COUNT-2: qc.get_weight @tied : <16x16, #qc.grouped

module {
  func.func private @layer(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
    %t = qc.get_weight @twice : !qc.weight<16x16, #qc.float<f16>>
    %td = qc.dequantize %t : !qc.weight<16x16, #qc.float<f16>> -> tensor<16x16xf32>
    %y = lm.linear %x, %td : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
    return %y : tensor<?x16xf32>
  }
  qc.weight @tied : !qc.weight<16x16, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 1024>]
  qc.weight @shared : !qc.weight<16x16, #qc.float<f32>> = [#qc.external<"weights.bin", 1024, 1024>]
  qc.weight @twice : !qc.weight<16x16, #qc.float<f16>> = [#qc.external<"halves.bin", 1, 512>]
  qc.weight @strange : !qc.weight<16x16, #qc.float<f32>> = [#qc.external<"weights.bin", 3072, 1024>]
  qc.weight @unused : !qc.weight<16x16, #qc.float<f32>> = [#qc.external<"weights.bin", 3072, 1024>]
  func.func @f(%ids: tensor<?xi32>) -> (tensor<?x16xf32>, tensor<16x16xf32>) {
    %a = qc.get_weight @tied : !qc.weight<16x16, #qc.float<f32>>
    %ad = qc.dequantize %a : !qc.weight<16x16, #qc.float<f32>> -> tensor<16x16xf32>
    %x = lm.embedding %ids, %ad : (tensor<?xi32>, tensor<16x16xf32>) -> tensor<?x16xf32>
    %b = qc.get_weight @shared : !qc.weight<16x16, #qc.float<f32>>
    %bd = qc.dequantize %b : !qc.weight<16x16, #qc.float<f32>> -> tensor<16x16xf32>
    %y = lm.linear %x, %bd : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
    %z = lm.logits %y, %bd : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
    %t = qc.get_weight @twice : !qc.weight<16x16, #qc.float<f16>>
    %td = qc.dequantize %t : !qc.weight<16x16, #qc.float<f16>> -> tensor<16x16xf32>
    %u = lm.linear %z, %td : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
    %s = qc.get_weight @strange : !qc.weight<16x16, #qc.float<f32>>
    %sd = qc.dequantize %s : !qc.weight<16x16, #qc.float<f32>> -> tensor<16x16xf32>
    %c = qc.get_weight @tied : !qc.weight<16x16, #qc.float<f32>>
    %cd = qc.dequantize %c : !qc.weight<16x16, #qc.float<f32>> -> tensor<16x16xf32>
    %l = lm.logits %u, %cd : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
    return %l, %sd : tensor<?x16xf32>, tensor<16x16xf32>
  }
}
