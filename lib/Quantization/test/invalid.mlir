// Bad input: one line that says what, where, and what was expected, and no
// file left behind.
//
// RUN: rm -rf %t %t-again && mkdir %t %t-again && cd %t
// RUN: %python %S/Inputs/write_floats.py weights.bin 3480
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="include=( output-dir=o" 2>&1 | FileCheck %s --check-prefix=REGEX
// REGEX: error: option include: '(' is not a regular expression: parentheses not balanced
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="targets=heads output-dir=o" 2>&1 | FileCheck %s --check-prefix=TARGETS
// TARGETS: error: option targets: unknown value 'heads', expected linear or all
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="include=head output-dir=o" 2>&1 | FileCheck %s --check-prefix=NOTHING
// NOTHING: warning: nothing to quantize: of the weights that match 'include' (1), none is a float matrix of linear layers only
// RUN: qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="output-dir=%t-again" --qc-quantize-rtn="bits=8 output-dir=%t-again" 2>&1 | FileCheck %s --check-prefix=AGAIN
// AGAIN: warning: nothing to quantize: of the module's weights (5), none is a float matrix of linear layers only
//
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="bits=9 output-dir=o" 2>&1 | FileCheck %s --check-prefix=BITS
// BITS: error: cannot quantize 'layers.0.up': format 'grouped<bits = 9, group = 64, scale = f16>': bits must lie in [1, 8], found 9
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="group-size=-2 output-dir=o" 2>&1 | FileCheck %s --check-prefix=GROUP
// GROUP: error: cannot quantize 'layers.0.up': {{.*}}: group must lie in {{.*}}, found -2
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="zero=f16 output-dir=o" 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: option zero: zero points need symmetric=false
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="scale=f8 output-dir=o" 2>&1 | FileCheck %s --check-prefix=SCALE
// SCALE: {{.*}}Cannot find option named 'f8'
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-nf4="scale=f16 output-dir=o" 2>&1 | FileCheck %s --check-prefix=DOUBLE
// DOUBLE: error: cannot quantize 'layers.0.up': {{.*}}double_quant
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-aqlm="iterations=0 output-dir=o" 2>&1 | FileCheck %s --check-prefix=ITERATIONS
// ITERATIONS: error: option iterations: expected at least 1, found 0
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="clip-steps=100 output-dir=o" 2>&1 | FileCheck %s --check-prefix=CLIP
// CLIP: error: option clip-steps: expected 0 to 99, found 100
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-nf4="double-quant-block=0 output-dir=o" 2>&1 | FileCheck %s --check-prefix=BLOCK
// BLOCK: error: option double-quant-block: expected a positive number, found 0
//
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="output-dir=weights.bin" 2>&1 | FileCheck %s --check-prefix=FOLDER
// FOLDER: error: cannot write '{{.*}}weights.bin/tiny-rtn-{{.*}}': Not a directory
// RUN: not bash -c "ulimit -f 1; exec qc-opt %S/Inputs/model.mlir --qc-quantize-rtn=output-dir=o" 2>&1 | FileCheck %s --check-prefix=LIMIT
// LIMIT: error: cannot write '{{.*}}o/tiny-rtn-{{.*}}': File too large (it needs {{[0-9]+}} bytes)
//
// NaN and infinity: weight and place. up begins at 768, row 1, column 2 is 26.
// RUN: %python %S/Inputs/write_floats.py weights.bin 3480 794=nan
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="output-dir=o" 2>&1 | FileCheck %s --check-prefix=NAN
// NAN: error: weight 'layers.0.up': is NaN at [1, 2] in 'weights.bin', expected finite numbers
// RUN: %python %S/Inputs/write_floats.py weights.bin 3480 1728=-inf
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-nf4="output-dir=o" 2>&1 | FileCheck %s --check-prefix=INF
// INF: error: weight 'layers.0.down': is infinite at [0, 0] in 'weights.bin', expected finite numbers
//
// A number beyond f16's range as scale.
// RUN: %python %S/Inputs/write_floats.py weights.bin 3480 768=1e30
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="output-dir=o" 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: error: weight 'layers.0.up': row 0, group 0: the scale does not fit its type, use scale = f32
//
// RUN: %python %S/Inputs/write_floats.py weights.bin 1000
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="output-dir=o" 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: error: weight 'layers.0.up': 'weights.bin' has 4000 bytes, expected 3840 at offset 3072
// RUN: rm weights.bin
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="output-dir=o" 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: weight 'layers.0.up': cannot read 'weights.bin': No such file or directory
// RUN: mkdir weights.bin
// RUN: not qc-opt %S/Inputs/model.mlir --qc-quantize-rtn="output-dir=o" 2>&1 | FileCheck %s --check-prefix=KIND
// KIND: error: weight 'layers.0.up': cannot read 'weights.bin': not a regular file
//
// RUN: ls o | count 0
