//===- LLMInt8.cpp - int8 rows of LLM.int8() ------------------------------===//
//
//   w ~ scale * q,   scale = max|w_row| / 127, q = round(w * 127 / max|w_row|)
//
// Dettmers et al., arXiv 2208.07339, section 2.1 (vector-wise quantization).
//
//===----------------------------------------------------------------------===//
#include "mlir/Pass/Pass.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/BitsAndBytes.h"
#include "qc/Quantization/Driver.h"

namespace mlir::qc {
#define GEN_PASS_DECL
#define GEN_PASS_DEF_LLMINT8PASS
#include "qc/Quantization/Methods/LLMInt8.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

namespace {

class LLMInt8 final : public ::qc::Quantizer {
public:
  std::string name() const override { return "llm-int8"; }
  std::string settings() const override { return ""; }
  std::shared_ptr<const ::qc::Format> formatFor(int64_t,
                                                int64_t) const override {
    return std::make_shared<::qc::GroupedFormat>(::qc::int8Format());
  }
  std::optional<std::string> quantize(const ::qc::FloatWeight &w,
                                      const ::qc::Format &,
                                      const ::qc::QuantizeContext &context,
                                      ::qc::HostWeight &out) const override {
    std::string error;
    if (!::qc::encodeInt8(w.data, w.n, w.k, static_cast<int>(context.threads()),
                          out, error))
      return error;
    return std::nullopt;
  }
};

struct LLMInt8Pass : public mlir::qc::impl::LLMInt8PassBase<LLMInt8Pass> {
  using LLMInt8PassBase::LLMInt8PassBase;

  void runOnOperation() override {
    if (failed(quantizeWeights(
            getOperation(), LLMInt8(),
            {targets, include, exclude, outputDir, threads, report, verbose})))
      signalPassFailure();
  }
};

} // namespace
