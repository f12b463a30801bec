//===- Store.cpp - The file of quantized weights --------------------------===//
#include "Store.h"

#include "qc/Frontend/Json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/xxhash.h"
#include <bit>
#include <fcntl.h>
#include <unistd.h>

using namespace qc;
using llvm::Error;
using llvm::StringRef;

static constexpr StringRef errorsName = "qc.relative_errors";
static constexpr StringRef keyName = "qc.key";

static std::string tensorName(const StoredWeight &weight, size_t component) {
  return weight.name + "." + weight.components[component].name;
}

static uint64_t checksum(llvm::ArrayRef<Tensor> components, double error) {
  std::vector<uint64_t> parts = {std::bit_cast<uint64_t>(error)};
  for (const Tensor &tensor : components)
    parts.push_back(llvm::xxh3_64bits(tensor.bytes));
  return llvm::xxh3_64bits(llvm::ArrayRef(
      reinterpret_cast<const uint8_t *>(parts.data()), parts.size() * 8));
}

llvm::Expected<std::unique_ptr<Store>>
Store::open(StringRef path, StringRef key, std::vector<StoredWeight> weights) {
  std::unique_ptr<Store> store(new Store);
  store->key = key.str();
  store->journalPath = path.str() + ".journal";
  store->weights = std::move(weights);
  if (store->reuse(path))
    return store;

  std::vector<TensorSpec> specs;
  for (const StoredWeight &weight : store->weights)
    for (size_t i = 0; i < weight.components.size(); ++i) {
      specs.push_back(weight.components[i]);
      specs.back().name = tensorName(weight, i);
    }
  specs.push_back({errorsName.str(), DType::F64, {std::ssize(store->weights)}});
  auto writer =
      SafetensorsWriter::resume(path, specs, {{keyName.str(), key.str()}});
  if (!writer)
    return writer.takeError();
  store->writer = std::move(*writer);
  // Another process may have finished it while this one waited for the lock.
  if (store->reuse(path)) {
    store->writer.reset();
    return store;
  }
  if (Error error = store->openJournal())
    return error;
  return store;
}

Store::~Store() {
  if (journal >= 0) {
    ::close(journal);
    ::unlink(journalPath.c_str());
  }
}

bool Store::reuse(StringRef path) {
  auto found = SafetensorsFile::open(path);
  if (!found) {
    llvm::consumeError(found.takeError());
    return false;
  }
  bool same = llvm::any_of((*found)->metadata(), [&](const auto &pair) {
    return pair.first == keyName && pair.second == key;
  });
  auto has = [&](StringRef name, const TensorSpec &spec) {
    const SafetensorsTensor *tensor = (*found)->find(name);
    return tensor && tensor->spec.type == spec.type &&
           tensor->spec.shape == spec.shape;
  };
  same = same && has(errorsName, {"", DType::F64, {std::ssize(weights)}});
  for (const StoredWeight &weight : weights)
    for (size_t i = 0; same && i < weight.components.size(); ++i)
      same = has(tensorName(weight, i), weight.components[i]);
  if (same)
    file = std::move(*found);
  return same;
}

Error Store::openJournal() {
  bool cut = false;
  if (writer->continues())
    if (auto text = llvm::MemoryBuffer::getFile(journalPath)) {
      llvm::SmallVector<StringRef> lines;
      (*text)->getBuffer().split(lines, '\n');
      // What follows the last line break is a line that was cut short.
      cut = !lines.back().empty();
      for (StringRef line : llvm::ArrayRef(lines).drop_back()) {
        auto [sum, rest] = line.split(' ');
        auto [bits, name] = rest.split(' ');
        JournalEntry entry;
        uint64_t errorBits;
        if (sum.getAsInteger(16, entry.checksum) ||
            bits.getAsInteger(16, errorBits))
          continue;
        entry.error = std::bit_cast<double>(errorBits);
        finished[name] = entry;
      }
    }
  int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
  if (!writer->continues())
    flags |= O_TRUNC;
  journal = ::open(journalPath.c_str(), flags, 0666);
  if (journal < 0)
    return makeError("cannot write ", quote(journalPath), ": ",
                     std::generic_category().message(errno));
  if (cut)
    return writeJournal("\n");
  return Error::success();
}

Error Store::writeJournal(StringRef line) {
  if (::write(journal, line.data(), line.size()) != std::ssize(line))
    return makeError("cannot write ", quote(journalPath), ": ",
                     std::generic_category().message(errno));
  return Error::success();
}

Error Store::writeError(size_t index, double error) {
  auto bits = std::bit_cast<std::array<uint8_t, 8>>(error);
  return writer->write(errorsName, static_cast<int64_t>(8 * index), bits);
}

llvm::Expected<std::optional<double>> Store::takeOver(size_t index) {
  const StoredWeight &weight = weights[index];
  auto entry = finished.find(weight.name);
  if (entry == finished.end())
    return std::nullopt;
  std::vector<Tensor> components;
  for (size_t i = 0; i < weight.components.size(); ++i) {
    components.emplace_back(weight.components[i]);
    if (Error error =
            writer->read(tensorName(weight, i), components.back().bytes))
      return error;
  }
  double error = entry->second.error;
  if (checksum(components, error) != entry->second.checksum)
    return std::nullopt;
  for (size_t i = 0; i < weight.components.size(); ++i)
    writer->adopt(tensorName(weight, i));
  if (Error failed = writeError(index, error))
    return failed;
  return error;
}

Error Store::write(size_t index, const HostWeight &result, double error) {
  const StoredWeight &weight = weights[index];
  for (size_t i = 0; i < weight.components.size(); ++i) {
    TensorView view = result.components[i].view();
    view.spec.name = tensorName(weight, i);
    if (Error failed = writer->write(view))
      return failed;
  }
  if (Error failed = writeError(index, error))
    return failed;
  return writeJournal(
      llvm::utohexstr(checksum(result.components, error), true, 16) + " " +
      llvm::utohexstr(std::bit_cast<uint64_t>(error), true, 16) + " " +
      weight.name + "\n");
}

Error Store::commit() {
  std::string path = writer->path().str();
  if (Error error = writer->commit())
    return error;
  auto written = SafetensorsFile::open(path);
  if (!written)
    return written.takeError();
  file = std::move(*written);
  return Error::success();
}

const SafetensorsTensor &Store::component(size_t index,
                                          size_t component) const {
  return *file->find(tensorName(weights[index], component));
}

double Store::error(size_t index) const {
  return file->find(errorsName)->view().at(static_cast<int64_t>(index));
}
