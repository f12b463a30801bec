//===- DeviceModel.cpp - A QCDeviceModel of a module in a test ------------===//
#include "DeviceModel.h"

#include <map>

using namespace mlir;

static int64_t integer(DictionaryAttr attrs, StringRef key) {
  return attrs.getAs<IntegerAttr>(key).getInt();
}

qc::test::DeviceModel::DeviceModel(DictionaryAttr device,
                                   const std::string &targetName,
                                   uint32_t codeKind, uint32_t features,
                                   std::string codeBytes, int64_t vocabulary,
                                   uint32_t arch)
    : target(targetName), code(std::move(codeBytes)) {
  codeRow.kind = codeKind;
  codeRow.features = features;
  codeRow.arch = arch;
  codeRow.data = code.data();
  codeRow.size = code.size();
  std::map<std::string, uint32_t> index;
  for (auto k :
       device.getAs<ArrayAttr>("kernels").getAsRange<DictionaryAttr>()) {
    names.push_back(k.getAs<StringAttr>("name").str());
    index[names.back()] = static_cast<uint32_t>(kernels.size());
    kernels.push_back(
        {names.back().c_str(),
         {static_cast<uint32_t>(integer(k, "threads")), 1, 1},
         static_cast<uint32_t>(integer(k, "buffers")),
         k.contains("shared") ? static_cast<uint32_t>(integer(k, "shared")) : 0,
         k.contains("waits") ? uint32_t(QC_KERNEL_WAITS) : 0,
         k.contains("subgroup") ? static_cast<uint32_t>(integer(k, "subgroup"))
                                : 0});
  }
  std::map<std::string, uint32_t> spaces = {
      {"weights", 0}, {"arena", 1},  {"kv", 2},  {"tables", 3},
      {"state", 4},   {"logits", 5}, {"top", 6}, {"input", 7}};
  auto steps = device.getAs<DictionaryAttr>("steps");
  const char *stepNames[] = {"decode",        "prefill",    "score",
                             "decode_greedy", "decode_top", "prefill_few",
                             "score_few"};
  for (int step = 0; step < QC_NUM_STEPS; ++step) {
    auto list = steps.getAs<ArrayAttr>(stepNames[step]);
    if (!list)
      continue;
    for (auto d : list.getAsRange<DictionaryAttr>()) {
      QCDispatch dispatch = {};
      dispatch.kernel = index.at(d.getAs<StringAttr>("kernel").str());
      dispatch.barrier = d.contains("barrier");
      auto grid = d.getAs<DenseI32ArrayAttr>("grid").asArrayRef();
      for (size_t i = 0; i < 3; ++i)
        dispatch.grid[i] = {static_cast<uint32_t>(grid[2 * i]),
                            static_cast<uint32_t>(grid[2 * i + 1])};
      dispatch.first_buffer = static_cast<uint32_t>(buffers.size());
      for (auto b : d.getAs<ArrayAttr>("buffers").getAsRange<ArrayAttr>()) {
        auto n = cast<DenseI64ArrayAttr>(b[2]).asArrayRef();
        buffers.push_back(
            {spaces.at(cast<StringAttr>(b[0]).str()),
             cast<StringAttr>(b[1]).getValue() == "write",
             static_cast<uint64_t>(n[0]), static_cast<uint64_t>(n[1]),
             static_cast<uint64_t>(n[2]), static_cast<uint64_t>(n[3])});
      }
      dispatches[step].push_back(dispatch);
    }
    model.steps[step] = {dispatches[step].data(), dispatches[step].size()};
  }
  for (auto t :
       device.getAs<ArrayAttr>("rotary").getAsRange<DictionaryAttr>()) {
    auto f = t.getAs<DenseF32ArrayAttr>("frequencies").asArrayRef();
    frequencies.emplace_back(f.begin(), f.end());
    rotary.push_back({static_cast<uint64_t>(integer(t, "offset_per_position")),
                      static_cast<uint32_t>(2 * f.size()), 0,
                      frequencies.back().data()});
  }
  model.abi_version = QC_DEVICE_ABI_VERSION;
  model.target = target.c_str();
  model.codes = &codeRow;
  model.num_codes = 1;
  model.kernels = kernels.data();
  model.num_kernels = kernels.size();
  model.buffers = buffers.data();
  model.num_buffers = buffers.size();
  model.rotary_tables = rotary.data();
  model.num_rotary_tables = rotary.size();
  auto bytes = [&](StringRef key) {
    return static_cast<uint64_t>(integer(device, key));
  };
  model.arena_bytes = bytes("arena_bytes");
  model.kv_bytes_per_position = bytes("kv_bytes_per_position");
  model.table_bytes_per_position = bytes("table_bytes_per_position");
  model.max_tokens = bytes("max_tokens");
  model.input_columns = bytes("input_columns");
  model.vocab_size = static_cast<uint64_t>(vocabulary);
}
