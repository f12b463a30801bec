// A second run finds nothing to do.
// RUN: qc-opt %S/fuse-dequant-matmul.mlir --split-input-file --qc-fuse-dequant-matmul -o %t.once
// RUN: qc-opt %t.once --split-input-file --qc-fuse-dequant-matmul -o %t.twice
// RUN: diff %t.once %t.twice
