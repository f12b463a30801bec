//===- Versions.cpp - Which code version of the model runs ---------------===//
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <cstdlib>

using namespace qc::rt;

namespace {
struct Pick {
  const QCModel *model;
  std::string problem;
};
} // namespace

static const Pick &pick() {
  static const Pick made = [] {
    Pick result = {nullptr, ""};
    const char *wanted = std::getenv("QC_ISA");
    if (wanted && !*wanted)
      wanted = nullptr;
    // Of another ABI version nothing but that number is known.
    if (qc_model.abi_version == QC_ABI_VERSION)
      result.model = pickVersion(qc_model, wanted, result.problem);
    if (!result.model)
      result.model = &qc_model;
    return result;
  }();
  return made;
}

const QCModel &qc::rt::activeModel() { return *pick().model; }
const std::string &qc::rt::versionProblem() { return pick().problem; }
