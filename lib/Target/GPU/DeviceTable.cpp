//===- DeviceTable.cpp - A QCDeviceModel in an object file ----------------===//
//
// The struct types repeat qc/Runtime/DeviceABI.h field by field.
//
//===----------------------------------------------------------------------===//
#include "qc/Target/GPU/DeviceTable.h"

#include "qc/Runtime/DeviceABI.h"
#include "llvm/IR/Constants.h"

using namespace mlir;

namespace {
class TableBuilder {
public:
  explicit TableBuilder(llvm::Module &m)
      : m(m), context(m.getContext()), i32(llvm::Type::getInt32Ty(context)),
        i64(llvm::Type::getInt64Ty(context)) {}

  llvm::Constant *n32(int64_t value) {
    return llvm::ConstantInt::get(i32, static_cast<uint32_t>(value));
  }
  llvm::Constant *n64(int64_t value) {
    return llvm::ConstantInt::get(i64, static_cast<uint64_t>(value));
  }
  llvm::Constant *null() {
    return llvm::ConstantPointerNull::get(llvm::PointerType::get(context, 0));
  }
  llvm::Constant *record(ArrayRef<llvm::Constant *> fields) {
    return llvm::ConstantStruct::getAnon(context, fields);
  }
  llvm::Constant *global(llvm::Constant *data, unsigned alignment = 8) {
    auto *variable = new llvm::GlobalVariable(
        m, data->getType(), true, llvm::GlobalValue::PrivateLinkage, data);
    variable->setAlignment(llvm::Align(alignment));
    return variable;
  }
  llvm::Constant *string(StringRef text) {
    return global(llvm::ConstantDataArray::getString(context, text), 1);
  }
  /// A table of records and its length.
  std::pair<llvm::Constant *, llvm::Constant *>
  table(ArrayRef<llvm::Constant *> rows) {
    if (rows.empty())
      return {null(), n64(0)};
    auto *type = llvm::ArrayType::get(rows.front()->getType(), rows.size());
    return {global(llvm::ConstantArray::get(type, rows)),
            n64(static_cast<int64_t>(rows.size()))};
  }

  llvm::Module &m;
  llvm::LLVMContext &context;
  llvm::Type *i32, *i64;
};
} // namespace

static int64_t integer(DictionaryAttr attrs, StringRef key) {
  return attrs.getAs<IntegerAttr>(key).getInt();
}

static uint32_t spaceOf(StringRef name) {
  for (auto [i, known] : llvm::enumerate(
           std::initializer_list<StringRef>{"weights", "arena", "kv", "tables",
                                            "state", "logits", "top", "input"}))
    if (name == known)
      return static_cast<uint32_t>(i);
  llvm_unreachable("unknown space");
}

llvm::Constant *mlir::qc::gpu::addDeviceModel(
    llvm::Module &target, StringRef name, DictionaryAttr device,
    int64_t vocabSize, ArrayRef<DeviceCode> codes, llvm::Constant *preferred) {
  TableBuilder t(target);
  SmallVector<llvm::Constant *> codeRows, kernels, buffers, rotary, tests;
  for (const DeviceCode &code : codes) {
    auto *data = llvm::ConstantDataArray::getString(
        t.context, StringRef(code.bytes.data(), code.bytes.size()),
        /*AddNull=*/code.kind == QC_CODE_PTX);
    codeRows.push_back(t.record(
        {t.n32(code.kind), t.n32(code.features), t.n32(code.arch), t.n32(0),
         t.global(data, 16), t.n64(static_cast<int64_t>(code.bytes.size()))}));
  }
  llvm::StringMap<int64_t> kernelIndex;
  for (auto kernel :
       device.getAs<ArrayAttr>("kernels").getAsRange<DictionaryAttr>()) {
    StringRef symbol = kernel.getAs<StringAttr>("name").getValue();
    kernelIndex[symbol] = static_cast<int64_t>(kernels.size());
    auto *size = llvm::ConstantDataArray::get(
        t.context,
        ArrayRef<uint32_t>(
            {static_cast<uint32_t>(integer(kernel, "threads")), 1u, 1u}));
    kernels.push_back(t.record(
        {t.string(symbol), size, t.n32(integer(kernel, "buffers")),
         t.n32(kernel.contains("shared") ? integer(kernel, "shared") : 0),
         t.n32(kernel.contains("waits") ? QC_KERNEL_WAITS : 0),
         t.n32(kernel.contains("subgroup") ? integer(kernel, "subgroup")
                                           : 0)}));
  }
  SmallVector<llvm::Constant *> lists;
  auto steps = device.getAs<DictionaryAttr>("steps");
  for (StringRef step : {"decode", "prefill", "score", "decode_greedy",
                         "decode_top", "prefill_few", "score_few"}) {
    SmallVector<llvm::Constant *> dispatches;
    if (auto list = steps.getAs<ArrayAttr>(step))
      for (auto d : list.getAsRange<DictionaryAttr>()) {
        auto grid = d.getAs<DenseI32ArrayAttr>("grid").asArrayRef();
        SmallVector<llvm::Constant *> extents;
        for (size_t i = 0; i < 3; ++i)
          extents.push_back(
              t.record({t.n32(grid[2 * i]), t.n32(grid[2 * i + 1])}));
        auto *gridData = llvm::ConstantArray::get(
            llvm::ArrayType::get(extents[0]->getType(), 3), extents);
        dispatches.push_back(
            t.record({t.n32(kernelIndex.lookup(d.getAs<StringAttr>("kernel"))),
                      t.n32(d.contains("barrier")), gridData,
                      t.n32(static_cast<int64_t>(buffers.size())), t.n32(0)}));
        for (auto buffer :
             d.getAs<ArrayAttr>("buffers").getAsRange<ArrayAttr>()) {
          auto numbers = cast<DenseI64ArrayAttr>(buffer[2]).asArrayRef();
          bool written = cast<StringAttr>(buffer[1]).getValue() == "write";
          buffers.push_back(
              t.record({t.n32(spaceOf(cast<StringAttr>(buffer[0]))),
                        t.n32(written), t.n64(numbers[0]), t.n64(numbers[1]),
                        t.n64(numbers[2]), t.n64(numbers[3])}));
        }
      }
    auto [data, count] = t.table(dispatches);
    lists.push_back(t.record({data, count}));
  }
  for (auto table :
       device.getAs<ArrayAttr>("rotary").getAsRange<DictionaryAttr>()) {
    auto values = table.getAs<DenseF32ArrayAttr>("frequencies").asArrayRef();
    auto *data = llvm::ConstantDataArray::get(t.context, values);
    rotary.push_back(t.record({t.n64(integer(table, "offset_per_position")),
                               t.n32(static_cast<int64_t>(2 * values.size())),
                               t.n32(0), t.global(data)}));
  }
  for (auto test :
       device.getAs<ArrayAttr>("tests").getAsRange<DictionaryAttr>())
    tests.push_back(t.record(
        {t.string(test.getAs<StringAttr>("format")), t.n64(integer(test, "n")),
         t.n64(integer(test, "k")), t.n64(integer(test, "rows")),
         t.n32(kernelIndex.lookup(test.getAs<StringAttr>("kernel"))),
         t.n32(0)}));
  auto [testTable, numTests] = t.table(tests);
  auto [codeTable, numCodes] = t.table(codeRows);
  auto [kernelTable, numKernels] = t.table(kernels);
  auto [bufferTable, numBuffers] = t.table(buffers);
  auto [rotaryTable, numRotary] = t.table(rotary);
  auto *listArray = llvm::ConstantArray::get(
      llvm::ArrayType::get(lists[0]->getType(), lists.size()), lists);
  return t.global(t.record({t.n32(QC_DEVICE_ABI_VERSION),
                            t.n32(device.contains("int8_activations")),
                            t.string(name),
                            codeTable,
                            numCodes,
                            kernelTable,
                            numKernels,
                            bufferTable,
                            numBuffers,
                            listArray,
                            rotaryTable,
                            numRotary,
                            t.n64(integer(device, "arena_bytes")),
                            t.n64(integer(device, "kv_bytes_per_position")),
                            t.n64(integer(device, "table_bytes_per_position")),
                            t.n64(integer(device, "max_tokens")),
                            t.n64(vocabSize),
                            t.n64(integer(device, "input_columns")),
                            testTable,
                            numTests,
                            preferred ? preferred : t.null()}));
}
