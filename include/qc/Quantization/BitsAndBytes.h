//===- BitsAndBytes.h - int8, NF4 and FP4 absmax quantization ---*- C++ -*-===//
//
// The weight side of bitsandbytes: LLM.int8() (Dettmers et al., arXiv
// 2208.07339) and NF4 / FP4 with double quantization (QLoRA, arXiv 2305.14314).
// Groups run along a row: where k is not a multiple of the group, the last one
// of a row is shorter (the library lets blocks run on into the next row).
//
//===----------------------------------------------------------------------===//
#ifndef QC_QUANTIZATION_BITSANDBYTES_H
#define QC_QUANTIZATION_BITSANDBYTES_H

#include "qc/Format/Grouped.h"
#include "qc/Format/LUT.h"
#include "qc/Quantization/Encode.h"

namespace qc {

/// The format of LLM.int8() weights: grouped<bits = 8, group = channel,
/// scale = f32>.
GroupedFormat int8Format();

/// Row-wise absmax: q = rne(w * (127 / max|w|)), scale = max|w| / 127. The
/// stored code is q + 128.
bool encodeInt8(const float *w, int64_t n, int64_t k, int threads,
                HostWeight &out, std::string &error);

/// Absmax quantization to a table: scale = max|w| of the group (divided by the
/// largest |entry| of an own table), code = the entry nearest to w / scale.
/// A number half-way takes the lower entry; of FP4, the smaller magnitude.
/// `ownTable` has 2^bits entries for lut<bits = b> and is empty otherwise.
///
/// A scale of 16 bits is rounded first and the codes follow it. With
/// double_quant = B, as in the library, codes come from the unrounded absmax a;
/// then with offset = mean(a), for each B consecutive scales
///   scale_absmax = max|a - offset|
///   code = entry of dynamicMap() nearest to (a - offset) / scale_absmax.
bool encodeLUT(const LUTFormat &format, const std::vector<float> &ownTable,
               const float *w, int64_t n, int64_t k, int threads,
               HostWeight &out, std::string &error);

/// Index of the entry of an ascending table that is nearest to x, the lower of
/// two equally near ones.
int64_t nearestEntry(const float *table, int64_t size, float x);

} // namespace qc

#endif // QC_QUANTIZATION_BITSANDBYTES_H
