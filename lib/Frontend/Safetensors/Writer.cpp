//===- Writer.cpp - Writing safetensors files -----------------------------===//
#include "qc/Frontend/Json.h"
#include "qc/Frontend/Safetensors.h"
#include "qc/Frontend/SafetensorsWriter.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"

using namespace qc;
using llvm::Error;
using llvm::StringRef;

/// Fills `entries`, `index` and `fileSize`; `header` gets length and JSON.
Error SafetensorsWriter::layOut(llvm::ArrayRef<TensorSpec> specs,
                                const Metadata &metadata, std::string &header) {
  for (const TensorSpec &spec : specs) {
    std::string where = finalPath + ": tensor " + quote(spec.name);
    if (spec.name.empty() || spec.name == "__metadata__")
      return makeError(where, ": not a name for a tensor");
    for (int64_t size : spec.shape)
      if (size < 0)
        return makeError(where, " has a negative size: ", describe(spec));
    auto entry = std::make_unique<Entry>();
    entry->spec = spec;
    if (!index.try_emplace(spec.name, entry.get()).second)
      return makeError(where, " appears twice");
    entries.push_back(std::move(entry));
  }
  llvm::stable_sort(entries, [](const auto &a, const auto &b) {
    return byteWidth(a->spec.type) > byteWidth(b->spec.type);
  });
  Json json = Json::object();
  for (const auto &[key, value] : metadata)
    json["__metadata__"][key] = value;
  int64_t end = 0;
  for (auto &entry : entries) {
    entry->offset = end;
    if (__builtin_add_overflow(end, entry->spec.numBytes(), &end))
      return makeError(finalPath, ": tensor ", quote(entry->spec.name),
                       ": file of more than 2^63 bytes");
    json[entry->spec.name] = {{"dtype", dtypeName(entry->spec.type)},
                              {"shape", entry->spec.shape},
                              {"data_offsets", {entry->offset, end}}};
  }
  std::string text = json.dump(-1, ' ', /*ensure_ascii=*/false,
                               Json::error_handler_t::replace);
  text.resize(llvm::alignTo(text.size(), 8), ' ');
  header.resize(8);
  llvm::support::endian::write64le(header.data(), text.size());
  header += text;
  int64_t dataStart = static_cast<int64_t>(header.size());
  for (auto &entry : entries)
    entry->offset += dataStart;
  if (__builtin_add_overflow(end, dataStart, &fileSize))
    return makeError(finalPath, ": file of more than 2^63 bytes");
  return Error::success();
}

llvm::Expected<std::unique_ptr<SafetensorsWriter>>
SafetensorsWriter::create(StringRef path, llvm::ArrayRef<TensorSpec> specs,
                          const Metadata &metadata) {
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter);
  writer->finalPath = path.str();
  std::string header;
  if (Error error = writer->layOut(specs, metadata, header))
    return error;
  auto output = OutputFile::create(path, writer->fileSize);
  if (!output)
    return output.takeError();
  writer->file = std::move(*output);
  if (Error error =
          writer->file->writeAt(0, llvm::arrayRefFromStringRef(header)))
    return error;
  return writer;
}

llvm::Expected<std::unique_ptr<SafetensorsWriter>>
SafetensorsWriter::resume(StringRef path, llvm::ArrayRef<TensorSpec> specs,
                          const Metadata &metadata) {
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter);
  writer->finalPath = path.str();
  std::string header;
  if (Error error = writer->layOut(specs, metadata, header))
    return error;
  auto output = OutputFile::resume(path, writer->fileSize, header);
  if (!output)
    return output.takeError();
  writer->file = std::move(*output);
  return writer;
}

Error SafetensorsWriter::read(StringRef name,
                              llvm::MutableArrayRef<uint8_t> bytes) {
  auto found = index.find(name);
  if (found == index.end() ||
      found->second->spec.numBytes() != std::ssize(bytes))
    return makeError(finalPath, ": tensor ", quote(name),
                     " was not announced with ", bytes.size(), " bytes");
  return file->readAt(found->second->offset, bytes);
}

void SafetensorsWriter::adopt(StringRef name) {
  if (auto found = index.find(name); found != index.end())
    found->second->written = found->second->spec.numBytes();
}

int64_t SafetensorsWriter::offsetOf(StringRef name) const {
  auto found = index.find(name);
  return found == index.end() ? -1 : found->second->offset;
}

Error SafetensorsWriter::write(StringRef name, int64_t begin,
                               llvm::ArrayRef<uint8_t> bytes) {
  std::string where = finalPath + ": tensor " + quote(name);
  auto found = index.find(name);
  if (found == index.end())
    return makeError(where, " was not announced");
  if (!file->isOpen())
    return makeError(finalPath, ": already written");
  Entry &entry = *found->second;
  int64_t size = entry.spec.numBytes(), count = std::ssize(bytes);
  if (begin < 0 || begin > size || count > size - begin)
    return makeError(where, ": bytes [", begin, ", ", begin + count,
                     ") are outside of its ", size);
  if (Error error = file->writeAt(entry.offset + begin, bytes))
    return error;
  entry.written += count;
  return Error::success();
}

Error SafetensorsWriter::write(const TensorView &tensor) {
  auto found = index.find(tensor.spec.name);
  if (found != index.end() && (found->second->spec.type != tensor.spec.type ||
                               found->second->spec.shape != tensor.spec.shape))
    return makeError(finalPath, ": tensor ", quote(tensor.spec.name), " is ",
                     describe(tensor.spec), ", expected ",
                     describe(found->second->spec));
  return write(tensor.spec.name, 0,
               {tensor.data, static_cast<size_t>(tensor.spec.numBytes())});
}

Error SafetensorsWriter::commit() {
  if (!file->isOpen())
    return makeError(finalPath, ": already written");
  for (const auto &entry : entries)
    if (entry->written != entry->spec.numBytes()) {
      int64_t written = entry->written;
      file->discard();
      return makeError(finalPath, ": tensor ", quote(entry->spec.name), " has ",
                       written, " bytes written, expected ",
                       entry->spec.numBytes());
    }
  return file->commit();
}
