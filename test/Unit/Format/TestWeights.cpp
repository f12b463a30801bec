//===- TestWeights.cpp - Random weights and layouts read again ------------===//
#include "TestWeights.h"

#include <cmath>
#include <cstring>
#include <random>
#include <regex>

using namespace qc;

using namespace qc::test;

Oracle::Oracle(const Format &format) {
  std::string text = format.spelling();
  kind = text.substr(0, text.find('<'));
  auto get = [&](const std::string &name) -> std::string {
    std::smatch match;
    return std::regex_search(text, match,
                             std::regex("[<, ]" + name + " = (\\w+)"))
               ? match[1]
               : std::string();
  };
  auto number = [&](const std::string &name) -> int64_t {
    std::string value = get(name);
    return value.empty() || value == "channel" ? 0 : std::stoll(value);
  };
  nf4 = text.find("<nf4") != text.npos;
  fp4 = text.find("<fp4") != text.npos;
  bits = nf4 || fp4 ? 4 : number("bits");
  group = number("group");
  books = number("books");
  vector = number("vector");
  doubleQuant = number("double_quant");
  scale = kind == "float" ? text.substr(6, text.size() - 7) : get("scale");
  zero = get("zero");
  entry = get("entry");
}

static int64_t widthOf(const std::string &type) {
  return type == "f32" ? 4 : 2;
}

/// Exact value by the definition of the format, via ldexp.
static double readFloat(const std::string &type, const uint8_t *at) {
  uint32_t bits = at[0] | at[1] << 8;
  int mantissaBits = type == "f16" ? 10 : 7,
      exponentBits = type == "f16" ? 5 : 8;
  if (type == "f32") {
    bits |= uint32_t(at[2]) << 16 | uint32_t(at[3]) << 24;
    mantissaBits = 23;
  }
  int exponent = bits >> mantissaBits & ((1 << exponentBits) - 1);
  double mantissa = bits & ((1u << mantissaBits) - 1);
  if (exponent)
    mantissa += 1 << mantissaBits;
  double value = std::ldexp(mantissa, std::max(exponent, 1) - mantissaBits -
                                          ((1 << (exponentBits - 1)) - 1));
  return bits >> (mantissaBits + exponentBits) ? -value : value;
}

HostWeight Oracle::randomWeight(const Format &format, int64_t n, int64_t k,
                                uint32_t seed) const {
  std::mt19937 random(seed);
  HostWeight weight{n, k, {}};
  for (const TensorSpec &s : format.components(n, k)) {
    Tensor tensor(s);
    for (int64_t i = 0; i < s.numElements(); ++i) {
      uint8_t *at = tensor.bytes.data() + i * byteWidth(s.type);
      double value = (static_cast<int>(random() % 8001) - 4000) / 1024.0;
      uint32_t raw = random();
      if (s.type == DType::F32) {
        auto f = static_cast<float>(value * 1.1);
        std::memcpy(at, &f, 4);
        continue;
      }
      if (s.type == DType::F16)
        raw = floatToHalf(static_cast<float>(value));
      else if (s.type == DType::BF16)
        raw = floatToBfloat(static_cast<float>(value));
      else if (kind == "codebook")
        raw &= (1u << bits) - 1;
      std::memcpy(at, &raw, static_cast<size_t>(byteWidth(s.type)));
    }
    weight.components.push_back(std::move(tensor));
  }
  return weight;
}

/// w = scale * (q - zero) and its one-bit symmetric case.
double Oracle::affine(double q, double factor, const uint8_t *point) const {
  if (zero.empty())
    return bits == 1 ? factor * (2 * q - 1)
                     : factor * (q - std::ldexp(1, static_cast<int>(bits) - 1));
  return factor * (q - (zero == "int" ? *point : readFloat(zero, point)));
}

double Oracle::tableEntry(uint32_t q) const {
  static const double normal[] = {-1.0,
                                  -0.6961928009986877,
                                  -0.5250730514526367,
                                  -0.39491748809814453,
                                  -0.28444138169288635,
                                  -0.18477343022823334,
                                  -0.09105003625154495,
                                  0.0,
                                  0.07958029955625534,
                                  0.16093020141124725,
                                  0.24611230194568634,
                                  0.33791524171829224,
                                  0.44070982933044434,
                                  0.5626170039176941,
                                  0.7229568362236023,
                                  1.0};
  if (nf4)
    return static_cast<float>(normal[q]);
  // Sign bit and E2M1 magnitude / 12, in the order of bitsandbytes.
  static const double twelfths[] = {0, 0.0625, 8, 12, 4, 6, 2, 3};
  double magnitude = static_cast<float>(twelfths[q & 7] / 12);
  return q & 8 ? -magnitude : magnitude;
}

double Oracle::fromComponents(const HostWeight &weight, int64_t row,
                              int64_t feature) const {
  int64_t k = weight.k;
  auto data = [&](const std::string &name) -> const uint8_t * {
    for (const Tensor &tensor : weight.components)
      if (tensor.spec.name == name)
        return tensor.bytes.data();
    return nullptr;
  };
  if (kind == "float")
    return readFloat(scale,
                     data("data") + (row * k + feature) * widthOf(scale));
  if (kind == "codebook") {
    int64_t vectors = (k + vector - 1) / vector;
    double sum = 0;
    for (int64_t m = 0; m < books; ++m) {
      int64_t at = (row * vectors + feature / vector) * books + m;
      const uint8_t *codes = data("codes");
      int64_t code =
          bits <= 8 ? codes[at] : codes[2 * at] | codes[2 * at + 1] << 8;
      int64_t element = ((m << bits) + code) * vector + feature % vector;
      sum += readFloat(entry, data("codebooks") + element * widthOf(entry));
    }
    return sum * readFloat(scale, data("scales") + row * widthOf(scale));
  }
  int64_t rowBytes = (k * bits + 7) / 8;
  uint32_t q = bitsOf(data("codes") + row * rowBytes, feature * bits,
                      static_cast<int>(bits));
  int64_t groups = group ? (k + group - 1) / group : 1;
  int64_t at = row * groups + (group ? feature / group : 0);
  if (kind == "grouped") {
    int64_t zeroWidth = zero == "int" ? 1 : widthOf(zero);
    return affine(q, readFloat(scale, data("scales") + at * widthOf(scale)),
                  zero.empty() ? nullptr : data("zeros") + at * zeroWidth);
  }
  double factor;
  if (doubleQuant) {
    double map = readFloat("f32", data("scale_map") + 4 * data("scales")[at]);
    double absmax =
        readFloat("f32", data("scale_absmax") + at / doubleQuant * 4);
    auto product = static_cast<float>(map * absmax);
    factor = static_cast<float>(static_cast<double>(product) +
                                readFloat("f32", data("scale_offset")));
  } else {
    factor = readFloat(scale, data("scales") + at * widthOf(scale));
  }
  return factor *
         (nf4 || fp4 ? tableEntry(q) : readFloat("f32", data("table") + 4 * q));
}

double Oracle::fromPacked(const PackedLayout &layout, const uint8_t *blob,
                          int64_t row, int64_t feature) const {
  int64_t lane = row % layout.rows;
  const uint8_t *rowBlock =
      blob + layout.headerBytes + row / layout.rows * layout.rowBlockBytes();
  int64_t inBlock = feature % layout.blockK;
  const uint8_t *block = rowBlock + layout.rowHeaderBytes +
                         feature / layout.blockK * layout.blockBytes();
  const uint8_t *chunk = block + layout.blockParamBytes +
                         inBlock / layout.chunkK * layout.chunkBytes;
  if (kind == "float")
    return readFloat(scale, chunk + lane * widthOf(scale));
  if (kind == "codebook") {
    double sum = 0;
    int64_t width = bits <= 8 ? 1 : 2;
    for (int64_t m = 0; m < books; ++m) {
      const uint8_t *at = chunk + (m * layout.rows + lane) * width;
      int64_t code = width == 1 ? at[0] : at[0] | at[1] << 8;
      int64_t element = ((m << bits) + code) * vector + feature % vector;
      sum += readFloat("f32", blob + element * 4);
    }
    return sum * readFloat("f32", rowBlock + 4 * lane);
  }
  uint32_t q = codeInChunk(chunk, static_cast<int>(bits), layout.rows,
                           layout.chunkK, lane, inBlock % layout.chunkK);
  double factor = readFloat(scale, block + lane * widthOf(scale));
  if (kind == "lut")
    return factor * readFloat("f32", blob + 4 * q);
  const uint8_t *zeros = block + layout.rows * widthOf(scale);
  int64_t zeroWidth = zero.empty() || zero == "int" ? 1 : widthOf(zero);
  return affine(q, factor, zeros + lane * zeroWidth);
}
