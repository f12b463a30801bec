//===- Encode.h - From float rows to components -----------------*- C++ -*-===//
//
// The mathematics of the calibration-free methods, free of LLVM: a quantizer
// pass only drives them. Weights are row major f32 [n, k]; results are the
// components of a format (qc/Format/Format.h).
//
// Every function returns false and sets `error` to one line when the weight
// holds a NaN or an infinity (row and column are named) or when a parameter
// does not fit the type of the format. Results do not depend on `threads`.
//
//===----------------------------------------------------------------------===//
#ifndef QC_QUANTIZATION_ENCODE_H
#define QC_QUANTIZATION_ENCODE_H

#include "qc/Format/Float.h"
#include "qc/Format/Grouped.h"

namespace qc {

/// Rows [begin, end) of a matrix.
struct RowRange {
  int64_t begin = 0, end = 0;
};

/// Zeroed components of a weight [n, k].
HostWeight allocateWeight(const Format &format, int64_t n, int64_t k);

/// The first NaN or infinity of the rows: "weight is nan at row 3, column 5,
/// expected finite numbers"; nullopt if all are finite.
std::optional<std::string> checkWeight(const float *w, int64_t k,
                                       RowRange rows);

/// sqrt(sum (w - decoded)^2 / sum w^2), 0 for a zero matrix.
double relativeError(const Format &format, const HostWeight &weight,
                     const float *w);

/// Rounds to float<f32|f16|bf16>; a number beyond the type is an error.
bool encodeFloat(const FloatFormat &format, const float *w, int64_t n,
                 int64_t k, HostWeight &out, std::string &error);

//===----------------------------------------------------------------------===//
// Round to nearest (RTN)
//===----------------------------------------------------------------------===//
//
// With qmax = 2^b - 1, h = 2^(b-1), a group's minimum mn and maximum mx, rne =
// round half to even; s and zero are rounded to their stored types *before* the
// codes are computed from them, so that codes are nearest for the numbers that
// a kernel will multiply with.
//
//   no zero points   q = clip(rne(w / s) + h, 0, qmax)
//     absmax         s = max|w| / (h - 1)
//     full_range     s = m / -h, m the weight of largest magnitude: the scale
//                    has a sign, and m itself is a level
//     b = 1          q = w >= 0, s = mean|w|, the least squares scale
//   zero = int       mn, mx extended to include 0; s = (mx - mn) / qmax,
//                    zero = clip(rne(-mn / s), 0, qmax),
//                    q = clip(rne(w / s) + zero, 0, qmax)
//     b = 1          levels {0, s} or {-s, 0}, the better; s by search
//   zero = f16|f32   s = (mx - mn) / qmax, zero = -mn / s,
//                    q = clip(rne(w / s + zero), 0, qmax)
//     b = 1          levels are the means below and above the mean
//
// A group of zeros has s = 0 and decodes to exact zeros. A scale too large for
// its type is an error. One too small is stored as a subnormal number, never as
// zero; if most groups have less than 5 bits of it left, encodeRtn fails and
// recommends scale = f32. With float zero points s is at least max|w| / 1024
// (f16) or / 4096 (f32): a narrow range far from zero.

enum class RtnRange {
  /// full_range: the lower error and, nearly always, perplexity of the two on
  /// every model and width measured; with 2 bits absmax has three levels only.
  Auto,
  AbsMax,
  FullRange
};

struct RtnOptions {
  RtnRange range = RtnRange::Auto; ///< of formats without zero points
  /// Clip search: try the range shrunk to 1 - 0.7 i / clipSteps, i in
  /// [0, clipSteps], and keep the one with the least squared error of the
  /// group. 0 = plain RTN. Costs as much as so many encodings.
  int clipSteps = 0;
  int threads = 1;
};

/// Counts over groups that are not all zero.
struct RtnStatistics {
  int64_t groups = 0;
  int64_t tinyScales = 0; ///< stored with less than 5 bits of precision
};

/// out: a weight of the format [n, k]; written anew.
bool encodeRtn(const GroupedFormat &format, const RtnOptions &options,
               const float *w, int64_t n, int64_t k, HostWeight &out,
               std::string &error);

/// Rows [begin, end) only, single threaded, of a weight from allocateWeight();
/// different rows may be encoded by different threads. `w` is the whole matrix.
/// Adds to `statistics`.
bool encodeRtnRows(const GroupedFormat &format, const RtnOptions &options,
                   const float *w, int64_t k, RowRange rows, HostWeight &out,
                   RtnStatistics &statistics, std::string &error);

} // namespace qc

#endif // QC_QUANTIZATION_ENCODE_H
