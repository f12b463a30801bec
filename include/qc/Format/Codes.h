//===- Codes.h - Rows of the component bit stream ---------------*- C++ -*-===//
#ifndef QC_FORMAT_CODES_H
#define QC_FORMAT_CODES_H

#include <cstdint>

namespace qc {

/// out [end - begin] = values begin .. end-1 of an LSB-first bit stream, bits
/// in [1, 8]; readBits() in bulk.
void unpackBits(const uint8_t *data, int64_t begin, int64_t end, int bits,
                uint8_t *out);

/// Writes `count` codes of `bits` bits as an LSB-first stream of
/// ceil(count * bits / 8) bytes; the bits left over are zero.
void packBits(const uint8_t *codes, int64_t count, int bits, uint8_t *out);

} // namespace qc

#endif // QC_FORMAT_CODES_H
