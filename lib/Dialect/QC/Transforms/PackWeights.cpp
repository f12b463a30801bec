//===- PackWeights.cpp - All weights into one file ------------------------===//
//
// Three steps: order the used weights as decode streams them, write them, let
// the module refer to the new file. The type of a packed weight follows from
// its old type alone, so one type replacement keeps the module consistent.
//
//===----------------------------------------------------------------------===//
#include "WeightFile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Builders.h"
#include "qc/Dialect/QC/Transforms/Passes.h"
#include "qc/Format/Elements.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FileSystem.h"
#include <atomic>
#include <mutex>
#include <thread>

namespace mlir::qc {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "qc/Dialect/QC/Transforms/Passes.h.inc"
} // namespace mlir::qc

using namespace mlir;
using namespace mlir::qc;

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

namespace {
/// Collects the symbols of weights in the order in which a step reads them.
class StreamOrder {
public:
  explicit StreamOrder(ModuleOp module) : module(module), symbols(module) {}

  /// Tables that are only looked up first, then in the order of use from
  /// @decode on; a symbol may come twice.
  SmallVector<StringAttr> run() {
    if (auto decode = symbols.lookup<func::FuncOp>("decode"))
      visit(decode);
    for (auto function : module.getOps<func::FuncOp>())
      if (function.isPublic())
        visit(function);
    SmallVector<StringAttr> order;
    for (StringAttr name : lookedUp)
      if (!streamed.contains(name))
        order.push_back(name);
    llvm::append_range(order, streamed);
    // What no call reaches.
    module.walk([&](GetWeightOp get) {
      order.push_back(get.getWeightAttr().getAttr());
    });
    return order;
  }

private:
  void visit(func::FuncOp function) {
    if (!visited.insert(function).second)
      return;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      for (Value operand : op->getOperands())
        if (auto get = operand.getDefiningOp<GetWeightOp>())
          (llvm::isa<EmbeddingOp>(op) ? lookedUp : streamed)
              .insert(get.getWeightAttr().getAttr());
      if (auto call = llvm::dyn_cast<func::CallOp>(op))
        if (auto callee = symbols.lookup<func::FuncOp>(call.getCallee()))
          visit(callee);
    });
  }

  ModuleOp module;
  SymbolTable symbols;
  llvm::DenseSet<Operation *> visited;
  llvm::SetVector<StringAttr> lookedUp, streamed;
};

/// One weight's way into the file.
struct Item {
  WeightOp op;
  WeightType from, to;
  int64_t offset = 0, bytes = 0;
};
} // namespace

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

namespace {
/// Packs one weight with several threads.
class WeightPacker {
public:
  WeightPacker(const Item &item, OutputFile &output)
      : item(item), output(output),
        format(item.from.getFormat().getHostFormat()) {}

  /// The error is one line without the weight's name.
  llvm::Error run(unsigned threads);

private:
  using Task = std::function<llvm::Error(std::vector<uint8_t> &)>;
  llvm::Error mapComponents();
  void addTasks();
  llvm::Error packBlocks(int64_t first, int64_t last,
                         std::vector<uint8_t> &buffer);
  llvm::Error copy();
  llvm::Error widenVector(std::vector<uint8_t> &buffer);
  llvm::Error checkValues();
  llvm::Error runTasks(unsigned threads);

  /// Bytes that a thread packs before it writes.
  static constexpr int64_t sliceBytes = int64_t(1) << 20;

  const Item &item;
  OutputFile &output;
  std::shared_ptr<const ::qc::Format> format;
  ::qc::PackedLayout layout;
  SmallVector<SourceRange> sources;
  ::qc::Components components;
  std::vector<Task> tasks;
};
} // namespace

llvm::Error WeightPacker::mapComponents() {
  std::vector<::qc::TensorSpec> specs;
  if (item.from.isPacked())
    specs.push_back({"blob", ::qc::DType::U8, {item.bytes}});
  else
    specs = format->components(item.from.getN(), item.from.getK());
  for (auto [i, spec] : llvm::enumerate(specs)) {
    ExternalAttr external = WeightOp(item.op).getComponent(i);
    llvm::Expected<SourceRange> source = SourceRange::map(
        external.getFile(), external.getOffset(), external.getLength());
    if (!source)
      return llvm::createStringError("component '" + spec.name + "': " +
                                     llvm::toString(source.takeError()));
    components.push_back({spec, source->data()});
    sources.push_back(std::move(*source));
  }
  return llvm::Error::success();
}

llvm::Error WeightPacker::checkValues() {
  if (std::optional<std::string> error =
          format->checkValues(components, item.from.getN(), item.from.getK()))
    return llvm::createStringError(*error);
  return llvm::Error::success();
}

llvm::Error WeightPacker::widenVector(std::vector<uint8_t> &buffer) {
  ::qc::DType type = components.front().spec.type;
  buffer.resize(static_cast<size_t>(item.bytes));
  for (int64_t i = 0; i < item.from.getN(); ++i)
    ::qc::storeFloat(::qc::DType::F32, buffer.data(), i,
                     ::qc::loadFloat(type, components.front().data, i));
  return output.write(buffer, item.offset);
}

llvm::Error WeightPacker::copy() {
  return output.write(
      ArrayRef(components.front().data, static_cast<size_t>(item.bytes)),
      item.offset);
}

llvm::Error WeightPacker::packBlocks(int64_t first, int64_t last,
                                     std::vector<uint8_t> &buffer) {
  int64_t blockBytes = layout.rowBlockBytes();
  buffer.assign(static_cast<size_t>((last - first) * blockBytes), 0);
  for (int64_t block = first; block < last; ++block)
    format->packRowBlock(components, layout, block,
                         buffer.data() + (block - first) * blockBytes);
  return output.write(buffer,
                      item.offset + layout.headerBytes + first * blockBytes);
}

void WeightPacker::addTasks() {
  if (item.from.isPacked()) {
    tasks.push_back([this](std::vector<uint8_t> &) { return copy(); });
    return;
  }
  tasks.push_back([this](std::vector<uint8_t> &) { return checkValues(); });
  if (!item.from.isMatrix()) {
    tasks.push_back(
        [this](std::vector<uint8_t> &buffer) { return widenVector(buffer); });
    return;
  }
  layout = item.to.getLayout();
  tasks.push_back([this](std::vector<uint8_t> &buffer) {
    buffer.assign(static_cast<size_t>(layout.headerBytes), 0);
    format->packHeader(components, layout, buffer.data());
    return output.write(buffer, item.offset);
  });
  int64_t step = std::max<int64_t>(1, sliceBytes / layout.rowBlockBytes());
  for (int64_t block = 0; block < layout.numRowBlocks(); block += step) {
    int64_t last = std::min(block + step, layout.numRowBlocks());
    tasks.push_back([=, this](std::vector<uint8_t> &buffer) {
      return packBlocks(block, last, buffer);
    });
  }
}

llvm::Error WeightPacker::runTasks(unsigned threads) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  // Of several errors the one of the first task, so that runs agree.
  size_t failedTask = tasks.size();
  std::string message;
  auto work = [&] {
    std::vector<uint8_t> buffer;
    for (size_t i = next++; i < tasks.size(); i = next++) {
      llvm::Error error = tasks[i](buffer);
      if (!error)
        continue;
      std::string text = llvm::toString(std::move(error));
      next = tasks.size();
      std::lock_guard lock(mutex);
      if (i >= failedTask)
        continue;
      failedTask = i;
      message = text;
    }
  };
  threads = std::min<size_t>(threads, tasks.size());
  std::vector<std::thread> team;
  for (unsigned i = 1; i < threads; ++i)
    team.emplace_back(work);
  work();
  for (std::thread &thread : team)
    thread.join();
  if (failedTask != tasks.size())
    return llvm::createStringError(message);
  return llvm::Error::success();
}

llvm::Error WeightPacker::run(unsigned threads) {
  if (llvm::Error error = mapComponents())
    return error;
  addTasks();
  // Starting threads takes longer than packing a norm.
  return runTasks(item.bytes < sliceBytes ? 1 : threads);
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct PackWeightsPass
    : public mlir::qc::impl::PackWeightsPassBase<PackWeightsPass> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(checkOptions()) || failed(collect()) || failed(write()))
      return signalPassFailure();
    describe();
    refer();
  }

private:
  LogicalResult checkOptions();
  LogicalResult collect();
  LogicalResult write();
  /// Copies `append` behind the weights.
  llvm::Error writeAppended(OutputFile &file);
  /// Adds qc.weights and qc.weight_stats.
  void describe();
  /// Lets symbols and types say what was written.
  void refer();

  WeightType packedType(WeightType type) const {
    MLIRContext *context = type.getContext();
    if (appendedTypes.contains(type))
      return type;
    FormatAttrInterface f32 =
        FloatFormatAttr::get(context, Float32Type::get(context));
    if (!type.isMatrix())
      return WeightType::get(context, type.getShape(), f32, 0);
    return WeightType::get(context, type.getShape(), type.getFormat(),
                           type.getFormat().getRowsPerBlock(rows));
  }

  /// A thread holds one row block in memory.
  static constexpr int64_t maxRowBlockBytes = int64_t(1) << 32;

  /// Mappings of files begin at pages.
  static constexpr int64_t appendedAlignment = 4096;

  SmallVector<Item> items;
  int64_t totalBytes = 0;
  SmallVector<WeightOp> appended; ///< weights in the file `append`
  llvm::DenseSet<Type> appendedTypes;
  int64_t appendedAt = 0, appendedBytes = 0;
};
} // namespace

LogicalResult PackWeightsPass::checkOptions() {
  items.clear();
  appended.clear();
  appendedTypes.clear();
  totalBytes = appendedAt = appendedBytes = 0;
  if (output.empty())
    return emitError(getOperation().getLoc(),
                     "qc-pack-weights needs the option output=FILE");
  if (rows < 1 || rows > 256)
    return emitError(getOperation().getLoc())
           << "rows is " << rows.getValue()
           << ", expected a number in [1, 256]";
  if (alignment < 64 || alignment > 65536 || !llvm::isPowerOf2_64(alignment))
    return emitError(getOperation().getLoc())
           << "alignment is " << alignment.getValue()
           << ", expected a power of two in [64, 65536]";
  if (threads < 0 || threads > 1024)
    return emitError(getOperation().getLoc())
           << "threads is " << threads.getValue()
           << ", expected a number in [0, 1024]";
  uint64_t size = 0;
  std::error_code code = append.empty()
                             ? std::error_code()
                             : llvm::sys::fs::file_size(append, size);
  if (code)
    return emitError(getOperation().getLoc())
           << "cannot read '" << append << "': " << code.message();
  appendedBytes = static_cast<int64_t>(size);
  return success();
}

LogicalResult PackWeightsPass::collect() {
  ModuleOp module = getOperation();
  // A dead reference keeps no weight.
  module.walk([](GetWeightOp get) {
    if (get->use_empty())
      get.erase();
  });
  WalkResult quantizes = module.walk([](QuantizeOp op) {
    emitError(op.getLoc(), "qc.quantize must be folded before qc-pack-weights");
    return WalkResult::interrupt();
  });
  if (quantizes.wasInterrupted())
    return failure();

  SymbolTable symbols(module);
  llvm::SetVector<Operation *> used;
  for (StringAttr name : StreamOrder(module).run())
    if (auto weight = symbols.lookup<WeightOp>(name))
      used.insert(weight);
  SymbolTableCollection tables;
  SymbolUserMap users(tables, module);
  for (auto weight : llvm::make_early_inc_range(module.getOps<WeightOp>())) {
    if (used.contains(weight))
      continue;
    if (!users.useEmpty(weight)) {
      used.insert(weight);
      continue;
    }
    weight.erase();
    ++numDropped;
  }

  for (Operation *op : used) {
    auto weight = llvm::cast<WeightOp>(op);
    WeightType from = weight.getWeightType();
    if (!append.empty() && weight.getComponent(0).getFile() == append) {
      appended.push_back(weight);
      if (from.isPacked())
        appendedTypes.insert(from);
      continue;
    }
    if (from.isPacked() &&
        from.getPackedRows() != from.getFormat().getRowsPerBlock(rows))
      return emitError(weight.getLoc())
             << "weight @" << weight.getSymName() << " is packed for "
             << from.getPackedRows() << " rows, expected "
             << from.getFormat().getRowsPerBlock(rows) << " or not packed";
    Item item{weight, from, packedType(from)};
    if (from.isMatrix() &&
        item.to.getLayout().rowBlockBytes() > maxRowBlockBytes)
      return emitError(weight.getLoc())
             << "weight @" << weight.getSymName() << " has " << from.getK()
             << " inputs, too many for a block of " << rows.getValue()
             << " rows";
    item.bytes = item.to.getComponentBytes().front();
    item.offset = totalBytes;
    int64_t end;
    if (item.bytes < 0 || llvm::AddOverflow(totalBytes, item.bytes, end) ||
        end > INT64_MAX - alignment)
      return emitError(weight.getLoc())
             << "weight @" << weight.getSymName()
             << " makes the weights larger than any file";
    totalBytes = (end + alignment - 1) / alignment * alignment;
    items.push_back(item);
  }
  if (append.empty())
    return success();
  appendedAt = llvm::alignTo(totalBytes, appendedAlignment);
  totalBytes = appendedAt + appendedBytes;
  for (WeightOp weight : appended) {
    ExternalAttr blob = weight.getComponent(0);
    if (weight.getComponents().size() != 1 ||
        (weight.getWeightType().isMatrix() &&
         !weight.getWeightType().isPacked()) ||
        blob.getOffset() + blob.getLength() > appendedBytes)
      return emitError(weight.getLoc())
             << "weight @" << weight.getSymName()
             << " is not packed in the file to append, '" << append << "'";
  }
  return success();
}

llvm::Error PackWeightsPass::writeAppended(OutputFile &file) {
  for (int64_t at = 0; at < appendedBytes;) {
    int64_t bytes = std::min(appendedBytes - at, int64_t(16) << 20);
    llvm::Expected<SourceRange> source = SourceRange::map(append, at, bytes);
    if (!source)
      return source.takeError();
    if (llvm::Error error =
            file.write(ArrayRef(source->data(), static_cast<size_t>(bytes)),
                       appendedAt + at))
      return error;
    at += bytes;
  }
  return llvm::Error::success();
}

LogicalResult PackWeightsPass::write() {
  llvm::Expected<OutputFile> file = OutputFile::create(output);
  if (!file)
    return emitError(getOperation().getLoc(), llvm::toString(file.takeError()));
  unsigned team = threads ? static_cast<unsigned>(threads)
                          : std::max(1u, std::thread::hardware_concurrency());
  for (const Item &item : items) {
    if (llvm::Error error = WeightPacker(item, *file).run(team)) {
      WeightOp weight = item.op;
      return emitError(weight.getLoc())
             << "weight @" << weight.getSymName() << ": "
             << llvm::toString(std::move(error));
    }
    ++numPacked;
  }
  if (llvm::Error error = writeAppended(*file))
    return emitError(getOperation().getLoc(), llvm::toString(std::move(error)));
  if (llvm::Error error = file->keep(totalBytes))
    return emitError(getOperation().getLoc(), llvm::toString(std::move(error)));
  return success();
}

void PackWeightsPass::describe() {
  Builder b(&getContext());
  struct Totals {
    int64_t count = 0, parameters = 0, bytes = 0;
  };
  llvm::MapVector<Attribute, Totals> formats;
  for (const Item &item : items) {
    Totals &totals = formats[item.from.getFormat()];
    totals.count += 1;
    totals.parameters += item.from.getNumElements();
    totals.bytes += item.bytes;
  }
  SmallVector<Attribute> stats;
  for (auto &[format, totals] : formats)
    stats.push_back(b.getDictionaryAttr({
        b.getNamedAttr("format", b.getStringAttr(formatSpelling(
                                     llvm::cast<FormatAttrInterface>(format)))),
        b.getNamedAttr("count", b.getI64IntegerAttr(totals.count)),
        b.getNamedAttr("parameters", b.getI64IntegerAttr(totals.parameters)),
        b.getNamedAttr("bytes", b.getI64IntegerAttr(totals.bytes)),
    }));
  getOperation()->setAttr("qc.weight_stats", b.getArrayAttr(stats));
  NamedAttrList weights;
  weights.set("file", b.getStringAttr(output));
  weights.set("bytes", b.getI64IntegerAttr(totalBytes));
  if (!append.empty())
    weights.set("appended", b.getI64IntegerAttr(appendedAt));
  getOperation()->setAttr("qc.weights", weights.getDictionary(&getContext()));
}

void PackWeightsPass::refer() {
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](WeightType type) { return packedType(type); });
  getOperation()->walk([&](Operation *op) {
    replacer.replaceElementsIn(op, /*replaceAttrs=*/true,
                               /*replaceLocs=*/false, /*replaceTypes=*/true);
  });
  for (Item &item : items) {
    Attribute blob =
        ExternalAttr::get(&getContext(), output, item.offset, item.bytes);
    item.op.setComponentsAttr(ArrayAttr::get(&getContext(), blob));
  }
  for (WeightOp weight : appended) {
    ExternalAttr old = weight.getComponent(0);
    Attribute blob = ExternalAttr::get(
        &getContext(), output, appendedAt + old.getOffset(), old.getLength());
    weight.setComponentsAttr(ArrayAttr::get(&getContext(), blob));
  }
}
