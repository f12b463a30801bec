//===- Safetensors.h - Reading safetensors files ----------------*- C++ -*-===//
//
// File: u64 n | n bytes of JSON {name: {dtype, shape, data_offsets}} | data.
// Little endian, row major, offsets from the start of the data, no padding
// between tensors and hence no alignment: load with memcpy.
//
// A SafetensorsFile has passed every check of the format: whatever it returns
// lies inside the file. Contents are mapped, not read.
//
// Source: github.com/huggingface/safetensors, README.md and
// safetensors/src/tensor.rs (the checks).
//
//===----------------------------------------------------------------------===//
#ifndef QC_FRONTEND_SAFETENSORS_H
#define QC_FRONTEND_SAFETENSORS_H

#include "qc/Format/Format.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace qc {

/// A tensor of an open file; valid as long as the file is.
struct SafetensorsTensor {
  TensorSpec spec;
  int64_t offset = 0;            ///< in bytes, from the start of the file
  int64_t bytes = 0;             ///< spec.numBytes()
  const uint8_t *data = nullptr; ///< not aligned; null if `bytes` is 0

  TensorView view() const { return {spec, data}; }
};

class SafetensorsFile {
public:
  /// Opens, maps and checks. The error is one line: file, tensor, what was
  /// found, what was expected.
  static llvm::Expected<std::unique_ptr<SafetensorsFile>>
  open(llvm::StringRef path);

  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile &) = delete;
  SafetensorsFile &operator=(const SafetensorsFile &) = delete;

  llvm::StringRef path() const { return filePath; }
  int64_t size() const { return fileSize; }
  /// In the order of their data.
  llvm::ArrayRef<SafetensorsTensor> tensors() const { return all; }
  /// Null if there is none of this name.
  const SafetensorsTensor *find(llvm::StringRef name) const;
  /// As find(); the error names the tensor and the file.
  llvm::Expected<const SafetensorsTensor *> get(llvm::StringRef name) const;
  /// Strings of "__metadata__", in the order of their keys.
  llvm::ArrayRef<std::pair<std::string, std::string>> metadata() const {
    return meta;
  }

  /// Gives the pages of a tensor back to the system. They are read again when
  /// touched; keeps memory at one tensor while walking over a large file.
  void release(const SafetensorsTensor &tensor) const;

private:
  SafetensorsFile() = default;
  llvm::Error map();
  llvm::Error readHeader();

  std::string filePath;
  int64_t fileSize = 0;
  const uint8_t *mapping = nullptr;
  std::vector<SafetensorsTensor> all;
  llvm::StringMap<size_t> index;
  std::vector<std::pair<std::string, std::string>> meta;
};

/// "F32 [128, 64]"
std::string describe(const TensorSpec &spec);

/// True for F64, F32, F16 and BF16.
bool isFloat(DType type);

/// Widens elements [begin, begin + out.size()) of the flattened tensor; F64 is
/// rounded to nearest. The tensor must be of a float type (isFloat).
void toFloat(const TensorView &tensor, int64_t begin,
             llvm::MutableArrayRef<float> out);

/// Index in the flattened tensor of the first NaN or infinity; nullopt if all
/// are finite. Runs at the speed of memory.
std::optional<int64_t> findNonFinite(const TensorView &tensor);

/// Error "FILE: tensor 'x' has NaN at [3, 5], ..." unless all values are
/// finite. Tensors of integer types are fine.
llvm::Error checkFinite(const SafetensorsFile &file,
                        const SafetensorsTensor &tensor);

} // namespace qc

#endif // QC_FRONTEND_SAFETENSORS_H
