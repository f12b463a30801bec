//===- Grouped.cpp - Integers with a scale for each group -----------------===//
#include "qc/Format/Grouped.h"

#include "../Base/GroupCodes.h"
#include "../Base/ScalePatterns.h"
#include "../Base/Spelling.h"
#include "qc/Format/Codes.h"
#include "qc/Format/Elements.h"

#include <cstring>

using namespace qc;

static constexpr size_t codesAt = 0, scalesAt = 1, zerosAt = 2;

static GroupCodes groupCodes(const GroupedFormat &format) {
  return {format.bits, format.group};
}

static std::string zeroName(GroupedFormat::Zero zero) {
  switch (zero) {
  case GroupedFormat::Zero::None:
    return "none";
  case GroupedFormat::Zero::Int:
    return "int";
  case GroupedFormat::Zero::F16:
    return "f16";
  case GroupedFormat::Zero::F32:
    return "f32";
  }
  return "";
}

int64_t GroupedFormat::numGroups(int64_t k) const {
  return groupCodes(*this).numGroups(k);
}

DType GroupedFormat::zeroType() const {
  return zero == Zero::F16   ? DType::F16
         : zero == Zero::F32 ? DType::F32
                             : DType::U8;
}

std::string GroupedFormat::spelling() const {
  std::string text = "grouped<bits = " + std::to_string(bits) +
                     ", group = " + groupName(group) +
                     ", scale = " + floatName(scale);
  if (zero != Zero::None)
    text += ", zero = " + zeroName(zero);
  return text + ">";
}

std::optional<std::string> GroupedFormat::check(int64_t n, int64_t k) const {
  return checkShape(n, k);
}

std::vector<TensorSpec> GroupedFormat::components(int64_t n, int64_t k) const {
  std::vector<TensorSpec> specs = {groupCodes(*this).codesSpec(n, k),
                                   {"scales", scale, {n, numGroups(k)}}};
  if (zero != Zero::None)
    specs.push_back({"zeros", zeroType(), {n, numGroups(k)}});
  return specs;
}

/// Calls fn(scale, zero, begin, end) for each group of a row. One bit without
/// zero points: scale (2q - 1) = 2 scale (q - 1/2).
template <typename Fn>
static void forEachGroup(const GroupedFormat &f, const Components &c, int64_t k,
                         int64_t row, Fn fn) {
  int64_t groups = f.numGroups(k);
  int64_t size = f.group == 0 ? k : f.group;
  for (int64_t g = 0; g < groups; ++g) {
    int64_t at = row * groups + g;
    double scale = loadFloat(f.scale, c[scalesAt].data, at);
    double zero;
    switch (f.zero) {
    case GroupedFormat::Zero::None:
      zero = f.bits == 1 ? 0.5 : 1 << (f.bits - 1);
      scale *= f.bits == 1 ? 2 : 1;
      break;
    case GroupedFormat::Zero::Int:
      zero = c[zerosAt].data[at];
      break;
    default:
      zero = loadFloat(f.zeroType(), c[zerosAt].data, at);
    }
    fn(scale, zero, g * size, g + 1 == groups ? k : (g + 1) * size);
  }
}

void GroupedFormat::decodeRow(const Components &c, int64_t n, int64_t k,
                              int64_t row, double *out) const {
  GroupCodes codes = groupCodes(*this);
  std::vector<uint8_t> q(static_cast<size_t>(k));
  unpackBits(c[codesAt].data + row * codes.rowBytes(k), 0, k, bits, q.data());
  forEachGroup(*this, c, k, row,
               [&](double scale, double zero, int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i)
                   out[i] = scale * (q[static_cast<size_t>(i)] - zero);
               });
}

std::optional<std::string>
GroupedFormat::checkValues(const Components &c, int64_t n, int64_t k) const {
  if (auto error = checkFinite(c[scalesAt]))
    return error;
  if (zero == Zero::F16 || zero == Zero::F32)
    return checkFinite(c[zerosAt]);
  return std::nullopt;
}

PackedLayout GroupedFormat::packedLayout(int64_t n, int64_t k,
                                         int64_t rows) const {
  int64_t zeroBytes = zero == Zero::None ? 0 : byteWidth(zeroType());
  return groupCodes(*this).layout(n, k, rows, byteWidth(scale) + zeroBytes);
}

void GroupedFormat::packRowBlock(const Components &c,
                                 const PackedLayout &layout, int64_t block,
                                 uint8_t *out) const {
  int64_t groups = numGroups(layout.k);
  // Column `group` of component [n, G], rows [row, row + count).
  auto copyColumn = [&](const TensorView &from, int64_t row, int64_t count,
                        int64_t group, uint8_t *to) {
    int64_t width = byteWidth(from.spec.type);
    for (int64_t r = 0; r < count; ++r)
      std::memcpy(to + r * width,
                  from.data + ((row + r) * groups + group) * width,
                  static_cast<size_t>(width));
  };
  auto params = [&](int64_t row, int64_t count, int64_t group, uint8_t *to) {
    copyColumn(c[scalesAt], row, count, group, to);
    if (zero != Zero::None)
      copyColumn(c[zerosAt], row, count, group,
                 to + layout.rows * byteWidth(scale));
  };
  groupCodes(*this).packRowBlock(c[codesAt], layout, block, params, out);
}

HostWeight GroupedFormat::exhaustiveWeight(bool quick) const {
  // Zero points (not thinned out) under three scales, then scales under three
  // zero points: decoding is a difference followed by a product.
  std::vector<uint32_t> zeros = {0};
  double largest = 255;
  // Tiny groups store parameters nearly as often as codes: all of them would
  // take hundreds of MB, so there every exponent has to do.
  bool thin = numGroups(int64_t(1) << bits) > 16;
  if (zero == Zero::Int) {
    for (uint32_t z = 1; z < 256; ++z)
      zeros.push_back(z);
  } else if (zero == Zero::F16) {
    zeros = scalePatterns(DType::F16, thin, 1);
  } else if (zero == Zero::F32) {
    // Beyond 2^16 a zero point drowns every code.
    zeros = scalePatterns(DType::F32, thin, 0x1p111);
  } else {
    largest = bits == 1 ? 2 : 1 << (bits - 1);
  }
  std::vector<uint32_t> fewZeros = {0, zeros[zeros.size() / 2],
                                    zeros[zeros.size() / 3]};
  if (zero == Zero::F16 || zero == Zero::F32)
    largest = 0x1p17;
  if (zero == Zero::None)
    fewZeros = {0};
  std::vector<uint32_t> scales = scalePatterns(scale, quick || thin, largest);
  std::vector<uint32_t> fewScales = {floatToBits(scale, 1.0f),
                                     floatToBits(scale, -0.0371f),
                                     floatToBits(scale, 0x1.8p-15f)};

  struct Row {
    uint32_t scale, zero;
  };
  std::vector<Row> rows;
  if (zero != Zero::None)
    for (size_t i = 0; i < zeros.size(); ++i)
      rows.push_back({fewScales[i % fewScales.size()], zeros[i]});
  for (size_t i = 0; i < scales.size(); ++i)
    rows.push_back({scales[i], fewZeros[i % fewZeros.size()]});

  HostWeight weight;
  weight.n = static_cast<int64_t>(rows.size());
  weight.k = int64_t(1) << bits;
  for (const TensorSpec &spec : components(weight.n, weight.k))
    weight.components.emplace_back(spec);
  std::vector<uint8_t> all(static_cast<size_t>(weight.k));
  for (size_t q = 0; q < all.size(); ++q)
    all[q] = static_cast<uint8_t>(q);
  int64_t rowBytes = groupCodes(*this).rowBytes(weight.k);
  int64_t groups = numGroups(weight.k);
  for (int64_t row = 0; row < weight.n; ++row) {
    const Row &r = rows[static_cast<size_t>(row)];
    packBits(all.data(), weight.k, bits,
             weight.components[codesAt].bytes.data() + row * rowBytes);
    for (int64_t at = row * groups; at < (row + 1) * groups; ++at) {
      storeBits(scale, weight.components[scalesAt].bytes.data(), at, r.scale);
      if (zero == Zero::Int)
        weight.components[zerosAt].bytes[static_cast<size_t>(at)] =
            static_cast<uint8_t>(r.zero);
      else if (zero != Zero::None)
        storeBits(zeroType(), weight.components[zerosAt].bytes.data(), at,
                  r.zero);
    }
  }
  return weight;
}

namespace qc {
std::shared_ptr<const Format> parseGroupedFormat(Spelling &s,
                                                 std::string &error) {
  using Zero = GroupedFormat::Zero;
  auto bits = static_cast<int>(s.takeInteger("bits", 1, 8));
  int64_t group = s.takeGroup();
  DType scale = s.takeFloat("scale");
  Zero zero = Zero::None;
  if (s.has("zero")) {
    std::string name = s.takeChoice("zero", {"int", "f16", "f32"});
    zero = name == "int" ? Zero::Int : name == "f16" ? Zero::F16 : Zero::F32;
  }
  if (!s.finish(error))
    return nullptr;
  return std::make_shared<GroupedFormat>(bits, group, scale, zero);
}
} // namespace qc
