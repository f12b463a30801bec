//===- KMeans.h - Nearest entries and k-means -------------------*- C++ -*-===//
//
// Deterministic for any number of threads: every vector is assigned by itself,
// and the members of an entry are summed in the order of their indices.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_QUANTIZATION_ENCODE_KMEANS_H
#define QC_LIB_QUANTIZATION_ENCODE_KMEANS_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qc {

/// One codebook, entries [count][dim] in f32, and what a search needs.
class Codebook {
public:
  Codebook(int64_t count, int64_t dim)
      : entries(static_cast<size_t>(count * dim)), count(count), dim(dim) {}

  std::vector<float> entries;
  const int64_t count, dim;

  float *entry(int64_t i) { return entries.data() + i * dim; }
  const float *entry(int64_t i) const { return entries.data() + i * dim; }

  /// Call after a change of `entries`, before nearest().
  void prepareSearch();

  /// The entry nearest to v [dim], the first of equally near ones; `scratch`
  /// [scratchSize()]. If `distance`, the squared distance.
  int64_t nearest(const float *v, float *scratch,
                  float *distance = nullptr) const;
  int64_t scratchSize() const { return padded; }

private:
  // Entries transposed, [dim][padded], so that a search runs along the lanes of
  // a vector register; norms[i] = |entry i|^2 / 2, infinite in the padding.
  std::vector<float> transposed, norms;
  int64_t padded = 0;
};

/// Sets every entry that has members to the weighted mean of its members,
/// sum weight * v / sum weight. vectors [size][dim], codes [size], weights
/// [size] (nullptr: all 1). Entries without members keep their values; returns
/// how many there are.
int64_t updateMeans(Codebook &book, const float *vectors, const int32_t *codes,
                    const float *weights, int64_t size, int threads);

/// k-means from a k-means++ start (random distinct vectors for more than 4096
/// entries); entries that lost their members move to the vectors that are
/// farthest from theirs. With no more vectors than entries, the entries are the
/// vectors and zeros.
void kMeans(Codebook &book, const float *vectors, int64_t size, int iterations,
            uint64_t seed, int threads);

} // namespace qc

#endif // QC_LIB_QUANTIZATION_ENCODE_KMEANS_H
