//===- NF4.cpp - 4-bit tables of bitsandbytes -----------------------------===//
//
//   w ~ scale * table[q],   scale = max|w| of the group, q = nearest entry
//
// Dettmers et al., arXiv 2305.14314, section 3; details and double
// quantization: qc/Quantization/BitsAndBytes.h.
//
//===----------------------------------------------------------------------===//
#include "mlir/Pass/Pass.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/BitsAndBytes.h"
#include "qc/Quantization/Driver.h"

namespace mlir::qc {
#define GEN_PASS_DECL
#define GEN_PASS_DEF_NF4PASS
#include "qc/Quantization/Methods/NF4.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

namespace {

class NF4 final : public ::qc::Quantizer {
public:
  explicit NF4(const ::qc::LUTFormat &format) : lut(format) {}

  std::string name() const override {
    return lut.table == ::qc::LUTFormat::Table::FP4 ? "fp4" : "nf4";
  }
  std::string settings() const override { return ""; }
  std::shared_ptr<const ::qc::Format> formatFor(int64_t,
                                                int64_t) const override {
    return std::make_shared<::qc::LUTFormat>(lut);
  }
  std::optional<std::string> quantize(const ::qc::FloatWeight &w,
                                      const ::qc::Format &,
                                      const ::qc::QuantizeContext &context,
                                      ::qc::HostWeight &out) const override {
    std::string error;
    if (!::qc::encodeLUT(lut, /*ownTable=*/{}, w.data, w.n, w.k,
                         static_cast<int>(context.threads()), out, error))
      return error;
    return std::nullopt;
  }

private:
  ::qc::LUTFormat lut;
};

struct NF4Pass : public mlir::qc::impl::NF4PassBase<NF4Pass> {
  using NF4PassBase::NF4PassBase;

  LogicalResult run() {
    if (doubleQuant && doubleQuantBlock < 1)
      return mlir::emitError(getOperation().getLoc())
             << "option double-quant-block: expected a positive number, found "
             << doubleQuantBlock.getValue();
    ::qc::LUTFormat format(type, /*bits=*/4, groupSize == -1 ? 0 : groupSize,
                           scale, doubleQuant ? doubleQuantBlock : 0);
    return quantizeWeights(
        getOperation(), NF4(format),
        {targets, include, exclude, outputDir, threads, report, verbose});
  }
  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }
};

} // namespace
