//===- TuningFile.h - Remembered measurements -------------------*- C++ -*-===//
#ifndef QC_PIPELINES_TUNINGFILE_H
#define QC_PIPELINES_TUNINGFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace mlir::qc {

/// What a tuning holds for: another CPU, target or compiler measures anew.
struct TuningKey {
  std::string cpu;     ///< cpuModel()
  std::string mcpu;    ///< as given to the compiler
  std::string kernels; ///< cpu::TuningTable::key()
  std::string version; ///< of qc
  auto operator<=>(const TuningKey &) const = default;
};

struct RememberedTuning {
  std::string tuning; ///< as KernelTuning::set() reads it; empty: the default
  /// Tokens, and speed as a multiple of the default's.
  std::vector<std::pair<int64_t, double>> speedups;
};

/// JSON that outlives compilations.
class TuningFile {
public:
  /// $XDG_CACHE_HOME/qc/tuning.json or ~/.cache/qc/tuning.json; empty if the
  /// environment names neither folder.
  static std::string defaultPath();

  /// A file that does not exist is empty. The error is one line.
  static llvm::Expected<TuningFile> load(llvm::StringRef path);
  /// Writes a temporary file and renames it.
  llvm::Error save(llvm::StringRef path) const;

  const RememberedTuning *find(const TuningKey &key) const {
    auto it = entries.find(key);
    return it == entries.end() ? nullptr : &it->second;
  }
  void remember(TuningKey key, RememberedTuning value) {
    entries.insert_or_assign(std::move(key), std::move(value));
  }

private:
  std::map<TuningKey, RememberedTuning> entries;
};

/// Model name of this machine's CPU.
std::string cpuModel();

} // namespace mlir::qc

#endif // QC_PIPELINES_TUNINGFILE_H
