//===- LUT.cpp - Codes into a table, scaled group by group ----------------===//
#include "qc/Format/LUT.h"

#include "../Base/ByteTable.h"
#include "../Base/GroupCodes.h"
#include "../Base/ScalePatterns.h"
#include "../Base/Spelling.h"
#include "qc/Format/Codes.h"
#include "qc/Format/Elements.h"

#include <cmath>
#include <cstring>

using namespace qc;

static constexpr size_t codesAt = 0, scalesAt = 1, mapAt = 2, absmaxAt = 3,
                        offsetAt = 4;

static GroupCodes groupCodes(const LUTFormat &format) {
  return {format.bits, format.group};
}

static size_t tableAt(const LUTFormat &format) {
  return format.doubleQuant ? 5 : 2;
}

int64_t LUTFormat::numGroups(int64_t k) const {
  return groupCodes(*this).numGroups(k);
}

std::string LUTFormat::spelling() const {
  std::string text = table == Table::NF4 ? "lut<nf4"
                     : table == Table::FP4
                         ? "lut<fp4"
                         : "lut<bits = " + std::to_string(bits);
  text += ", group = " + groupName(group) + ", scale = " + floatName(scale);
  if (doubleQuant)
    text += ", double_quant = " + std::to_string(doubleQuant);
  return text + ">";
}

std::optional<std::string> LUTFormat::check(int64_t n, int64_t k) const {
  return checkShape(n, k);
}

std::vector<TensorSpec> LUTFormat::components(int64_t n, int64_t k) const {
  int64_t groups = numGroups(k);
  std::vector<TensorSpec> specs = {
      groupCodes(*this).codesSpec(n, k),
      {"scales", doubleQuant ? DType::U8 : scale, {n, groups}}};
  if (doubleQuant) {
    specs.push_back({"scale_map", DType::F32, {256}});
    specs.push_back({"scale_absmax",
                     DType::F32,
                     {(n * groups + doubleQuant - 1) / doubleQuant}});
    specs.push_back({"scale_offset", DType::F32, {1}});
  }
  if (table == Table::User)
    specs.push_back({"table", DType::F32, {int64_t(1) << bits}});
  return specs;
}

float LUTFormat::scaleAt(const Components &c, int64_t k, int64_t row,
                         int64_t group) const {
  int64_t at = row * numGroups(k) + group;
  if (!doubleQuant)
    return loadFloat(scale, c[scalesAt].data, at);
  float map = loadFloat(DType::F32, c[mapAt].data, c[scalesAt].data[at]);
  float absmax = loadFloat(DType::F32, c[absmaxAt].data, at / doubleQuant);
  // Separate statements: the product is rounded before the sum, as in
  // bitsandbytes, even where the machine has a fused multiply-add.
  float product = map * absmax;
  return product + loadFloat(DType::F32, c[offsetAt].data, 0);
}

float LUTFormat::entry(const Components &c, int64_t code) const {
  if (table == Table::NF4)
    return nf4Table[static_cast<size_t>(code)];
  if (table == Table::FP4)
    return fp4Table[static_cast<size_t>(code)];
  return loadFloat(DType::F32, c[tableAt(*this)].data, code);
}

template <typename Entry>
void LUTFormat::decodeWith(const Components &c, int64_t k, int64_t row,
                           double *out, Entry entryOf) const {
  GroupCodes codes = groupCodes(*this);
  std::vector<uint8_t> q(static_cast<size_t>(k));
  unpackBits(c[codesAt].data + row * codes.rowBytes(k), 0, k, bits, q.data());
  double factor = 0;
  int64_t last = -1;
  for (int64_t i = 0; i < k; ++i) {
    if (int64_t g = codes.groupOf(i); g != last) {
      factor = scaleAt(c, k, row, g);
      last = g;
    }
    out[i] = factor * entryOf(q[static_cast<size_t>(i)]);
  }
}

void LUTFormat::decodeRow(const Components &c, int64_t n, int64_t k,
                          int64_t row, double *out) const {
  decodeWith(c, k, row, out, [&](int64_t code) { return entry(c, code); });
}

void LUTFormat::decodeRowInt8(const Components &c, int64_t n, int64_t k,
                              int64_t row, double *out) const {
  ByteTable table(int64_t(1) << bits,
                  [&](int64_t code) { return entry(c, code); });
  decodeWith(c, k, row, out, [&](int64_t code) { return table.value(code); });
}

std::optional<std::string> LUTFormat::checkValues(const Components &c,
                                                  int64_t n, int64_t k) const {
  for (size_t i = scalesAt; i < c.size(); ++i)
    if (c[i].spec.type != DType::U8)
      if (auto error = checkFinite(c[i]))
        return error;
  if (!doubleQuant)
    return std::nullopt;
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < numGroups(k); ++g)
      if (!std::isfinite(scaleAt(c, k, row, g)))
        return "double quantized scale [" + std::to_string(row) + ", " +
               std::to_string(g) + "] is not finite";
  return std::nullopt;
}

PackedLayout LUTFormat::packedLayout(int64_t n, int64_t k, int64_t rows) const {
  PackedLayout layout = groupCodes(*this).layout(n, k, rows, byteWidth(scale));
  layout.headerBytes = stepOffset() + 64;
  return layout;
}

int64_t LUTFormat::byteTableOffset() const {
  return std::max<int64_t>(64, int64_t(4) << bits);
}

int64_t LUTFormat::stepOffset() const {
  return byteTableOffset() + std::max<int64_t>(64, int64_t(1) << bits);
}

void LUTFormat::packHeader(const Components &c, const PackedLayout &layout,
                           uint8_t *out) const {
  for (int64_t code = 0; code < int64_t(1) << bits; ++code)
    storeFloat(DType::F32, out, code, entry(c, code));
  ByteTable table(int64_t(1) << bits,
                  [&](int64_t code) { return entry(c, code); });
  for (int64_t i = byteTableOffset(); i < stepOffset(); ++i)
    out[i] = table.codes[static_cast<size_t>((i - byteTableOffset()) &
                                             ((int64_t(1) << bits) - 1))];
  storeFloat(DType::F32, out + stepOffset(), 0, table.step);
}

void LUTFormat::packRowBlock(const Components &c, const PackedLayout &layout,
                             int64_t block, uint8_t *out) const {
  int64_t groups = numGroups(layout.k);
  auto params = [&](int64_t row, int64_t count, int64_t group, uint8_t *to) {
    for (int64_t r = 0; r < count; ++r) {
      if (doubleQuant)
        storeFloat(DType::F32, to, r, scaleAt(c, layout.k, row + r, group));
      else
        storeBits(
            scale, to, r,
            loadBits(scale, c[scalesAt].data, (row + r) * groups + group));
    }
  };
  groupCodes(*this).packRowBlock(c[codesAt], layout, block, params, out);
}

HostWeight LUTFormat::exhaustiveWeight(bool quick) const {
  HostWeight weight;
  weight.k = int64_t(1) << bits;
  // Own tables hold entries of both signs up to 8; named ones up to 1.
  std::vector<uint32_t> scales;
  if (!doubleQuant)
    scales = scalePatterns(scale, quick, table == Table::User ? 8 : 1);
  int64_t groups = numGroups(weight.k);
  // With double_quant: enough rows that every scale code meets several absmax,
  // whatever the block size; at most 16 blocks of codes, which bounds memory.
  weight.n = doubleQuant ? 256 * (quick ? 4 : 16)
                         : static_cast<int64_t>(scales.size());
  for (const TensorSpec &spec : components(weight.n, weight.k))
    weight.components.emplace_back(spec);
  auto data = [&](size_t i) { return weight.components[i].bytes.data(); };

  std::vector<uint8_t> all(static_cast<size_t>(weight.k));
  for (size_t q = 0; q < all.size(); ++q)
    all[q] = static_cast<uint8_t>(q);
  int64_t rowBytes = groupCodes(*this).rowBytes(weight.k);
  for (int64_t row = 0; row < weight.n; ++row) {
    packBits(all.data(), weight.k, bits, data(codesAt) + row * rowBytes);
    for (int64_t at = row * groups; at < (row + 1) * groups; ++at) {
      if (doubleQuant)
        data(scalesAt)[at] = static_cast<uint8_t>(row);
      else
        storeBits(scale, data(scalesAt), at, scales[static_cast<size_t>(row)]);
    }
  }
  if (doubleQuant) {
    std::array<float, 256> map = dynamicMap();
    std::memcpy(data(mapAt), map.data(), sizeof(map));
    int64_t count = weight.components[absmaxAt].spec.numElements();
    for (int64_t i = 0; i < count; ++i)
      storeFloat(DType::F32, data(absmaxAt), i,
                 0.03f + 0.0173f * static_cast<float>(i % 97));
    storeFloat(DType::F32, data(offsetAt), 0, 0.0625f);
  }
  if (table == Table::User)
    for (int64_t q = 0; q < weight.k; ++q)
      storeFloat(DType::F32, data(tableAt(*this)), q,
                 static_cast<float>(std::remainder(q * 2.6180339887, 16.0)));
  return weight;
}

namespace qc {
std::shared_ptr<const Format> parseLUTFormat(Spelling &s, std::string &error) {
  using Table = LUTFormat::Table;
  Table table = Table::User;
  int bits = 4;
  if (std::string name = s.takeWord(); name == "nf4")
    table = Table::NF4;
  else if (name == "fp4")
    table = Table::FP4;
  else if (!name.empty())
    s.fail("table must be nf4, fp4 or 'bits = b', found '" + name + "'");
  else
    bits = static_cast<int>(s.takeInteger("bits", 1, 8));
  int64_t group = s.takeGroup();
  DType scale = s.takeFloat("scale");
  int64_t doubleQuant = 0;
  if (s.has("double_quant")) {
    doubleQuant = s.takeInteger("double_quant", 1, INT32_MAX);
    if (scale != DType::F32)
      s.fail("double_quant needs scale = f32, found " + floatName(scale));
  }
  if (!s.finish(error))
    return nullptr;
  return std::make_shared<LUTFormat>(table, bits, group, scale, doubleQuant);
}
} // namespace qc
