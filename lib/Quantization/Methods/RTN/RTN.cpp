//===- RTN.cpp - Round to nearest -----------------------------------------===//
//
//   w ~ scale * (q - zero),   q = clip(round(w / scale) + zero, 0, 2^bits - 1)
//
// for each group of consecutive inputs of a row. How scale and zero follow from
// a group is written in qc/Quantization/Encode.h.
//
//===----------------------------------------------------------------------===//
#include "mlir/Pass/Pass.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/Driver.h"

namespace mlir::qc {
#define GEN_PASS_DECL
#define GEN_PASS_DEF_RTNPASS
#include "qc/Quantization/Methods/RTN.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

namespace {

class RTN final : public ::qc::Quantizer {
public:
  RTN(const ::qc::GroupedFormat &format, const ::qc::RtnOptions &options)
      : grouped(format), options(options) {}

  std::string name() const override { return "rtn"; }
  std::string settings() const override {
    return "range = " + std::to_string(static_cast<int>(options.range)) +
           ", clip-steps = " + std::to_string(options.clipSteps);
  }
  std::shared_ptr<const ::qc::Format> formatFor(int64_t,
                                                int64_t) const override {
    return std::make_shared<::qc::GroupedFormat>(grouped);
  }
  std::optional<std::string> quantize(const ::qc::FloatWeight &w,
                                      const ::qc::Format &,
                                      const ::qc::QuantizeContext &context,
                                      ::qc::HostWeight &out) const override {
    ::qc::RtnOptions run = options;
    run.threads = static_cast<int>(context.threads());
    std::string error;
    if (!::qc::encodeRtn(grouped, run, w.data, w.n, w.k, out, error))
      return error;
    return std::nullopt;
  }

private:
  ::qc::GroupedFormat grouped;
  ::qc::RtnOptions options;
};

struct RTNPass : public mlir::qc::impl::RTNPassBase<RTNPass> {
  using RTNPassBase::RTNPassBase;

  LogicalResult run() {
    using Zero = ::qc::GroupedFormat::Zero;
    Zero kind = zero;
    if (symmetric && kind != Zero::None)
      return mlir::emitError(getOperation().getLoc(),
                             "option zero: zero points need "
                             "symmetric=false");
    if (!symmetric && kind == Zero::None)
      kind = Zero::Int;
    if (clipSteps < 0 || clipSteps > 99)
      return mlir::emitError(getOperation().getLoc())
             << "option clip-steps: expected 0 to 99, found "
             << clipSteps.getValue();
    ::qc::RtnOptions options;
    options.range = range;
    options.clipSteps = clipSteps;
    ::qc::GroupedFormat format(bits, groupSize == -1 ? 0 : groupSize, scale,
                               kind);
    return quantizeWeights(
        getOperation(), RTN(format, options),
        {targets, include, exclude, outputDir, threads, report, verbose});
  }
  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }
};

} // namespace
