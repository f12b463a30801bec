//===- Checkpoint.h - The tensors of a model folder -------------*- C++ -*-===//
//
// A folder has either `model.safetensors` or `model.safetensors.index.json`
// ({"weight_map": {tensor: shard}}) with the shards beside it. Pickled formats
// (.bin, .pt, .pth) run code when they are read and are never opened.
//
//===----------------------------------------------------------------------===//
#ifndef QC_FRONTEND_CHECKPOINT_H
#define QC_FRONTEND_CHECKPOINT_H

#include "qc/Frontend/Safetensors.h"

namespace qc {

class CheckpointDir {
public:
  struct Entry {
    const SafetensorsTensor *tensor = nullptr;
    const SafetensorsFile *file = nullptr;
  };

  /// Opens every file of the checkpoint. Errors: no folder, no safetensors,
  /// a shard that is missing or outside of the folder, a tensor that its shard
  /// lacks or that two shards have, and all of SafetensorsFile::open.
  static llvm::Expected<std::unique_ptr<CheckpointDir>>
  open(llvm::StringRef folder);

  llvm::StringRef path() const { return folder; }
  /// By file, then in the order of their data.
  llvm::ArrayRef<Entry> tensors() const { return entries; }
  /// Entry of nulls if there is none of this name.
  Entry find(llvm::StringRef name) const;
  llvm::ArrayRef<std::unique_ptr<SafetensorsFile>> files() const {
    return shards;
  }

private:
  llvm::Error openShards(llvm::StringRef indexPath);
  llvm::Error addFile(llvm::StringRef path);

  std::string folder;
  std::vector<std::unique_ptr<SafetensorsFile>> shards;
  std::vector<Entry> entries;
  llvm::StringMap<size_t> index;
};

} // namespace qc

#endif // QC_FRONTEND_CHECKPOINT_H
