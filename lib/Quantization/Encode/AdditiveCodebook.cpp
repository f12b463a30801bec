//===- AdditiveCodebook.cpp - Residual k-means into codebooks -------------===//
#include "qc/Quantization/AdditiveCodebook.h"

#include "KMeans.h"
#include "Parallel.h"
#include "Rounding.h"

#include <cstring>

using namespace qc;

namespace {

class AdditiveEncoder {
public:
  AdditiveEncoder(const CodebookFormat &format,
                  const AdditiveCodebookOptions &options, const float *w,
                  int64_t n, int64_t k)
      : format(format), options(options), w(w), n(n), k(k),
        perRow(format.numVectors(k)), size(n * perRow), dim(format.vector),
        rowScale(static_cast<size_t>(n)),
        residual(static_cast<size_t>(size * dim)),
        weight(static_cast<size_t>(size)),
        codes(static_cast<size_t>(format.books),
              std::vector<int32_t>(static_cast<size_t>(size))),
        books(static_cast<size_t>(format.books),
              Codebook(format.numEntries(), dim)) {
    stepsLeft = steps = format.books * (options.passes + 2) + 1;
  }

  bool encode(HostWeight &out, std::string &error);

private:
  void normalize();
  void initialize();
  void improve(int64_t book, bool first);
  bool roundEntries(HostWeight &out, std::string &error);
  bool store(HostWeight &out, std::string &error);
  void step() {
    --stepsLeft;
    if (options.progress)
      options.progress(1 - static_cast<double>(stepsLeft) / steps);
  }

  const CodebookFormat &format;
  const AdditiveCodebookOptions &options;
  const float *w;
  const int64_t n, k, perRow, size, dim;

  std::vector<float> rowScale; ///< [n]
  /// [size][dim]: normalized weights minus the entries chosen so far. The end
  /// of a row's last vector is padded with zeros.
  std::vector<float> residual;
  std::vector<float> weight; ///< [size]: scale^2, what an error there costs
  std::vector<std::vector<int32_t>> codes; ///< [books][size]
  std::vector<Codebook> books;
  int steps, stepsLeft;
};

} // namespace

void AdditiveEncoder::normalize() {
  parallelFor(options.threads, n, [&](int64_t row) {
    const float *from = w + row * k;
    double sum = 0;
    for (int64_t i = 0; i < k; ++i)
      sum += static_cast<double>(from[i]) * from[i];
    auto scale = static_cast<float>(std::sqrt(sum / static_cast<double>(k)));
    rowScale[static_cast<size_t>(row)] = scale;
    float *to = residual.data() + row * perRow * dim;
    for (int64_t i = 0; i < k; ++i)
      to[i] = scale > 0 ? from[i] / scale : 0;
    // Relative weights keep the sums in range whatever the unit of w.
    std::fill_n(weight.data() + row * perRow, perRow, scale);
  });
  float largest = *std::max_element(rowScale.begin(), rowScale.end());
  for (float &value : weight)
    value = largest > 0 ? value / largest * (value / largest) : 0;
}

/// residual += sign * entry of its code, for every vector.
static void addEntries(std::vector<float> &residual, const Codebook &book,
                       const std::vector<int32_t> &codes, float sign,
                       int threads) {
  int64_t dim = book.dim;
  parallelChunks(threads, static_cast<int64_t>(codes.size()), 1 << 14,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const float *e = book.entry(codes[static_cast<size_t>(i)]);
                     for (int64_t j = 0; j < dim; ++j)
                       residual[static_cast<size_t>(i * dim + j)] +=
                           sign * e[j];
                   }
                 });
}

static void assign(const std::vector<float> &vectors, Codebook &book,
                   std::vector<int32_t> &codes, int threads) {
  book.prepareSearch();
  parallelChunks(
      threads, static_cast<int64_t>(codes.size()), 2048,
      [&](int64_t begin, int64_t end) {
        std::vector<float> scratch(static_cast<size_t>(book.scratchSize()));
        for (int64_t i = begin; i < end; ++i)
          codes[static_cast<size_t>(i)] = static_cast<int32_t>(
              book.nearest(vectors.data() + i * book.dim, scratch.data()));
      });
}

/// Residual k-means on equally spaced vectors, then codes for all of them.
void AdditiveEncoder::initialize() {
  int64_t wanted = std::max(options.sample, 8 * format.numEntries());
  int64_t count = std::min(size, wanted);
  std::vector<float> sample(static_cast<size_t>(count * dim));
  for (size_t m = 0; m < books.size(); ++m) {
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(sample.data() + i * dim,
                  residual.data() + i * size / count * dim,
                  sizeof(float) * static_cast<size_t>(dim));
    kMeans(books[m], sample.data(), count, options.iterations, options.seed + m,
           options.threads);
    step();
    improve(static_cast<int64_t>(m), true);
  }
}

/// Codes of one book given the others, then its entries given all codes.
void AdditiveEncoder::improve(int64_t index, bool first) {
  Codebook &book = books[static_cast<size_t>(index)];
  std::vector<int32_t> &own = codes[static_cast<size_t>(index)];
  if (!first)
    addEntries(residual, book, own, 1, options.threads);
  assign(residual, book, own, options.threads);
  updateMeans(book, residual.data(), own.data(), weight.data(), size,
              options.threads);
  addEntries(residual, book, own, -1, options.threads);
  step();
}

/// Stores the entries and goes on with the stored numbers.
bool AdditiveEncoder::roundEntries(HostWeight &out, std::string &error) {
  uint8_t *data = out.components[1].bytes.data();
  for (size_t m = 0; m < books.size(); ++m) {
    addEntries(residual, books[m], codes[m], 1, options.threads);
    for (size_t i = 0; i < books[m].entries.size(); ++i) {
      auto at = static_cast<int64_t>(m * books[m].entries.size() + i);
      storeFloat(format.entry, data, at, books[m].entries[i]);
      books[m].entries[i] = loadFloat(format.entry, data, at);
    }
    addEntries(residual, books[m], codes[m], -1, options.threads);
  }
  if (auto problem = checkFinite(out.components[1].view())) {
    error = *problem;
    return false;
  }
  return true;
}

/// Least squares scales for the final codes; writes scales and codes.
bool AdditiveEncoder::store(HostWeight &out, std::string &error) {
  auto numBooks = static_cast<int64_t>(books.size());
  parallelFor(options.threads, n, [&](int64_t row) {
    double product = 0, norm = 0;
    for (int64_t i = 0; i < k; ++i) {
      int64_t vector = row * perRow + i / dim;
      double sum = 0;
      for (int64_t m = 0; m < numBooks; ++m)
        sum += books[static_cast<size_t>(m)].entry(codes[static_cast<size_t>(
            m)][static_cast<size_t>(vector)])[i % dim];
      product += sum * w[row * k + i];
      norm += sum * sum;
    }
    double scale = norm > 0 && product > 0 ? product / norm : 0;
    storeFloat(format.scale, out.components[2].bytes.data(), row,
               roundScale(format.scale, static_cast<float>(scale)));
    for (int64_t i = 0; i < perRow; ++i)
      for (int64_t m = 0; m < numBooks; ++m) {
        int64_t vector = row * perRow + i;
        auto code = static_cast<uint32_t>(
            codes[static_cast<size_t>(m)][static_cast<size_t>(vector)]);
        int64_t at = vector * numBooks + m;
        if (format.codeType() == DType::U8)
          out.components[0].bytes[static_cast<size_t>(at)] =
              static_cast<uint8_t>(code);
        else
          storeBits(DType::U16, out.components[0].bytes.data(), at, code);
      }
  });
  if (auto problem = checkFinite(out.components[2].view())) {
    error = *problem + "; the scale does not fit its type, use scale = f32";
    return false;
  }
  int64_t nonzero = 0, tiny = 0;
  for (int64_t row = 0; row < n; ++row) {
    float scale = loadFloat(format.scale, out.components[2].bytes.data(), row);
    nonzero += scale != 0;
    tiny += isTinyScale(format.scale, scale);
  }
  if (auto problem = checkScales(tiny, nonzero)) {
    error = *problem;
    return false;
  }
  return true;
}

bool AdditiveEncoder::encode(HostWeight &out, std::string &error) {
  normalize();
  initialize();
  for (int pass = 0; pass < options.passes; ++pass)
    for (int64_t m = 0; m < format.books; ++m)
      improve(m, false);
  if (!roundEntries(out, error))
    return false;
  for (size_t m = 0; m < books.size(); ++m) {
    addEntries(residual, books[m], codes[m], 1, options.threads);
    assign(residual, books[m], codes[m], options.threads);
    addEntries(residual, books[m], codes[m], -1, options.threads);
  }
  bool stored = store(out, error);
  step();
  return stored;
}

bool qc::encodeAdditiveCodebook(const CodebookFormat &format,
                                const AdditiveCodebookOptions &options,
                                const float *w, int64_t n, int64_t k,
                                HostWeight &out, std::string &error) {
  std::optional<std::string> problem = format.check(n, k);
  if (!problem && n * format.numVectors(k) > INT32_MAX)
    problem = "weight has more than 2^31 vectors";
  if (!problem)
    problem = checkWeight(w, k, {0, n});
  if (problem) {
    error = *problem;
    return false;
  }
  out = allocateWeight(format, n, k);
  AdditiveEncoder encoder(format, options, w, n, k);
  return encoder.encode(out, error);
}
