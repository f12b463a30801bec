//===- Register.h - All dialects and passes ---------------------*- C++ -*-===//
#ifndef QC_TOOLS_REGISTER_H
#define QC_TOOLS_REGISTER_H

namespace mlir {
class DialectRegistry;
}

namespace mlir::qc {
/// qc, lm and the upstream dialects that qc's passes use.
void registerAllDialects(DialectRegistry &registry);
/// qc's passes and pipelines and the upstream passes that go with them.
void registerAllPasses();
} // namespace mlir::qc

#endif // QC_TOOLS_REGISTER_H
