//===- E8P.cpp - Rounding to points of the E8 lattice ---------------------===//
//
//   w[row, 8 i .. 8 i + 7] ~ scale[row] * nearest point of E8P
//
// Tseng et al., arXiv 2402.04396, section 4.2; qc/Quantization/E8P.h.
//
//===----------------------------------------------------------------------===//
#include "qc/Quantization/E8P.h"
#include "mlir/Pass/Pass.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/Driver.h"

#include <cstring>

namespace mlir::qc {
#define GEN_PASS_DECL
#define GEN_PASS_DEF_E8PPASS
#include "qc/Quantization/Methods/E8P.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

namespace {

class E8P final : public ::qc::Quantizer {
public:
  explicit E8P(::qc::DType scale) : scale(scale) {}

  std::string name() const override { return "e8p"; }
  std::string settings() const override { return ""; }
  std::shared_ptr<const ::qc::Format> formatFor(int64_t,
                                                int64_t) const override {
    return std::make_shared<::qc::E8PFormat>(scale);
  }
  std::optional<std::string> quantize(const ::qc::FloatWeight &w,
                                      const ::qc::Format &format,
                                      const ::qc::QuantizeContext &context,
                                      ::qc::HostWeight &out) const override {
    out = ::qc::allocateWeight(format, w.n, w.k);
    uint8_t *codes = out.components[0].bytes.data();
    uint8_t *scales = out.components[1].bytes.data();
    int64_t vectors = ::qc::E8PFormat::numVectors(w.k);
    context.forRows(w.n, [&](int64_t begin, int64_t end) {
      std::vector<uint16_t> row(static_cast<size_t>(vectors));
      for (int64_t r = begin; r < end; ++r) {
        float factor = ::qc::encodeE8PRow(w.row(r), w.k, scale, row.data());
        ::qc::storeFloat(scale, scales, r, factor);
        std::memcpy(codes + r * vectors * 2, row.data(), row.size() * 2);
      }
    });
    return std::nullopt;
  }

private:
  ::qc::DType scale;
};

struct E8PPass : public mlir::qc::impl::E8PPassBase<E8PPass> {
  using E8PPassBase::E8PPassBase;

  void runOnOperation() override {
    if (failed(quantizeWeights(
            getOperation(), E8P(scale),
            {targets, include, exclude, outputDir, threads, report, verbose})))
      signalPassFailure();
  }
};

} // namespace
