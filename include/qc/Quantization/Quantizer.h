//===- Quantizer.h - What a quantization method implements ------*- C++ -*-===//
//
// A method turns one float matrix W [n, k] (n outputs, k inputs, y = x W^T)
// into the components of a weight format. The driver (Driver.h) does the rest:
// which weights, reading and writing files, memory, threads, resuming, errors.
//
// A whole method, sign binarization with a scale a row, w ~ mean|w| * sign(w):
//
//   class Sign final : public qc::Quantizer {
//   public:
//     std::string name() const override { return "sign"; }
//     std::string settings() const override { return ""; }
//     std::shared_ptr<const qc::Format>
//     formatFor(int64_t n, int64_t k) const override {
//       return std::make_shared<qc::GroupedFormat>(/*bits=*/1, /*group=*/0,
//                                                  qc::DType::F32);
//     }
//     std::optional<std::string>
//     quantize(const qc::FloatWeight &w, const qc::Format &format,
//              const qc::QuantizeContext &context,
//              qc::HostWeight &out) const override {
//       out = qc::allocateWeight(format, w.n, w.k);
//       uint8_t *codes = out.components[0].bytes.data();
//       uint8_t *scales = out.components[1].bytes.data();
//       int64_t stride = (w.k + 7) / 8; // bytes of a row of 1-bit codes
//       context.forRows(w.n, [&](int64_t begin, int64_t end) {
//         for (int64_t row = begin; row < end; ++row) {
//           double sum = 0;
//           for (int64_t i = 0; i < w.k; ++i) {
//             float value = w.row(row)[i];
//             sum += std::abs(value);
//             qc::writeBits(codes + row * stride, i, /*bits=*/1, value >= 0);
//           }
//           qc::storeFloat(qc::DType::F32, scales, row, sum / w.k);
//         }
//       });
//       return std::nullopt;
//     }
//   };
//
// The pass around it is ten more lines: docs/AddAQuantizer.md. The methods of
// qc live in lib/Quantization/Methods, one folder each.
//
// Free of LLVM; no exceptions.
//
//===----------------------------------------------------------------------===//
#ifndef QC_QUANTIZATION_QUANTIZER_H
#define QC_QUANTIZATION_QUANTIZER_H

#include "qc/Format/Elements.h"
#include "qc/Format/Format.h"
#include "qc/Quantization/Encode.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace qc {

/// A matrix [n, k], row major. All numbers are finite.
struct FloatWeight {
  const float *data = nullptr;
  int64_t n = 0, k = 0;

  const float *row(int64_t index) const { return data + index * k; }
};

/// What a method wants to know about a layer's inputs x [tokens, k].
enum class Statistics {
  None,   ///< no calibration
  AbsMax, ///< max |x_j|  [k]
  Mean,   ///< mean |x_j| [k]
  Gram,   ///< X^T X      [k, k]
};

/// The driver's services to a method.
class QuantizeContext {
public:
  explicit QuantizeContext(unsigned threads) : numThreads(threads) {}

  /// At least 1.
  unsigned threads() const { return numThreads; }
  /// Calls body(begin, end) for ranges that cover rows [0, n), each row once,
  /// from threads() threads. The ranges do not depend on the number of threads.
  void forRows(int64_t n,
               const std::function<void(int64_t, int64_t)> &body) const;

private:
  unsigned numThreads;
};

class Quantizer {
public:
  virtual ~Quantizer() = default;

  /// Lower case, part of file names: "rtn".
  virtual std::string name() const = 0;

  /// Every setting that changes the result and does not show in the format's
  /// spelling ("seed = 1, iterations = 25"). Results of equal name, settings,
  /// format and source are taken from an earlier run.
  virtual std::string settings() const = 0;

  /// What calibration must provide. The driver rejects a method that needs more
  /// than the pipeline has.
  virtual Statistics statistics() const { return Statistics::None; }

  /// The format of a weight [n, k]. The driver checks that the format accepts
  /// the shape and names the weight if it does not.
  virtual std::shared_ptr<const Format> formatFor(int64_t n,
                                                  int64_t k) const = 0;

  /// Sets `out` to components of `format`, which is the result of formatFor
  /// (start from allocateWeight). Equal input gives equal bytes, whatever the
  /// number of threads. Returns what went wrong, in one line.
  virtual std::optional<std::string> quantize(const FloatWeight &w,
                                              const Format &format,
                                              const QuantizeContext &context,
                                              HostWeight &out) const = 0;
};

} // namespace qc

#endif // QC_QUANTIZATION_QUANTIZER_H
