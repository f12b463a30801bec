// One file, several modules, each with its own diagnostics.
// RUN: qc-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{which is not a qc.weight}}
%w = qc.get_weight @nowhere : !qc.weight<4x4, #qc.float<f32>>

// -----

qc.weight @here : !qc.weight<4x4, #qc.float<f32>> = [#qc.external<"f", 0, 64>]
%w = qc.get_weight @here : !qc.weight<4x4, #qc.float<f32>>
