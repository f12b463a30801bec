//===- Staging.cpp - Pipelines through shared memory ----------------------===//
#include "Staging.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;
using namespace mlir::qc;
using mlir::qc::gpu::StagePlan;
using mlir::qc::gpu::Staging;

static constexpr int64_t warpThreads = 32;
/// Words of 16 bytes, which a thread copies at once.
static constexpr int64_t pieceWords = 4;
/// What every device has for a workgroup without asking, in words.
static constexpr int64_t sharedWords = (48 << 10) / 4;
/// Features of a stage, about: enough products to hide the next copies behind.
static constexpr int64_t stageFeatures = 64;

std::optional<StagePlan> StagePlan::make(WeightType weight, int64_t step,
                                         int64_t warps, int64_t tokens) {
  ::qc::PackedLayout layout = weight.getLayout();
  auto input = mlir::qc::ActivationBlocks::get(weight);
  if (layout.headerBytes % 16 != 0 || layout.rowHeaderBytes % 16 != 0 ||
      layout.blockParamBytes % 16 != 0 || layout.chunkBytes % 16 != 0 ||
      input.paddedBlockK % 16 != 0)
    return std::nullopt;
  StagePlan plan{};
  plan.warps = warps;
  plan.tokens = tokens;
  plan.chunks = input.paddedBlockK / layout.chunkK;
  plan.perBlock = 1;
  auto halves = [&] {
    int64_t half = plan.chunks / 2;
    return plan.chunks % 2 == 0 && half % step == 0 &&
           half * layout.chunkK % 16 == 0;
  };
  while (plan.chunks * layout.chunkK > stageFeatures && halves()) {
    plan.chunks /= 2;
    plan.perBlock *= 2;
  }
  plan.weightWords =
      (layout.blockParamBytes + plan.chunks * layout.chunkBytes) / 4;
  plan.tokenWords = plan.chunks * layout.chunkK / 4;
  // Lanes of four tokens that read two words each find them in other banks when
  // rows are 8 or 24 words apart, modulo 32.
  plan.tokenStride = plan.tokenWords + (24 - plan.tokenWords % 16) % 16;
  if (plan.words() > sharedWords)
    return std::nullopt;
  return plan;
}

Staging::Staging(GPUBuilder &b, const StagePlan &plan, WeightType weight,
                 Value buffer, Value blob, Value blocks, Value codes,
                 Value firstToken)
    : b(b), plan(plan), layout(weight.getLayout()),
      input(mlir::qc::ActivationBlocks::get(weight)), buffer(buffer),
      blob(blob), blocks(blocks), codes(codes), firstToken(firstToken),
      warp(b.div(b.thread(), warpThreads)),
      lane(b.rem(b.thread(), warpThreads)) {}

Value Staging::slot(Value stage) {
  return b.mul(b.rem(stage, StagePlan::stages), plan.stageWords());
}

Value Staging::weights(Value stage) {
  return b.mul(b.add(slot(stage), b.mul(warp, plan.weightWords)), 4);
}

Value Staging::token(Value stage, Value token) {
  return b.add(b.add(slot(stage), plan.warps * plan.weightWords),
               b.mul(token, plan.tokenStride));
}

void Staging::copy(Value source, int64_t count, Value thread, int64_t threads,
                   function_ref<std::pair<Value, Value>(Value)> addresses) {
  for (int64_t first = 0; first < count; first += threads) {
    Value piece = b.add(thread, first);
    auto one = [&] {
      auto [from, to] = addresses(piece);
      nvgpu::DeviceAsyncCopyOp::create(
          b, nvgpu::DeviceAsyncTokenType::get(b.getContext()), buffer, to,
          source, from, b.getIndexAttr(pieceWords), Value(), b.getUnitAttr());
    };
    if (first + threads <= count)
      one();
    else
      b.ifThen(b.less(piece, count), one);
  }
}

void Staging::fetch(Value stage) {
  Value block = b.div(stage, plan.perBlock), part = b.rem(stage, plan.perBlock);
  int64_t shared = input.blocks / layout.numBlocks(); // blocks of a K block
  Value params =
      b.add(blocks, b.mul(b.div(block, shared), layout.blockBytes()));
  int64_t count = input.paddedBlockK / layout.chunkK;
  Value chunks = b.add(
      b.add(params, layout.blockParamBytes),
      b.mul(b.add(b.mul(b.rem(block, shared), count), b.mul(part, plan.chunks)),
            layout.chunkBytes));
  Value to = b.add(slot(stage), b.mul(warp, plan.weightWords));
  auto pieces = [&](Value fromBytes, Value toWord) {
    return [=, this](Value piece) {
      Value word = b.mul(piece, pieceWords);
      return std::pair(b.add(b.div(fromBytes, 4), word), b.add(toWord, word));
    };
  };
  int64_t paramWords = layout.blockParamBytes / 4;
  copy(blob, paramWords / pieceWords, lane, warpThreads, pieces(params, to));
  copy(blob, (plan.weightWords - paramWords) / pieceWords, lane, warpThreads,
       pieces(chunks, b.add(to, paramWords)));

  int64_t rowWords = input.blocks * input.paddedBlockK / 4;
  int64_t perToken = plan.tokenWords / pieceWords;
  Value inRow =
      b.add(b.mul(block, input.paddedBlockK / 4), b.mul(part, plan.tokenWords));
  copy(codes, plan.tokens * perToken, b.thread(), b.threads, [&](Value piece) {
    Value own = b.div(piece, perToken);
    Value word = b.mul(b.rem(piece, perToken), pieceWords);
    Value row = b.mul(b.add(firstToken, own), rowWords);
    return std::pair(b.add(b.add(row, inRow), word),
                     b.add(token(stage, own), word));
  });
}

void Staging::begin() {
  // Another pipeline may have used the buffers.
  b.barrier();
  for (int64_t stage = 0; stage < StagePlan::stages - 1; ++stage) {
    if (stage < numStages())
      fetch(b.index(stage));
    NVVM::CpAsyncCommitGroupOp::create(b);
  }
}

void Staging::advance(Value stage) {
  // One group was committed for each stage up to the one before the last that
  // is under way, empty or not.
  NVVM::CpAsyncWaitGroupOp::create(b,
                                   b.getI32IntegerAttr(StagePlan::stages - 2));
  // All copies of this stage are seen, nobody reads the stage before it.
  b.barrier();
  Value next = b.add(stage, StagePlan::stages - 1);
  b.ifThen(b.less(next, numStages()), [&] { fetch(next); });
  NVVM::CpAsyncCommitGroupOp::create(b);
}
