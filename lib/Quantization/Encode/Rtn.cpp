//===- Rtn.cpp - Round to nearest -----------------------------------------===//
//
// Formulas: see Encode.h. The range with zero points is that of GPTQ (Frantar
// et al., arXiv 2210.17323), the float zero points are HQQ's initial ones, the
// signed scale is that of NNCF and of GGUF's Q4_0.
//
//===----------------------------------------------------------------------===//
#include "Parallel.h"
#include "Rounding.h"
#include "qc/Format/Codes.h"
#include "qc/Quantization/Encode.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace qc;

namespace {

/// Parameters of a group as they are stored. Without zero points `zero` is h;
/// one symmetric bit, w = s (2q - 1), has no use for it.
struct Params {
  float scale = 0, zero = 0;
};

class RtnEncoder {
public:
  RtnEncoder(const GroupedFormat &format, const RtnOptions &options)
      : format(format), clipSteps(std::clamp(options.clipSteps, 0, 1000)),
        fullRange(options.range != RtnRange::AbsMax),
        qmax(static_cast<float>((1 << format.bits) - 1)),
        half(static_cast<float>(1 << (format.bits - 1))) {}

  /// Chooses the parameters of w [size] and writes its codes.
  Params encode(const float *w, int64_t size, uint8_t *codes) const;

private:
  using Zero = GroupedFormat::Zero;

  Params candidate(const float *w, int64_t size, float mn, float mx,
                   float shrink) const;
  Params oneBit(const float *w, int64_t size, float mn, float mx,
                float shrink) const;
  void writeCodes(const float *w, int64_t size, Params p, uint8_t *codes) const;
  double squaredError(const float *w, int64_t size, Params p,
                      const uint8_t *codes) const;
  float storedScale(float scale) const {
    return roundScale(format.scale, scale);
  }
  float storedZero(float zero) const;
  /// A narrow range far from zero would need a zero point of many bits: an f16
  /// one above 2048 is no integer any more.
  float leastScale(float mn, float mx) const {
    return std::max(std::fabs(mn), std::fabs(mx)) /
           (format.zero == Zero::F16 ? 1024 : 4096);
  }
  bool isOneBitSymmetric() const {
    return format.bits == 1 && format.zero == Zero::None;
  }

  const GroupedFormat &format;
  int clipSteps;
  bool fullRange;
  float qmax, half;
};

} // namespace

/// The least and the largest of w [size], size > 0.
static std::pair<float, float> extremes(const float *w, int64_t size) {
  float least = w[0], most = w[0];
  constexpr int64_t lanes = 8;
  if (size >= lanes) {
    // One of each lane, so that compilers make vectors of it.
    float low[lanes], high[lanes];
    std::copy_n(w, lanes, low);
    std::copy_n(w, lanes, high);
    for (int64_t i = lanes; i + lanes <= size; i += lanes)
      for (int64_t j = 0; j < lanes; ++j) {
        low[j] = w[i + j] < low[j] ? w[i + j] : low[j];
        high[j] = w[i + j] > high[j] ? w[i + j] : high[j];
      }
    least = *std::min_element(low, low + lanes);
    most = *std::max_element(high, high + lanes);
  }
  for (int64_t i = size / lanes * lanes; i < size; ++i) {
    least = std::min(least, w[i]);
    most = std::max(most, w[i]);
  }
  return {least, most};
}

float RtnEncoder::storedZero(float zero) const {
  return format.zero == Zero::F16 ? roundToType(DType::F16, zero) : zero;
}

Params RtnEncoder::oneBit(const float *w, int64_t size, float mn, float mx,
                          float shrink) const {
  if (format.zero == Zero::None) {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i)
      sum += std::fabs(w[i]);
    return {storedScale(static_cast<float>(sum / static_cast<double>(size))),
            0.5f};
  }
  if (format.zero == Zero::Int) {
    // {0, s} with zero point 0 or {-s, 0} with zero point 1.
    bool negative = -mn > mx;
    return {storedScale((negative ? -mn : mx) * shrink),
            negative ? 1.0f : 0.0f};
  }
  double total = 0, low = 0, high = 0;
  for (int64_t i = 0; i < size; ++i)
    total += w[i];
  double mean = total / static_cast<double>(size);
  int64_t above = 0;
  for (int64_t i = 0; i < size; ++i) {
    above += w[i] > mean;
    (w[i] > mean ? high : low) += w[i];
  }
  low /= static_cast<double>(std::max<int64_t>(size - above, 1));
  high = above ? high / static_cast<double>(above) : low;
  float least = leastScale(mn, mx);
  float scale = storedScale(std::max(static_cast<float>(high - low), least));
  return {scale, storedZero(static_cast<float>(-low / scale))};
}

Params RtnEncoder::candidate(const float *w, int64_t size, float mn, float mx,
                             float shrink) const {
  if (format.bits == 1)
    return oneBit(w, size, mn, mx, shrink);
  switch (format.zero) {
  case Zero::None: {
    float largest = -mn >= mx ? mn : mx;
    float scale = fullRange ? largest / -half : std::fabs(largest) / (half - 1);
    return {storedScale(scale * shrink), half};
  }
  case Zero::Int: {
    mn = std::min(mn, 0.0f) * shrink;
    mx = std::max(mx, 0.0f) * shrink;
    // Divided first: mx - mn may overflow.
    float scale = storedScale(mx / qmax - mn / qmax);
    return {scale, std::clamp(roundEven(-mn / scale), 0.0f, qmax)};
  }
  case Zero::F16:
  case Zero::F32: {
    float least = leastScale(mn, mx);
    float scale =
        storedScale(std::max((mx / qmax - mn / qmax) * shrink, least));
    float middle = mn / 2 + mx / 2;
    float low = middle + (mn - middle) * shrink;
    return {scale, storedZero(-low / scale)};
  }
  }
  return {};
}

void RtnEncoder::writeCodes(const float *w, int64_t size, Params p,
                            uint8_t *codes) const {
  if (isOneBitSymmetric()) {
    for (int64_t i = 0; i < size; ++i)
      codes[i] = w[i] >= 0;
    return;
  }
  // Bounds before rounding: roundEven() needs small numbers.
  float low = -p.zero, high = qmax - p.zero;
  if (format.zero == Zero::F16 || format.zero == Zero::F32) {
    for (int64_t i = 0; i < size; ++i)
      codes[i] = static_cast<uint8_t>(static_cast<int>(
          roundEven(std::clamp(w[i] / p.scale + p.zero, 0.0f, qmax))));
    return;
  }
  for (int64_t i = 0; i < size; ++i)
    codes[i] = static_cast<uint8_t>(static_cast<int>(
        roundEven(std::clamp(w[i] / p.scale, low, high)) + p.zero));
}

double RtnEncoder::squaredError(const float *w, int64_t size, Params p,
                                const uint8_t *codes) const {
  double factor = isOneBitSymmetric() ? 2.0 * p.scale : p.scale;
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    double difference =
        w[i] - factor * (codes[i] - static_cast<double>(p.zero));
    sum += difference * difference;
  }
  return sum;
}

Params RtnEncoder::encode(const float *w, int64_t size, uint8_t *codes) const {
  auto [mn, mx] = extremes(w, size);
  if (mn == 0 && mx == 0) {
    float zero = format.zero == Zero::None ? half : 0;
    std::fill(codes, codes + size, static_cast<uint8_t>(zero));
    return {0, zero};
  }
  Params best = candidate(w, size, mn, mx, 1);
  // Two levels of which one is 0 need the search.
  int steps = clipSteps;
  if (format.bits == 1)
    steps = format.zero == Zero::Int ? 32 : 0;
  if (!std::isfinite(best.scale) || steps == 0) {
    if (std::isfinite(best.scale))
      writeCodes(w, size, best, codes);
    return best;
  }
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= steps; ++i) {
    Params p =
        candidate(w, size, mn, mx,
                  1 - 0.7f * static_cast<float>(i) / static_cast<float>(steps));
    writeCodes(w, size, p, codes);
    if (double error = squaredError(w, size, p, codes); error < least) {
      least = error;
      best = p;
    }
  }
  writeCodes(w, size, best, codes);
  return best;
}

bool qc::encodeRtnRows(const GroupedFormat &format, const RtnOptions &options,
                       const float *w, int64_t k, RowRange rows,
                       HostWeight &out, RtnStatistics &statistics,
                       std::string &error) {
  if (auto problem = checkWeight(w, k, rows)) {
    error = *problem;
    return false;
  }
  RtnEncoder encoder(format, options);
  int64_t groups = format.numGroups(k);
  int64_t rowBytes = out.components[0].spec.shape[1];
  std::vector<uint8_t> codes(static_cast<size_t>(k));
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      int64_t begin = g * format.group;
      int64_t end = g + 1 == groups ? k : begin + format.group;
      Params p = encoder.encode(w + row * k + begin, end - begin,
                                codes.data() + begin);
      if (!std::isfinite(p.scale)) {
        error = "row " + std::to_string(row) + ", group " + std::to_string(g) +
                ": the scale does not fit its type, use scale = f32";
        return false;
      }
      statistics.groups += p.scale != 0;
      statistics.tinyScales += isTinyScale(format.scale, p.scale);
      int64_t at = row * groups + g;
      storeFloat(format.scale, out.components[1].bytes.data(), at, p.scale);
      if (format.zero == GroupedFormat::Zero::Int)
        out.components[2].bytes[static_cast<size_t>(at)] =
            static_cast<uint8_t>(p.zero);
      else if (format.zero != GroupedFormat::Zero::None)
        storeFloat(format.zeroType(), out.components[2].bytes.data(), at,
                   p.zero);
    }
    packBits(codes.data(), k, format.bits,
             out.components[0].bytes.data() + row * rowBytes);
  }
  return true;
}

bool qc::encodeRtn(const GroupedFormat &format, const RtnOptions &options,
                   const float *w, int64_t n, int64_t k, HostWeight &out,
                   std::string &error) {
  if (auto problem = format.check(n, k)) {
    error = *problem;
    return false;
  }
  out = allocateWeight(format, n, k);
  int64_t chunk = std::max<int64_t>(1, (1 << 16) / k);
  auto parts = static_cast<size_t>((n + chunk - 1) / chunk);
  std::vector<std::string> errors(parts);
  std::vector<RtnStatistics> counts(parts);
  parallelChunks(options.threads, n, chunk, [&](int64_t begin, int64_t end) {
    auto part = static_cast<size_t>(begin / chunk);
    encodeRtnRows(format, options, w, k, {begin, end}, out, counts[part],
                  errors[part]);
  });
  RtnStatistics total;
  for (size_t i = 0; i < parts; ++i) {
    if (!errors[i].empty()) {
      error = errors[i];
      return false;
    }
    total.groups += counts[i].groups;
    total.tinyScales += counts[i].tinyScales;
  }
  if (auto problem = checkScales(total.tinyScales, total.groups)) {
    error = *problem;
    return false;
  }
  return true;
}
