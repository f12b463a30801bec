//===- AQLM.cpp - Additive codebooks without calibration ------------------===//
//
//   w[row, i*g + j] ~ scale[row] * sum_m C_m[code[row, i, m]][j]
//
// Egiazarian et al., arXiv 2401.06118, equation 5; how codes and codebooks are
// found without data: qc/Quantization/AdditiveCodebook.h.
//
//===----------------------------------------------------------------------===//
#include "mlir/Pass/Pass.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/AdditiveCodebook.h"
#include "qc/Quantization/Driver.h"

namespace mlir::qc {
#define GEN_PASS_DECL
#define GEN_PASS_DEF_AQLMPASS
#include "qc/Quantization/Methods/AQLM.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

namespace {

class AQLM final : public ::qc::Quantizer {
public:
  AQLM(const ::qc::CodebookFormat &format,
       const ::qc::AdditiveCodebookOptions &options)
      : codebook(format), options(options) {}

  std::string name() const override { return "aqlm"; }
  std::string settings() const override {
    return "sample = " + std::to_string(options.sample) +
           ", iterations = " + std::to_string(options.iterations) +
           ", passes = " + std::to_string(options.passes) +
           ", seed = " + std::to_string(options.seed);
  }
  std::shared_ptr<const ::qc::Format> formatFor(int64_t,
                                                int64_t) const override {
    return std::make_shared<::qc::CodebookFormat>(codebook);
  }
  std::optional<std::string> quantize(const ::qc::FloatWeight &w,
                                      const ::qc::Format &,
                                      const ::qc::QuantizeContext &context,
                                      ::qc::HostWeight &out) const override {
    ::qc::AdditiveCodebookOptions run = options;
    run.threads = static_cast<int>(context.threads());
    std::string error;
    if (!::qc::encodeAdditiveCodebook(codebook, run, w.data, w.n, w.k, out,
                                      error))
      return error;
    return std::nullopt;
  }

private:
  ::qc::CodebookFormat codebook;
  ::qc::AdditiveCodebookOptions options;
};

struct AQLMPass : public mlir::qc::impl::AQLMPassBase<AQLMPass> {
  using AQLMPassBase::AQLMPassBase;

  LogicalResult atLeast(StringRef option, int64_t value, int64_t least) {
    if (value >= least)
      return success();
    return mlir::emitError(getOperation().getLoc())
           << "option " << option << ": expected at "
           << "least " << least << ", found " << value;
  }

  LogicalResult run() {
    if (failed(atLeast("sample", sample, 1)) ||
        failed(atLeast("iterations", iterations, 1)) ||
        failed(atLeast("passes", passes, 0)))
      return failure();
    ::qc::AdditiveCodebookOptions options;
    options.sample = sample;
    options.iterations = iterations;
    options.passes = passes;
    options.seed = seed;
    ::qc::CodebookFormat format(books, bits, vector, scale, entry);
    return quantizeWeights(
        getOperation(), AQLM(format, options),
        {targets, include, exclude, outputDir, threads, report, verbose});
  }
  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }
};

} // namespace
