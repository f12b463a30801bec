//===- Store.h - The file of quantized weights ------------------*- C++ -*-===//
//
// A safetensors file with tensors `<weight>.<component>` and
// `qc.relative_errors` f64 [weights]. While it is written it is called
// `<path>.partial`; `<path>.journal` has a line for each finished weight:
//
//   <checksum of components and error, 16 hex> <error, bits, 16 hex> <weight>
//
// A run that finds both takes over the weights whose bytes still have the
// checksum, so that neither a killed process nor a lost page leaves wrong
// numbers.
//
//===----------------------------------------------------------------------===//
#ifndef QC_LIB_QUANTIZATION_STORE_H
#define QC_LIB_QUANTIZATION_STORE_H

#include "qc/Frontend/Safetensors.h"
#include "qc/Frontend/SafetensorsWriter.h"

#include <string>
#include <vector>

namespace qc {

struct StoredWeight {
  std::string name;
  std::vector<TensorSpec> components; ///< names without the weight's
};

class Store {
public:
  /// Opens the complete store at `path` if it has this `key`, else the store to
  /// be written there. Weights have unique names. Errors: those of
  /// SafetensorsWriter.
  static llvm::Expected<std::unique_ptr<Store>>
  open(llvm::StringRef path, llvm::StringRef key,
       std::vector<StoredWeight> weights);

  /// Unless committed, removes what it wrote.
  ~Store();

  bool isComplete() const { return file != nullptr; }

  /// The error of weight `index` if an interrupted run has finished it; it is
  /// then taken over.
  llvm::Expected<std::optional<double>> takeOver(size_t index);
  llvm::Error write(size_t index, const HostWeight &weight, double error);
  /// After every weight has been written or taken over.
  llvm::Error commit();

  /// Of a complete store.
  llvm::StringRef path() const { return file->path(); }
  const SafetensorsTensor &component(size_t index, size_t component) const;
  double error(size_t index) const;

private:
  struct JournalEntry {
    uint64_t checksum = 0;
    double error = 0;
  };

  Store() = default;
  bool reuse(llvm::StringRef path);
  llvm::Error openJournal();
  llvm::Error writeJournal(llvm::StringRef line);
  llvm::Error writeError(size_t index, double error);

  std::string key, journalPath;
  std::vector<StoredWeight> weights;
  std::unique_ptr<SafetensorsWriter> writer;
  std::unique_ptr<SafetensorsFile> file;
  llvm::StringMap<JournalEntry> finished;
  int journal = -1;
};

} // namespace qc

#endif // QC_LIB_QUANTIZATION_STORE_H
