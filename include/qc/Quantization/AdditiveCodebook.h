//===- AdditiveCodebook.h - Residual k-means into codebooks -----*- C++ -*-===//
//
// Encodes a weight into the storage format of AQLM (Egiazarian et al., arXiv
// 2401.06118) without calibration data. It minimises
//
//   sum over rows of |w_row - scale_row * sum_m C_m[code_m]|^2
//
//   1. scale_row = rms(w_row); vectors of g consecutive weights are divided by
//   it
//   2. residual k-means on a sample: book m clusters what books 0..m-1 leave
//   3. `passes` times over all vectors: for each book, codes are chosen anew
//      given the others, then its entries become the least squares solution;
//      each step can only lower the error
//   4. entries are rounded to their type, codes chosen once more, and every
//      scale becomes the least squares solution of its row
//
// Sums are taken in a fixed order: the result depends on `seed` only, not on
// the number of threads. Memory: about 12 bytes a weight.
//
//===----------------------------------------------------------------------===//
#ifndef QC_QUANTIZATION_ADDITIVECODEBOOK_H
#define QC_QUANTIZATION_ADDITIVECODEBOOK_H

#include "qc/Format/Codebook.h"
#include "qc/Quantization/Encode.h"

#include <functional>

namespace qc {

struct AdditiveCodebookOptions {
  int64_t sample = 1 << 16; ///< vectors that k-means sees, at least 8 an entry
  int iterations = 12;      ///< of k-means for each book
  int passes = 3;           ///< of step 3
  uint64_t seed = 0;
  int threads = 1;
  /// Called from the calling thread with the part done, in [0, 1].
  std::function<void(double)> progress;
};

/// w: row major [n, k]. False with one line in `error` for a NaN or infinity in
/// the weight, or a scale or entry that does not fit its type.
bool encodeAdditiveCodebook(const CodebookFormat &format,
                            const AdditiveCodebookOptions &options,
                            const float *w, int64_t n, int64_t k,
                            HostWeight &out, std::string &error);

} // namespace qc

#endif // QC_QUANTIZATION_ADDITIVECODEBOOK_H
