//===- Source.cpp - Float weights in mapped files -------------------------===//
#include "Source.h"

#include "qc/Frontend/Json.h"
#include "qc/Frontend/Safetensors.h"
#include <atomic>
#include <cmath>
#include <limits>
#include <sys/mman.h>

using namespace mlir;
using namespace mlir::qc;
using ::qc::makeError;
using ::qc::quote;
namespace fs = llvm::sys::fs;

static llvm::Expected<fs::file_status> regularFile(StringRef path) {
  fs::file_status status;
  if (std::error_code code = fs::status(path, status))
    return makeError("cannot read ", quote(path), ": ", code.message());
  if (status.type() != fs::file_type::regular_file)
    return makeError("cannot read ", quote(path), ": not a regular file");
  return status;
}

llvm::Expected<std::string> mlir::qc::fileIdentity(StringRef path) {
  llvm::Expected<fs::file_status> status = regularFile(path);
  if (!status)
    return status.takeError();
  auto time = status->getLastModificationTime().time_since_epoch();
  return std::to_string(status->getSize()) + " bytes, changed " +
         std::to_string(time.count());
}

/// Maps the pages that hold the component; `data` is where it starts.
static llvm::Expected<std::unique_ptr<fs::mapped_file_region>>
mapComponent(ExternalAttr component, const uint8_t *&data) {
  StringRef path = component.getFile();
  llvm::Expected<fs::file_status> status = regularFile(path);
  if (!status)
    return status.takeError();
  auto size = static_cast<int64_t>(status->getSize());
  int64_t offset = component.getOffset(), length = component.getLength();
  if (length > size || offset > size - length)
    return makeError(quote(path), " has ", size, " bytes, expected ", length,
                     " at offset ", offset);
  llvm::Expected<fs::file_t> file = fs::openNativeFileForRead(path);
  if (!file)
    return makeError("cannot read ", quote(path), ": ",
                     llvm::toString(file.takeError()));
  int64_t page = fs::mapped_file_region::alignment();
  int64_t start = offset / page * page;
  std::error_code code;
  auto mapping = std::make_unique<fs::mapped_file_region>(
      *file, fs::mapped_file_region::readonly,
      static_cast<size_t>(length + offset - start),
      static_cast<uint64_t>(start), code);
  (void)fs::closeFile(*file);
  if (code)
    return makeError("cannot map ", quote(path), ": ", code.message());
  data = reinterpret_cast<const uint8_t *>(mapping->const_data()) +
         (offset - start);
  return mapping;
}

/// Gives pages of the mapping back that lie within [data, data + size): the
/// copy and its source need not be in memory together.
static void dropPages(const uint8_t *data, int64_t size) {
  auto page = static_cast<uintptr_t>(fs::mapped_file_region::alignment());
  auto begin = reinterpret_cast<uintptr_t>(data);
  uintptr_t end = (begin + static_cast<uintptr_t>(size)) / page * page;
  begin = (begin + page - 1) / page * page;
  if (begin < end)
    (void)::madvise(reinterpret_cast<void *>(begin), end - begin,
                    MADV_DONTNEED);
}

static ::qc::DType dtypeOf(FloatFormatAttr format) {
  if (format.getType().isF16())
    return ::qc::DType::F16;
  return format.getType().isBF16() ? ::qc::DType::BF16 : ::qc::DType::F32;
}

llvm::Expected<SourceWeight>
SourceWeight::read(WeightOp weight, const ::qc::QuantizeContext &context) {
  WeightType type = weight.getWeightType();
  ExternalAttr component = weight.getComponent(0);
  SourceWeight source;
  const uint8_t *data = nullptr;
  auto mapping = mapComponent(component, data);
  if (!mapping)
    return mapping.takeError();
  source.mapping = std::move(*mapping);

  int64_t n = type.getN(), k = type.getK();
  ::qc::DType dtype =
      dtypeOf(cast<FloatFormatAttr>(Attribute(type.getFormat())));
  ::qc::TensorView view{{weight.getSymName().str(), dtype, {n, k}}, data};
  bool inPlace = dtype == ::qc::DType::F32 &&
                 reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
  if (!inPlace)
    source.copy.reset(new float[static_cast<size_t>(n * k)]);
  const float *floats =
      inPlace ? reinterpret_cast<const float *>(data) : source.copy.get();

  std::atomic<int64_t> firstBad = std::numeric_limits<int64_t>::max();
  context.forRows(n, [&](int64_t begin, int64_t end) {
    int64_t first = begin * k, count = (end - begin) * k;
    if (!inPlace) {
      ::qc::toFloat(view, first,
                    {source.copy.get() + first, static_cast<size_t>(count)});
      dropPages(data + first * ::qc::byteWidth(dtype),
                count * ::qc::byteWidth(dtype));
    }
    ::qc::TensorView rows{{"", ::qc::DType::F32, {end - begin, k}},
                          reinterpret_cast<const uint8_t *>(floats + first)};
    if (std::optional<int64_t> bad = ::qc::findNonFinite(rows)) {
      int64_t index = first + *bad, known = firstBad;
      while (index < known && !firstBad.compare_exchange_weak(known, index))
        ;
    }
  });
  if (int64_t bad = firstBad; bad < n * k)
    return makeError("is ", std::isnan(floats[bad]) ? "NaN" : "infinite",
                     " at [", bad / k, ", ", bad % k, "] in ",
                     quote(component.getFile()), ", expected finite numbers");
  source.matrix = {floats, n, k};
  if (!inPlace)
    source.mapping.reset();
  return source;
}
