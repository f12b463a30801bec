//===- TestModel.cpp - A model of a test on a device ----------------------===//
#include "TestModel.h"

#include "mlir/Dialect/Func/Extensions/AllExtensions.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "qc/Dialect/LM/IR/LMDialect.h"
#include "qc/Target/GPU/Passes.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace ::qc::test;
using ::qc::HostWeight;

std::string Item::type() const {
  return llvm::formatv("!qc.weight<{0}x{1}, #qc.{2}, packed<{3}>>", weight.n,
                       weight.k, format, mlir::qc::gpu::packedRows);
}

HostWeight(::qc::test::floatWeight)(int64_t n, int64_t k,
                                    const std::vector<float> &values) {
  HostWeight weight;
  weight.n = n;
  weight.k = k;
  std::string error;
  auto format = ::qc::parseFormat("float<f32>", error);
  ::qc::Tensor tensor(format->components(n, k).front());
  std::memcpy(tensor.bytes.data(), values.data(), values.size() * 4);
  weight.components.push_back(std::move(tensor));
  return weight;
}

std::unique_ptr<TestModel>
TestModel::create(const DeviceTarget &target, llvm::ArrayRef<Item> weights,
                  const std::string &functions, int64_t vocabulary,
                  int64_t maxTokens, int64_t capacity, std::string &error,
                  Arithmetic arithmetic) {
  DialectRegistry registry;
  registry.insert<mlir::qc::QCDialect, lm::LMDialect, func::FuncDialect,
                  arith::ArithDialect>();
  func::registerAllExtensions(registry);
  target.addExtensions(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
    return success();
  });
  auto result = std::make_unique<TestModel>();
  std::string source;
  for (auto [i, item] : llvm::enumerate(weights)) {
    std::vector<uint8_t> bytes =
        packed(item.host, item.weight, mlir::qc::gpu::packedRows);
    result->blob.resize((result->blob.size() + 255) / 256 * 256);
    source += llvm::formatv(
        "qc.weight @w{0} : {1} = [#qc.external<\"none\", {2}, {3}>]\n", i,
        item.type(), result->blob.size(), bytes.size());
    result->blob.insert(result->blob.end(), bytes.begin(), bytes.end());
  }
  result->blob.resize((result->blob.size() + 255) / 256 * 256);
  result->n = vocabulary;
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(source + functions, &context);
  if (!module)
    return nullptr;
  PassManager pm(&context);
  target.addPasses(pm, arithmetic, maxTokens);
  if (failed(pm.run(*module)))
    return nullptr;
  auto code = target.serialize(*module);
  if (!code) {
    error += llvm::toString(code.takeError());
    return nullptr;
  }
  result->model = std::make_unique<DeviceModel>(
      (*module)->getAttrOfType<DictionaryAttr>("qc.device"), target.name,
      target.codeKind, target.features(arithmetic), std::move(*code), result->n,
      target.arch);
  ::qc::rt::DeviceOptions wanted;
  wanted.capacity = capacity;
  ::qc::rt::DeviceError reason;
  result->device = createDevice(result->model->get(), result->blob.data(),
                                result->blob.size(), wanted, reason);
  if (!result->device) {
    error = reason.message;
    return nullptr;
  }
  return result;
}

std::vector<float> TestModel::run(int step, std::vector<int32_t> ids,
                                  int64_t position, std::string &error) {
  std::vector<float> out(ids.size() * static_cast<size_t>(n), NAN);
  ::qc::rt::DeviceError reason;
  if (!device->run(step, ids, position, out.data(), reason))
    error = reason.message;
  return out;
}
