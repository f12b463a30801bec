//===- SignQuantizer.cpp - A quantization method as a plugin --------------===//
//
//   w ~ scale * sign(w),   scale = mean |w| of the row
//
// the least squares scale of a binarized row (Rastegari et al., "XNOR-Net",
// arXiv 1603.05279, equation 6). Copy this file to begin a method of your own.
//
//===----------------------------------------------------------------------===//
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "qc/Dialect/QC/IR/QCDialect.h"
#include "qc/Quantization/Driver.h"
#include <cmath>

namespace {

class Sign final : public qc::Quantizer {
public:
  std::string name() const override { return "sign"; }
  std::string settings() const override { return ""; }

  std::shared_ptr<const qc::Format> formatFor(int64_t n,
                                              int64_t k) const override {
    return std::make_shared<qc::GroupedFormat>(/*bits=*/1, /*group=*/0,
                                               qc::DType::F32);
  }

  std::optional<std::string> quantize(const qc::FloatWeight &w,
                                      const qc::Format &format,
                                      const qc::QuantizeContext &context,
                                      qc::HostWeight &out) const override {
    out = qc::allocateWeight(format, w.n, w.k);
    uint8_t *codes = out.components[0].bytes.data();
    uint8_t *scales = out.components[1].bytes.data();
    int64_t stride = (w.k + 7) / 8; // bytes of a row of 1-bit codes
    context.forRows(w.n, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        double sum = 0;
        for (int64_t i = 0; i < w.k; ++i) {
          float value = w.row(row)[i];
          sum += std::abs(value);
          qc::writeBits(codes + row * stride, i, /*bits=*/1, value >= 0);
        }
        qc::storeFloat(qc::DType::F32, scales, row,
                       static_cast<float>(sum / static_cast<double>(w.k)));
      }
    });
    return std::nullopt;
  }
};

struct SignPass
    : mlir::PassWrapper<SignPass, mlir::OperationPass<mlir::ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SignPass)

  SignPass() = default;
  SignPass(const SignPass &other) : PassWrapper(other) {}
  llvm::StringRef getArgument() const final { return "quantize-sign"; }
  llvm::StringRef getDescription() const final {
    return "Quantize weights to signs with a scale a row";
  }
  void getDependentDialects(mlir::DialectRegistry &registry) const final {
    registry.insert<mlir::qc::QCDialect>();
  }

  void runOnOperation() final {
    mlir::qc::DriverOptions options;
    options.targets = targets;
    options.include = include;
    options.outputDir = outputDir;
    options.report = report;
    if (failed(mlir::qc::quantizeWeights(getOperation(), Sign(), options)))
      signalPassFailure();
  }

  Option<std::string> targets{*this, "targets", llvm::cl::init("linear"),
                              llvm::cl::desc("Weights: linear or all")};
  Option<std::string> include{*this, "include",
                              llvm::cl::desc("Only names that match")};
  Option<std::string> outputDir{*this, "output-dir",
                                llvm::cl::desc("Folder for the result")};
  Option<bool> report{*this, "report", llvm::cl::init(false),
                      llvm::cl::desc("A remark for each weight")};
};

} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "SignQuantizer", "1",
          [] { mlir::PassRegistration<SignPass>(); }};
}
