//===- BitsAndBytes.cpp - int8, NF4 and FP4 absmax quantization -----------===//
#include "qc/Quantization/BitsAndBytes.h"

#include "Parallel.h"
#include "Rounding.h"
#include "qc/Format/Codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

using namespace qc;

static float largestMagnitude(const float *w, int64_t size) {
  float largest = 0;
  for (int64_t i = 0; i < size; ++i)
    largest = std::max(largest, std::fabs(w[i]));
  return largest;
}

GroupedFormat qc::int8Format() { return {8, 0, DType::F32}; }

bool qc::encodeInt8(const float *w, int64_t n, int64_t k, int threads,
                    HostWeight &out, std::string &error) {
  GroupedFormat format = int8Format();
  std::optional<std::string> problem = format.check(n, k);
  if (!problem)
    problem = checkWeight(w, k, {0, n});
  if (problem) {
    error = *problem;
    return false;
  }
  out = allocateWeight(format, n, k);
  parallelFor(threads, n, [&](int64_t row) {
    const float *from = w + row * k;
    uint8_t *codes = out.components[0].bytes.data() + row * k;
    float absmax = largestMagnitude(from, k);
    storeFloat(DType::F32, out.components[1].bytes.data(), row, absmax / 127);
    // A row of subnormal numbers has no finite factor; it decodes to zeros.
    float factor = absmax == 0 ? 0 : 127 / absmax;
    if (!std::isfinite(factor))
      factor = 0;
    for (int64_t i = 0; i < k; ++i)
      codes[i] = static_cast<uint8_t>(
          static_cast<int>(roundEven(from[i] * factor)) + 128);
  });
  return true;
}

int64_t qc::nearestEntry(const float *table, int64_t size, float x) {
  // Midpoints in double are exact, and so is the comparison.
  int64_t low = 0, high = size - 1;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    double threshold =
        (static_cast<double>(table[middle]) + table[middle + 1]) / 2;
    if (x > threshold)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

namespace {
/// A table in ascending order with the codes of its entries. FP4 is ordered by
/// magnitude, the sign apart, as the library decides.
struct Thresholds {
  std::vector<float> values;
  std::vector<uint8_t> codes;
  bool sign;

  Thresholds(const float *table, int64_t size, bool signMagnitude)
      : sign(signMagnitude) {
    codes.resize(static_cast<size_t>(signMagnitude ? size / 2 : size));
    std::iota(codes.begin(), codes.end(), uint8_t(0));
    std::sort(codes.begin(), codes.end(), [&](uint8_t a, uint8_t b) {
      return table[a] != table[b] ? table[a] < table[b] : a < b;
    });
    for (uint8_t code : codes)
      values.push_back(table[code]);
  }

  uint8_t code(float x) const {
    uint8_t signBit = sign && x < 0 ? static_cast<uint8_t>(codes.size()) : 0;
    int64_t at =
        nearestEntry(values.data(), static_cast<int64_t>(values.size()),
                     sign ? std::fabs(x) : x);
    return codes[static_cast<size_t>(at)] | signBit;
  }
};
} // namespace

/// absmax [count] -> components scales, scale_map, scale_absmax, scale_offset.
static void doubleQuantize(const LUTFormat &format,
                           const std::vector<float> &absmax, HostWeight &out) {
  std::array<float, 256> map = dynamicMap();
  double sum = 0;
  for (float a : absmax)
    sum += a;
  auto offset = static_cast<float>(sum / static_cast<double>(absmax.size()));
  std::memcpy(out.components[2].bytes.data(), map.data(), sizeof(map));
  storeFloat(DType::F32, out.components[4].bytes.data(), 0, offset);
  auto count = static_cast<int64_t>(absmax.size());
  for (int64_t begin = 0; begin < count; begin += format.doubleQuant) {
    int64_t end = std::min(count, begin + format.doubleQuant);
    float largest = 0;
    for (int64_t i = begin; i < end; ++i)
      largest =
          std::max(largest, std::fabs(absmax[static_cast<size_t>(i)] - offset));
    storeFloat(DType::F32, out.components[3].bytes.data(),
               begin / format.doubleQuant, largest);
    for (int64_t i = begin; i < end; ++i)
      out.components[1].bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(
          nearestEntry(map.data(), 256,
                       (absmax[static_cast<size_t>(i)] - offset) /
                           std::max(largest, 1e-38f)));
  }
}

static std::optional<std::string>
checkTable(const LUTFormat &format, const std::vector<float> &ownTable) {
  size_t size =
      format.table == LUTFormat::Table::User ? size_t(1) << format.bits : 0;
  if (ownTable.size() != size)
    return format.spelling() + " needs a table of " + std::to_string(size) +
           " entries, found " + std::to_string(ownTable.size());
  if (size == 0)
    return std::nullopt;
  for (float value : ownTable)
    if (!std::isfinite(value))
      return format.spelling() + " needs a table of finite entries";
  if (largestMagnitude(ownTable.data(), static_cast<int64_t>(size)) == 0)
    return format.spelling() + " needs a table with an entry other than 0";
  return std::nullopt;
}

bool qc::encodeLUT(const LUTFormat &format, const std::vector<float> &ownTable,
                   const float *w, int64_t n, int64_t k, int threads,
                   HostWeight &out, std::string &error) {
  std::optional<std::string> problem = format.check(n, k);
  if (!problem)
    problem = checkTable(format, ownTable);
  if (!problem)
    problem = checkWeight(w, k, {0, n});
  if (problem) {
    error = *problem;
    return false;
  }
  out = allocateWeight(format, n, k);
  bool own = !ownTable.empty(), fp4 = format.table == LUTFormat::Table::FP4;
  int64_t entries = int64_t(1) << format.bits;
  const float *table = own   ? ownTable.data()
                       : fp4 ? fp4Table.data()
                             : nf4Table.data();
  Thresholds thresholds(table, entries, fp4);
  float largestEntry = largestMagnitude(table, entries);
  if (own)
    std::memcpy(out.components.back().bytes.data(), table,
                static_cast<size_t>(4 * entries));

  int64_t groups = format.numGroups(k);
  int64_t rowBytes = out.components[0].spec.shape[1];
  std::vector<float> scales(static_cast<size_t>(n * groups));
  parallelFor(threads, n, [&](int64_t row) {
    std::vector<uint8_t> codes(static_cast<size_t>(k));
    for (int64_t g = 0; g < groups; ++g) {
      int64_t begin = g * format.group;
      int64_t end = g + 1 == groups ? k : begin + format.group;
      float exact = largestMagnitude(w + row * k + begin, end - begin);
      float scale = roundScale(format.scale, exact / largestEntry);
      scales[static_cast<size_t>(row * groups + g)] = scale;
      float divisor = std::max(scale, 1e-38f);
      for (int64_t i = begin; i < end; ++i)
        codes[static_cast<size_t>(i)] =
            thresholds.code(w[row * k + i] / divisor);
    }
    packBits(codes.data(), k, format.bits,
             out.components[0].bytes.data() + row * rowBytes);
  });
  int64_t nonzero = 0, tiny = 0;
  for (size_t i = 0; i < scales.size(); ++i) {
    nonzero += scales[i] != 0;
    tiny += isTinyScale(format.scale, scales[i]);
    if (!std::isfinite(scales[i])) {
      auto at = static_cast<int64_t>(i);
      error = "row " + std::to_string(at / groups) + ", group " +
              std::to_string(at % groups) +
              ": the scale does not fit its type, use scale = f32";
      return false;
    }
  }
  problem = checkScales(tiny, nonzero);
  if (problem) {
    error = *problem;
    return false;
  }
  if (format.doubleQuant) {
    doubleQuantize(format, scales, out);
    return true;
  }
  for (size_t i = 0; i < scales.size(); ++i)
    storeFloat(format.scale, out.components[1].bytes.data(),
               static_cast<int64_t>(i), scales[i]);
  return true;
}
