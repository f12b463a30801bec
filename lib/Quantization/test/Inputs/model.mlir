// Two linear layers, a head and an embedding, f32 numbers in weights.bin.
module @tiny {
  qc.weight @embed : !qc.weight<32x24, #qc.float<f32>> = [#qc.external<"weights.bin", 0, 3072>]
  qc.weight @layers.0.up : !qc.weight<40x24, #qc.float<f32>> = [#qc.external<"weights.bin", 3072, 3840>]
  qc.weight @layers.0.down : !qc.weight<24x40, #qc.float<f32>> = [#qc.external<"weights.bin", 6912, 3840>]
  qc.weight @norm : !qc.weight<24, #qc.float<f32>> = [#qc.external<"weights.bin", 10752, 96>]
  qc.weight @head : !qc.weight<32x24, #qc.float<f32>> = [#qc.external<"weights.bin", 10848, 3072>]
  func.func @f(%ids: tensor<?xi32>) -> tensor<?x32xf32> {
    %e = qc.get_weight @embed : !qc.weight<32x24, #qc.float<f32>>
    %ed = qc.dequantize %e : !qc.weight<32x24, #qc.float<f32>> -> tensor<32x24xf32>
    %x = lm.embedding %ids, %ed : (tensor<?xi32>, tensor<32x24xf32>) -> tensor<?x24xf32>
    %g = qc.get_weight @norm : !qc.weight<24, #qc.float<f32>>
    %gd = qc.dequantize %g : !qc.weight<24, #qc.float<f32>> -> tensor<24xf32>
    %n = lm.rms_norm %x, %gd eps 1.0e-5 : tensor<?x24xf32>, tensor<24xf32>
    %u = qc.get_weight @layers.0.up : !qc.weight<40x24, #qc.float<f32>>
    %ud = qc.dequantize %u : !qc.weight<40x24, #qc.float<f32>> -> tensor<40x24xf32>
    %h = lm.linear %n, %ud : (tensor<?x24xf32>, tensor<40x24xf32>) -> tensor<?x40xf32>
    %d = qc.get_weight @layers.0.down : !qc.weight<24x40, #qc.float<f32>>
    %dd = qc.dequantize %d : !qc.weight<24x40, #qc.float<f32>> -> tensor<24x40xf32>
    %y = lm.linear %h, %dd : (tensor<?x40xf32>, tensor<24x40xf32>) -> tensor<?x24xf32>
    %w = qc.get_weight @head : !qc.weight<32x24, #qc.float<f32>>
    %wd = qc.dequantize %w : !qc.weight<32x24, #qc.float<f32>> -> tensor<32x24xf32>
    %l = lm.logits %y, %wd : (tensor<?x24xf32>, tensor<32x24xf32>) -> tensor<?x32xf32>
    return %l : tensor<?x32xf32>
  }
}
