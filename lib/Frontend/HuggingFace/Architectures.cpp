//===- Architectures.cpp - All families of lib/Frontend/Models ------------===//
//
// CMake writes Models.def from the files of that folder; without static
// constructors, which the linker would drop from a static library.
//
//===----------------------------------------------------------------------===//
#include "qc/Frontend/ModelConfig.h"

#define QC_MODEL(NAME) extern const qc::Architecture qc##NAME;
#include "qc/Frontend/Models.def"
#undef QC_MODEL

llvm::ArrayRef<const qc::Architecture *> qc::allArchitectures() {
  static const Architecture *const all[] = {
#define QC_MODEL(NAME) &qc##NAME,
#include "qc/Frontend/Models.def"
#undef QC_MODEL
  };
  return all;
}
