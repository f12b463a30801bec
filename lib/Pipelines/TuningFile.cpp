//===- TuningFile.cpp - Remembered measurements ---------------------------===//
#include "qc/Pipelines/TuningFile.h"

#include "qc/Frontend/Json.h"
#include "qc/Frontend/OutputFile.h"
#include "qc/Target/CPU/KernelTuning.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Host.h"
#include <cstdlib>

using namespace mlir;
using namespace mlir::qc;
using ::qc::Json;
namespace path = llvm::sys::path;

/// Of the file; others are not read.
static constexpr int64_t fileVersion = 1;

std::string TuningFile::defaultPath() {
  auto folder = [](const char *name) {
    const char *value = std::getenv(name);
    // The XDG specification ignores relative paths.
    return SmallString<128>(value && path::is_absolute(value) ? value : "");
  };
  SmallString<128> result = folder("XDG_CACHE_HOME");
  if (result.empty()) {
    result = folder("HOME");
    if (result.empty())
      return "";
    path::append(result, ".cache");
  }
  path::append(result, "qc", "tuning.json");
  return std::string(result);
}

/// Reads one element of "tunings"; false if it is not one.
static bool readEntry(const Json &object, TuningKey &key,
                      RememberedTuning &tuning) {
  auto text = [&](const char *name, std::string &result) {
    auto it = object.find(name);
    if (it == object.end() || !it->is_string())
      return false;
    result = it->get_ref<const std::string &>();
    return true;
  };
  if (!object.is_object() || !text("cpu", key.cpu) || !text("mcpu", key.mcpu) ||
      !text("kernels", key.kernels) || !text("version", key.version) ||
      !text("tuning", tuning.tuning))
    return false;
  cpu::KernelTuning valid;
  if (llvm::Error error = valid.set(tuning.tuning)) {
    llvm::consumeError(std::move(error));
    return false;
  }
  auto speedups = object.find("speedup");
  if (speedups == object.end())
    return true;
  if (!speedups->is_object())
    return false;
  for (const auto &[name, factor] : speedups->items()) {
    int64_t tokens;
    if (StringRef(name).getAsInteger(10, tokens) || !factor.is_number())
      return false;
    tuning.speedups.push_back({tokens, factor.get<double>()});
  }
  llvm::sort(tuning.speedups);
  return true;
}

llvm::Expected<TuningFile> TuningFile::load(StringRef path) {
  TuningFile file;
  if (!llvm::sys::fs::exists(path))
    return file;
  llvm::Expected<Json> root = ::qc::readJsonFile(path);
  if (!root)
    return root.takeError();
  if (!root->is_object() || !root->contains("version") ||
      (*root)["version"] != fileVersion)
    return ::qc::makeError(path, ": expected an object with \"version\": 1");
  auto list = root->find("tunings");
  if (list == root->end() || !list->is_array())
    return ::qc::makeError(path, ": expected an array \"tunings\"");
  for (size_t i = 0; i < list->size(); ++i) {
    TuningKey key;
    RememberedTuning tuning;
    if (!readEntry((*list)[i], key, tuning))
      return ::qc::makeError(path, ": entry ", i, " of \"tunings\" is invalid");
    file.remember(std::move(key), std::move(tuning));
  }
  return file;
}

llvm::Error TuningFile::save(StringRef path) const {
  Json list = Json::array();
  for (const auto &[key, value] : entries) {
    Json speedups = Json::object();
    for (auto [tokens, factor] : value.speedups)
      speedups[std::to_string(tokens)] = factor;
    list.push_back({{"cpu", key.cpu},
                    {"mcpu", key.mcpu},
                    {"kernels", key.kernels},
                    {"version", key.version},
                    {"tuning", value.tuning},
                    {"speedup", std::move(speedups)}});
  }
  Json root = {{"version", fileVersion}, {"tunings", std::move(list)}};
  if (std::error_code code =
          llvm::sys::fs::create_directories(path::parent_path(path)))
    return ::qc::makeError("cannot write '", path, "': ", code.message());
  return ::qc::writeFile(
      path, root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string mlir::qc::cpuModel() {
  // A file of /proc has no size: read it as a stream.
  auto buffer = llvm::MemoryBuffer::getFileAsStream("/proc/cpuinfo");
  if (buffer) {
    SmallVector<StringRef> lines;
    (*buffer)->getBuffer().split(lines, '\n');
    for (StringRef line : lines) {
      auto [name, value] = line.split(':');
      if (name.trim() == "model name")
        return value.trim().str();
    }
  }
  return llvm::sys::getHostCPUName().str();
}
