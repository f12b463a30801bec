// RUN: qc-opt %s -verify-diagnostics -split-input-file

// weight C1: rank.
// expected-error @+1 {{weight must have rank 1 or 2, found rank 3}}
func.func private @f(!qc.weight<1x2x3, #qc.float<f32>>)

// -----

// weight C1: sizes.
// expected-error @+1 {{weight has a dimension of size 0, expected a positive size}}
func.func private @f(!qc.weight<0x3, #qc.float<f32>>)

// -----

// weight C2: more elements than the formats take.
// expected-error @+1 {{weight has shape [2147483648, 2147483648], expected positive sizes of at most 2^44 elements}}
func.func private @f(!qc.weight<2147483648x2147483648, #qc.grouped<bits = 4, group = 64, scale = f16>>)

// -----

// weight C3: a vector of integers.
// expected-error @+1 {{a weight of rank 1 must have a float format and no packing}}
func.func private @f(!qc.weight<8, #qc.grouped<bits = 4, group = 64, scale = f16>>)

// -----

// weight C3: a packed vector.
// expected-error @+1 {{a weight of rank 1 must have a float format and no packing}}
func.func private @f(!qc.weight<8, #qc.float<f32>, packed<16>>)

// -----

// expected-error @+1 {{packed rows must lie in [1, 256], found 257}}
func.func private @f(!qc.weight<8x8, #qc.float<f32>, packed<257>>)

// -----

// expected-error @+1 {{expected a weight format, found 4 : i64}}
func.func private @f(!qc.weight<8x8, 4>)

// -----

// expected-error @+1 {{float format must be f32, f16 or bf16, found}}
func.func private @f(!qc.weight<8x8, #qc.float<f64>>)

// -----

// expected-error @+1 {{bits must lie in [1, 8], found 0}}
func.func private @f(!qc.weight<8x8, #qc.grouped<bits = 0, group = 64, scale = f16>>)

// -----

// expected-error @+1 {{bits must lie in [1, 8], found 9}}
func.func private @f(!qc.weight<8x8, #qc.grouped<bits = 9, group = 64, scale = f16>>)

// -----

// expected-error @+1 {{group must be positive or 'channel', found -1}}
func.func private @f(!qc.weight<8x8, #qc.grouped<bits = 4, group = -1, scale = f16>>)

// -----

// expected-error @+1 {{scale must be f32, f16 or bf16, found}}
func.func private @f(!qc.weight<8x8, #qc.grouped<bits = 4, group = 64, scale = i8>>)

// -----

// expected-error @+1 {{zero must be int, f16 or f32, found 'bf16'}}
func.func private @f(!qc.weight<8x8, #qc.grouped<bits = 4, group = 64, scale = f16, zero = bf16>>)

// -----

// expected-error @+1 {{bits must lie in [1, 8], found 12}}
func.func private @f(!qc.weight<8x8, #qc.lut<bits = 12, group = 64, scale = f16>>)

// -----

// expected-error @+1 {{double_quant}}
func.func private @f(!qc.weight<8x8, #qc.lut<nf4, group = 64, scale = f16, double_quant = 256>>)

// -----

// expected-error @+1 {{books must lie in [1, 8], found 9}}
func.func private @f(!qc.weight<8x8, #qc.codebook<books = 9, bits = 8, vector = 8, scale = f16, entry = f16>>)

// -----

// expected-error @+1 {{bits must lie in [1, 16], found 17}}
func.func private @f(!qc.weight<8x8, #qc.codebook<books = 1, bits = 17, vector = 8, scale = f16, entry = f16>>)

// -----

// expected-error @+1 {{vector must lie in [1, 64], found 65}}
func.func private @f(!qc.weight<8x8, #qc.codebook<books = 1, bits = 8, vector = 65, scale = f16, entry = f16>>)

// -----

// expected-error @+1 {{entry must be f32, f16 or bf16, found}}
func.func private @f(!qc.weight<8x8, #qc.codebook<books = 1, bits = 8, vector = 8, scale = f16, entry = i8>>)

// -----

// expected-error @+1 {{external component has an empty file name}}
func.func private @f() attributes {a = #qc.external<"", 0, 8>}

// -----

// expected-error @+1 {{external component of 'w' has a negative offset or length}}
func.func private @f() attributes {a = #qc.external<"w", -1, 8>}

// -----

// expected-error @+1 {{external component of 'w' has a negative offset or length}}
func.func private @f() attributes {a = #qc.external<"w", 0, -8>}

// -----

// expected-error @+1 {{scale must be f32, f16 or bf16, found 'f64'}}
func.func private @f(!qc.weight<8x8, #qc.e8p<scale = f64>>)
