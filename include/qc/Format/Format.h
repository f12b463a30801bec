//===- Format.h - A weight format as a value --------------------*- C++ -*-===//
//
// A *format* says how a weight W [n, k] (n outputs, k inputs, y = x W^T) is
// stored and what its numbers mean. It is a small immutable value. Everything
// here runs on the host and is free of LLVM, because the user's executable
// links it too (for --self-test); the MLIR attribute of the same name wraps it
// and adds what kernel generators ask (FormatInterface.td).
//
// Two layouts exist, and only these two:
//
//  * components: the *logical* storage, a list of named tensors (codes, scales,
//    zero points, codebooks, ...) kept in safetensors files. Quantizers write
//    it, importers map foreign checkpoints to it, people read it.
//  * packed: the *physical* layout of one target, one byte blob per weight
//    in the order in which a kernel streams it. Described by PackedLayout.
//
// Example: #qc.grouped<bits = 4, group = 64, scale = f16>, W [128, 172]
//   components  codes  u8  [128, 86]   4-bit codes, LSB first along k
//               scales f16 [128, 3]    groups of 64, 64 and 44
//   packed, 16 rows interleaved: 8 row blocks of 3 K blocks, each K block
//               16 f16 scales, then 8 chunks of 8 k x 16 rows of 4 bits.
//
//===----------------------------------------------------------------------===//
#ifndef QC_FORMAT_FORMAT_H
#define QC_FORMAT_FORMAT_H

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qc {

enum class DType : uint8_t {
  F64,
  F32,
  F16,
  BF16,
  I64,
  I32,
  I16,
  I8,
  U8,
  U16,
  Bool
};

/// Width in bytes.
int64_t byteWidth(DType type);
/// safetensors spelling: "F32", "BF16", "U8", ...
std::string_view dtypeName(DType type);
std::optional<DType> parseDType(std::string_view name);

/// Exact conversions; to f16/bf16 rounds to nearest even and keeps NaN.
float halfToFloat(uint16_t bits);
uint16_t floatToHalf(float value);
float bfloatToFloat(uint16_t bits);
uint16_t floatToBfloat(float value);

struct TensorSpec {
  std::string name;
  DType type = DType::F32;
  std::vector<int64_t> shape;

  /// Saturates far above any real tensor instead of overflowing.
  int64_t numElements() const;
  int64_t numBytes() const { return numElements() * byteWidth(type); }
};

/// A tensor whose bytes somebody else owns. Little endian, row major, with no
/// alignment promise.
struct TensorView {
  TensorSpec spec;
  const uint8_t *data = nullptr;

  /// Element `index` of the flattened tensor, exact (I64: up to 2^53).
  double at(int64_t index) const;
};

/// A tensor that owns its bytes.
struct Tensor {
  TensorSpec spec;
  std::vector<uint8_t> bytes;

  explicit Tensor(TensorSpec s = {})
      : spec(std::move(s)), bytes(static_cast<size_t>(spec.numBytes())) {}
  TensorView view() const { return {spec, bytes.data()}; }
};

/// In the order of Format::components().
using Components = std::vector<TensorView>;

/// Physical layout of one weight for kernels that process `rows` output rows in
/// the lanes of a vector.
///
///   blob      = [header] [row block 0] [row block 1] ...
///   row block = [row header] [K block 0] ... [K block numBlocks-1] [padding]
///   K block   = [block parameters] [chunk 0] ... [chunk chunksPerBlock-1]
///
/// header: tables and codebooks. A K block covers `blockK` input features (the
/// last may cover fewer) with one set of parameters; it is stored as
/// `paddedBlockK` features, a multiple of chunkK. A chunk holds `chunkK`
/// features of all `rows` rows. Rows beyond n and features beyond a block's end
/// hold codes that decode to finite numbers; activations are zero there.
///
/// Bit order inside a chunk of b-bit codes: see packCodes().
struct PackedLayout {
  int64_t n = 0, k = 0, rows = 0;
  int64_t headerBytes = 0;    ///< multiple of 64
  int64_t rowHeaderBytes = 0; ///< per row block
  int64_t blockK = 0, paddedBlockK = 0, blockParamBytes = 0;
  int64_t chunkK = 0, chunkBytes = 0;

  int64_t numBlocks() const { return (k + blockK - 1) / blockK; }
  int64_t chunksPerBlock() const { return paddedBlockK / chunkK; }
  int64_t blockBytes() const {
    return blockParamBytes + chunksPerBlock() * chunkBytes;
  }
  int64_t rowBlockBytes() const {
    return (rowHeaderBytes + numBlocks() * blockBytes() + 63) / 64 * 64;
  }
  int64_t numRowBlocks() const { return (n + rows - 1) / rows; }
  int64_t totalBytes() const {
    return headerBytes + numRowBlocks() * rowBlockBytes();
  }
  /// Features of an activation row as kernels see it.
  int64_t paddedK() const { return numBlocks() * paddedBlockK; }
};

/// Splits b-bit codes in planes whose width divides 8, lowest bits first:
/// 3 -> {2, 1}, 5 -> {4, 1}, 6 -> {4, 2}, 7 -> {4, 2, 1}, others -> {b}.
/// b in [1, 8].
std::vector<int> codePlanes(int bits);

/// Features of the smallest chunk in which every plane fills whole 32-bit
/// words of a row: 32 / (narrowest plane).
int64_t codeChunkK(int bits);

/// Packs the codes of one chunk: codes [rows][chunkK], one a byte, into
/// rows * chunkK * bits / 8 bytes. Planes follow each other. A plane of width w
/// is a sequence of registers of 4 * rows bytes; register r covers features
/// [r * 32/w, (r+1) * 32/w). Its byte 4 * row + q holds in field j (bits
/// [j*w, (j+1)*w)) the plane's bits of feature r * 32/w + 4 * j + q. So
/// `(register >> w*j) & mask` yields bytes in the order of an integer dot
/// product: 4 consecutive features of each row.
void packCodes(const uint8_t *codes, int bits, int64_t rows, int64_t chunkK,
               uint8_t *out);

/// LSB-first bit stream of `components`: value i occupies bits
/// [i*bits, (i+1)*bits) of `data`.
uint32_t readBits(const uint8_t *data, int64_t index, int bits);
void writeBits(uint8_t *data, int64_t index, int bits, uint32_t value);

/// A weight that owns its components.
struct HostWeight {
  int64_t n = 0, k = 0;
  std::vector<Tensor> components;
  Components views() const;
};

class Format {
public:
  virtual ~Format() = default;

  /// Textual form that parseFormat() reads and the IR prints after "#qc.":
  /// "grouped<bits = 4, group = 64, scale = f16>".
  virtual std::string spelling() const = 0;

  /// Why a weight [n, k] cannot have this format; nullopt if it can.
  virtual std::optional<std::string> check(int64_t n, int64_t k) const = 0;

  /// The component tensors of a weight [n, k], in storage order.
  virtual std::vector<TensorSpec> components(int64_t n, int64_t k) const = 0;

  /// Reference semantics, exact: out [k] = row `row`, computed in double from
  /// the published definition. The components must fit components(n, k).
  virtual void decodeRow(const Components &c, int64_t n, int64_t k, int64_t row,
                         double *out) const = 0;

  /// The values that kernels of `int8` arithmetic use, exact; other than
  /// decodeRow() where table or codebook entries are rounded to 8 bits.
  virtual void decodeRowInt8(const Components &c, int64_t n, int64_t k,
                             int64_t row, double *out) const {
    decodeRow(c, n, k, row, out);
  }
  /// How many such roundings a weight has.
  virtual int int8Roundings() const { return 0; }

  /// Plausibility of the component *values* (codebook index in range, scales
  /// finite, ...): what is wrong and where, nullopt if nothing.
  virtual std::optional<std::string> checkValues(const Components &c, int64_t n,
                                                 int64_t k) const {
    return std::nullopt;
  }

  virtual PackedLayout packedLayout(int64_t n, int64_t k,
                                    int64_t rows) const = 0;

  /// Writes the header (layout.headerBytes at `out`).
  virtual void packHeader(const Components &c, const PackedLayout &layout,
                          uint8_t *out) const {}
  /// Writes row block `block` (layout.rowBlockBytes() at `out`, zeroed before).
  virtual void packRowBlock(const Components &c, const PackedLayout &layout,
                            int64_t block, uint8_t *out) const = 0;

  /// A weight in which every code meets every parameter that its decoding
  /// depends on: all codes x all zero points, all finite f16 scales, every
  /// codebook entry. `quick` thins out scales (not codes, zero points or
  /// entries) so that the check takes well under a second.
  virtual HostWeight exhaustiveWeight(bool quick) const = 0;

  /// Why `c` does not fit components(n, k) (number, names, types, shapes), in
  /// one line; nullopt if it does. Assumes that check(n, k) passed.
  std::optional<std::string> checkComponents(const Components &c, int64_t n,
                                             int64_t k) const;

  /// Exact, metadata included: bits of all components / (n * k).
  double bitsPerWeight(int64_t n, int64_t k) const;

  /// Header and all row blocks.
  void pack(const Components &c, const PackedLayout &layout,
            uint8_t *out) const;
};

/// Reads what Format::spelling() writes. On failure returns null and sets
/// `error` to one line. Every format folder registers its parser
/// (Registry.cpp).
std::shared_ptr<const Format> parseFormat(std::string_view text,
                                          std::string &error);

} // namespace qc

#endif // QC_FORMAT_FORMAT_H
