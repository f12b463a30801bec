//===- Format.cpp - What all formats share --------------------------------===//
#include "qc/Format/Elements.h"

#include <cstring>

using namespace qc;

Components HostWeight::views() const {
  Components views;
  for (const Tensor &tensor : components)
    views.push_back(tensor.view());
  return views;
}

double Format::bitsPerWeight(int64_t n, int64_t k) const {
  double bits = 0;
  for (const TensorSpec &spec : components(n, k))
    bits += 8.0 * static_cast<double>(spec.numBytes());
  return bits / (static_cast<double>(n) * static_cast<double>(k));
}

void Format::pack(const Components &c, const PackedLayout &layout,
                  uint8_t *out) const {
  std::memset(out, 0, static_cast<size_t>(layout.totalBytes()));
  packHeader(c, layout, out);
  out += layout.headerBytes;
  for (int64_t block = 0; block < layout.numRowBlocks(); ++block)
    packRowBlock(c, layout, block, out + block * layout.rowBlockBytes());
}

static std::string describe(const TensorSpec &spec) {
  std::string text(dtypeName(spec.type));
  text += " [";
  for (size_t i = 0; i < spec.shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(spec.shape[i]);
  return text + "]";
}

std::optional<std::string> Format::checkComponents(const Components &c,
                                                   int64_t n, int64_t k) const {
  std::vector<TensorSpec> expected = components(n, k);
  for (size_t i = 0; i < expected.size(); ++i) {
    const TensorSpec &want = expected[i];
    if (i >= c.size())
      return "component '" + want.name + "' is missing: expected " +
             describe(want);
    const TensorSpec &have = c[i].spec;
    if (have.name != want.name)
      return "component " + std::to_string(i) + " must be '" + want.name +
             "', found '" + have.name + "'";
    if (have.type != want.type || have.shape != want.shape)
      return "component '" + want.name + "' must be " + describe(want) +
             ", found " + describe(have);
    if (!c[i].data && want.numBytes() != 0)
      return "component '" + want.name + "' has no data";
  }
  if (c.size() > expected.size())
    return "unexpected component '" + c[expected.size()].spec.name + "'";
  return std::nullopt;
}

std::optional<std::string> qc::checkFinite(const TensorView &tensor) {
  DType type = tensor.spec.type;
  uint32_t infinity = floatToBits(type, __builtin_inff());
  int64_t count = tensor.spec.numElements();
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits = loadBits(type, tensor.data, i);
    if ((bits & infinity) != infinity)
      continue;
    std::string where;
    int64_t rest = i;
    const std::vector<int64_t> &shape = tensor.spec.shape;
    for (size_t d = shape.size(); d-- > 0; rest /= shape[d])
      where = std::to_string(rest % shape[d]) +
              (where.empty() ? where : ", " + where);
    return "'" + tensor.spec.name + "' is " +
           (bits & ((infinity & -infinity) - 1) ? "nan" : "infinite") +
           " at [" + where + "], expected finite numbers";
  }
  return std::nullopt;
}
