//===- KMeans.cpp - Nearest entries and k-means ---------------------------===//
#include "KMeans.h"

#include "Parallel.h"

#include <cstring>
#include <limits>
#include <numeric>

using namespace qc;

static constexpr int64_t lanes = 16;
static constexpr int64_t chunkSize = 2048;

void Codebook::prepareSearch() {
  padded = (count + lanes - 1) / lanes * lanes;
  transposed.assign(static_cast<size_t>(padded * dim), 0);
  norms.assign(static_cast<size_t>(padded),
               std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < count; ++i) {
    float norm = 0;
    for (int64_t j = 0; j < dim; ++j) {
      float value = entry(i)[j];
      transposed[static_cast<size_t>(j * padded + i)] = value;
      norm += value * value;
    }
    norms[static_cast<size_t>(i)] = norm / 2;
  }
}

int64_t Codebook::nearest(const float *v, float *scratch,
                          float *distance) const {
  // |v - c|^2 = |v|^2 + 2 (|c|^2 / 2 - v c): the bracket decides.
  const float *c = transposed.data();
  float least[lanes];
  std::fill(least, least + lanes, std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < padded; i += lanes) {
    float sum[lanes];
    std::memcpy(sum, norms.data() + i, sizeof(sum));
    for (int64_t j = 0; j < dim; ++j)
      for (int64_t l = 0; l < lanes; ++l)
        sum[l] -= v[j] * c[j * padded + i + l];
    for (int64_t l = 0; l < lanes; ++l)
      least[l] = sum[l] < least[l] ? sum[l] : least[l];
    std::memcpy(scratch + i, sum, sizeof(sum));
  }
  float best = *std::min_element(least, least + lanes);
  int64_t at = std::find(scratch, scratch + count, best) - scratch;
  if (at == count)
    at = 0; // not finite
  if (distance) {
    float norm = 0;
    for (int64_t j = 0; j < dim; ++j)
      norm += v[j] * v[j];
    *distance = std::max(0.0f, norm + 2 * best);
  }
  return at;
}

int64_t qc::updateMeans(Codebook &book, const float *vectors,
                        const int32_t *codes, const float *weights,
                        int64_t size, int threads) {
  // Members of each entry, in order: a counting sort.
  std::vector<int64_t> first(static_cast<size_t>(book.count) + 1);
  for (int64_t i = 0; i < size; ++i)
    ++first[static_cast<size_t>(codes[i]) + 1];
  std::partial_sum(first.begin(), first.end(), first.begin());
  std::vector<int32_t> members(static_cast<size_t>(size));
  std::vector<int64_t> next(first.begin(), first.end() - 1);
  for (int64_t i = 0; i < size; ++i)
    members[static_cast<size_t>(next[static_cast<size_t>(codes[i])]++)] =
        static_cast<int32_t>(i);

  parallelChunks(threads, book.count, 16, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(book.dim));
    for (int64_t e = begin; e < end; ++e) {
      std::fill(sum.begin(), sum.end(), 0);
      double total = 0;
      for (int64_t m = first[static_cast<size_t>(e)];
           m < first[static_cast<size_t>(e) + 1]; ++m) {
        int64_t i = members[static_cast<size_t>(m)];
        double weight = weights ? weights[i] : 1;
        total += weight;
        for (int64_t j = 0; j < book.dim; ++j)
          sum[static_cast<size_t>(j)] += weight * vectors[i * book.dim + j];
      }
      if (total > 0)
        for (int64_t j = 0; j < book.dim; ++j)
          book.entry(e)[j] =
              static_cast<float>(sum[static_cast<size_t>(j)] / total);
    }
  });
  int64_t empty = 0;
  for (int64_t e = 0; e < book.count; ++e)
    empty += first[static_cast<size_t>(e)] == first[static_cast<size_t>(e) + 1];
  return empty;
}

namespace {
/// splitmix64: the same sequence everywhere, unlike std distributions.
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
};
} // namespace

/// k-means++: each start vector is drawn with a probability proportional to its
/// squared distance from those drawn before.
static void plusPlusStart(Codebook &book, const float *vectors, int64_t size,
                          Random &random, int threads) {
  int64_t dim = book.dim;
  std::vector<float> distance(static_cast<size_t>(size),
                              std::numeric_limits<float>::infinity());
  auto pick =
      static_cast<int64_t>(random.uniform() * static_cast<double>(size));
  for (int64_t e = 0;; ++e) {
    std::memcpy(book.entry(e), vectors + pick * dim,
                sizeof(float) * static_cast<size_t>(dim));
    if (e + 1 == book.count)
      return;
    parallelChunks(
        threads, size, 4 * chunkSize, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            float sum = 0;
            for (int64_t j = 0; j < dim; ++j) {
              float difference = vectors[i * dim + j] - book.entry(e)[j];
              sum += difference * difference;
            }
            float &least = distance[static_cast<size_t>(i)];
            least = std::min(least, sum);
          }
        });
    double total = 0;
    for (float d : distance)
      total += d;
    double target = random.uniform() * total;
    pick = size - 1;
    for (int64_t i = 0; i < size; ++i)
      if ((target -= distance[static_cast<size_t>(i)]) < 0) {
        pick = i;
        break;
      }
  }
}

static void randomStart(Codebook &book, const float *vectors, int64_t size,
                        Random &random) {
  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t e = 0; e < book.count; ++e) {
    auto other = e + static_cast<int64_t>(random.uniform() *
                                          static_cast<double>(size - e));
    std::swap(order[static_cast<size_t>(e)], order[static_cast<size_t>(other)]);
    std::memcpy(book.entry(e),
                vectors + order[static_cast<size_t>(e)] * book.dim,
                sizeof(float) * static_cast<size_t>(book.dim));
  }
}

/// Moves entries without members to the vectors farthest from their own entry.
static void reseedEmpty(Codebook &book, const float *vectors, int64_t size,
                        const std::vector<int32_t> &codes,
                        const std::vector<float> &distance, int64_t empty) {
  std::vector<char> used(static_cast<size_t>(book.count));
  for (int32_t code : codes)
    used[static_cast<size_t>(code)] = 1;
  std::vector<int32_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + std::min(empty, size),
                    order.end(), [&](int32_t a, int32_t b) {
                      float da = distance[static_cast<size_t>(a)];
                      float db = distance[static_cast<size_t>(b)];
                      return da != db ? da > db : a < b;
                    });
  size_t next = 0;
  for (int64_t e = 0; e < book.count && next < order.size(); ++e)
    if (!used[static_cast<size_t>(e)])
      std::memcpy(book.entry(e), vectors + order[next++] * book.dim,
                  sizeof(float) * static_cast<size_t>(book.dim));
}

void qc::kMeans(Codebook &book, const float *vectors, int64_t size,
                int iterations, uint64_t seed, int threads) {
  std::fill(book.entries.begin(), book.entries.end(), 0.0f);
  if (size <= book.count) {
    std::copy(vectors, vectors + size * book.dim, book.entries.begin());
    return;
  }
  Random random{seed};
  if (book.count <= 4096)
    plusPlusStart(book, vectors, size, random, threads);
  else
    randomStart(book, vectors, size, random);

  std::vector<int32_t> codes(static_cast<size_t>(size));
  std::vector<float> distance(static_cast<size_t>(size));
  for (int iteration = 0; iteration < iterations; ++iteration) {
    book.prepareSearch();
    parallelChunks(threads, size, chunkSize, [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(static_cast<size_t>(book.scratchSize()));
      for (int64_t i = begin; i < end; ++i)
        codes[static_cast<size_t>(i)] = static_cast<int32_t>(
            book.nearest(vectors + i * book.dim, scratch.data(),
                         &distance[static_cast<size_t>(i)]));
    });
    int64_t empty =
        updateMeans(book, vectors, codes.data(), nullptr, size, threads);
    if (empty && iteration + 1 < iterations)
      reseedEmpty(book, vectors, size, codes, distance, empty);
  }
}
