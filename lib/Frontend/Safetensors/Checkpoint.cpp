//===- Checkpoint.cpp - The tensors of a model folder ---------------------===//
#include "qc/Frontend/Checkpoint.h"

#include "qc/Frontend/Json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <set>

using namespace qc;
using llvm::Error;
using llvm::StringRef;
namespace fs = llvm::sys::fs;

static std::string pathIn(StringRef folder, StringRef name) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

/// The message for a folder without safetensors: what it has instead.
static Error explainMissing(StringRef folder) {
  std::error_code code;
  std::string pickled, single;
  for (fs::directory_iterator it(folder, code), end; it != end && !code;
       it.increment(code)) {
    StringRef name = llvm::sys::path::filename(it->path());
    StringRef extension = llvm::sys::path::extension(name);
    if (extension == ".bin" || extension == ".pt" || extension == ".pth" ||
        extension == ".gguf")
      pickled = std::max(pickled, name.str());
    if (extension == ".safetensors")
      single = std::max(single, name.str());
  }
  std::string what = ("'" + folder +
                      "' has neither model.safetensors nor "
                      "model.safetensors.index.json")
                         .str();
  if (!single.empty())
    return makeError(what, ", only ", quote(single));
  if (pickled.empty())
    return makeError(what);
  return makeError(
      what, ", only ", quote(pickled),
      ", which qc does not read: convert it with python -c \"from transformers "
      "import AutoModelForCausalLM as M; M.from_pretrained('",
      folder, "').save_pretrained('OUT')\"");
}

Error CheckpointDir::addFile(StringRef path) {
  auto file = SafetensorsFile::open(path);
  if (!file)
    return file.takeError();
  for (const SafetensorsTensor &tensor : (*file)->tensors()) {
    auto [position, inserted] =
        index.try_emplace(tensor.spec.name, entries.size());
    if (!inserted)
      return makeError(path, ": tensor ", quote(tensor.spec.name), " is in ",
                       entries[position->second].file->path(), " too");
    entries.push_back({&tensor, file->get()});
  }
  shards.push_back(std::move(*file));
  return Error::success();
}

Error CheckpointDir::openShards(StringRef indexPath) {
  auto json = readJsonFile(indexPath);
  if (!json)
    return json.takeError();
  auto map = json->is_object() ? json->find("weight_map") : json->end();
  if (!json->is_object() || map == json->end() || !map->is_object())
    return makeError(indexPath,
                     ": expected an object 'weight_map' of tensor: file");
  std::set<std::string> names;
  for (const auto &[tensor, file] : map->items()) {
    if (!file.is_string())
      return makeError(indexPath, ": file of tensor ", quote(tensor), " is ",
                       describe(file), ", expected a name");
    StringRef name = file.get_ref<const std::string &>();
    // A checkpoint may only name files of its own folder.
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(StringRef("/\\\0", 3)) != StringRef::npos)
      return makeError(indexPath, ": shard ", quote(name), " of tensor ",
                       quote(tensor),
                       ": expected the name of a file beside "
                       "the index");
    if (!name.ends_with(".safetensors"))
      return makeError(indexPath, ": shard ", quote(name), " of tensor ",
                       quote(tensor), ": expected a .safetensors file");
    names.insert(name.str());
  }
  if (names.empty())
    return makeError(indexPath, ": 'weight_map' is empty");
  for (const std::string &name : names) {
    std::string path = pathIn(folder, name);
    if (!fs::exists(path))
      return makeError("shard '", path, "' is missing, ", indexPath,
                       " names it");
    if (Error error = addFile(path))
      return error;
  }
  for (const auto &[tensor, file] : map->items()) {
    Entry entry = find(tensor);
    StringRef name = file.get_ref<const std::string &>();
    if (!entry.tensor || llvm::sys::path::filename(entry.file->path()) != name)
      return makeError(pathIn(folder, name), ": tensor ", quote(tensor),
                       " is missing, ", indexPath, " says it is there");
  }
  return Error::success();
}

llvm::Expected<std::unique_ptr<CheckpointDir>>
CheckpointDir::open(StringRef folder) {
  if (!fs::exists(folder))
    return makeError("cannot read '", folder, "': no such folder");
  if (!fs::is_directory(folder))
    return makeError("cannot read '", folder, "': not a folder");
  std::unique_ptr<CheckpointDir> result(new CheckpointDir);
  result->folder = folder.str();
  std::string single = pathIn(folder, "model.safetensors");
  std::string indexPath = pathIn(folder, "model.safetensors.index.json");
  Error error = fs::exists(single)      ? result->addFile(single)
                : fs::exists(indexPath) ? result->openShards(indexPath)
                                        : explainMissing(folder);
  if (error)
    return error;
  return result;
}

CheckpointDir::Entry CheckpointDir::find(StringRef name) const {
  auto found = index.find(name);
  return found == index.end() ? Entry{} : entries[found->second];
}
